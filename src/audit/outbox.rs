//! What a writer has under way: the bytes of a batch, how far they are written, and which lines they are.

use std::collections::VecDeque;

use super::chain::Position;
use super::draft::Fields;

/// Bytes under way and which lines they are.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) bytes: Vec<u8>,
    pub(super) sent: usize,
    /// A newline owed stands before the first line.
    pub(super) has_lead: bool,
    pub(super) marks: VecDeque<Mark>,
}

pub(super) struct Mark {
    /// One past the line's newline.
    pub(super) end: usize,
    pub(super) after: Position,
    pub(super) part: Part,
}

/// What a line is.
pub(super) enum Part {
    /// A caller's.
    Entry,
    Start,
    Checkpoint,
    Dropped(u64),
    Unsynced(u64),
    Stop,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.marks.clear();
        self.sent = 0;
        self.has_lead = false;
    }

    pub(super) fn rest(&self) -> Option<&[u8]> {
        self.bytes.get(self.sent..).filter(|rest| !rest.is_empty())
    }

    /// The lines that were written in full.
    pub(super) fn take_sent(&mut self) -> Vec<Mark> {
        let whole = self.marks.iter().take_while(|mark| mark.end <= self.sent).count();
        self.marks.drain(..whole).collect()
    }

    /// After the lines written in full: the next one, if only its newline is missing.
    pub(super) fn take_unended(&mut self) -> Option<Mark> {
        let is_unended = self.marks.front().is_some_and(|mark| mark.end == self.sent + 1);
        if is_unended { self.marks.pop_front() } else { None }
    }

    /// After `WouldBlock`: keeps the line that has been begun and nothing else.
    pub(super) fn keep_begun(&mut self) {
        let begun = self.marks.front().map(|mark| mark.end).filter(|_| self.is_within_line());
        match begun {
            Some(end) => {
                self.bytes.truncate(end);
                self.marks.truncate(1);
            }
            None => self.clear(),
        }
    }

    pub(super) fn is_within_line(&self) -> bool {
        self.sent.checked_sub(1).and_then(|at| self.bytes.get(at)).is_some_and(|byte| *byte != b'\n')
    }
}

/// The fields of a line that stands for others which were not written.
pub(super) fn summary_fields(fields: &mut Fields<'_>, about: &str, count: u64) {
    fields.word("kind", "summary");
    fields.word("about", about);
    fields.number("count", count);
}
