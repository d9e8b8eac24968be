//! A tenant's last events, for subscribers that come back. Bounded in number and in bytes; gone with the process.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::Told;

/// How many events are kept, and how much of them.
const EVENTS: usize = 256;
const BYTES: usize = 256 << 10;

/// Oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    events: VecDeque<Arc<Told>>,
    bytes: usize,
}

/// What happened since a subscriber was told of an event.
#[derive(Debug, Default)]
pub(super) struct Since {
    /// Oldest first.
    pub(super) events: VecDeque<Arc<Told>>,
    /// There may have been more: the event itself is not kept any more, or never was.
    pub(super) is_partial: bool,
}

impl Recent {
    /// Keeps an event, in place of the oldest ones where there is no room.
    pub(super) fn keep(&mut self, told: Arc<Told>) {
        self.bytes += told.text.len();
        self.events.push_back(told);
        while self.events.len() > EVENTS || self.bytes > BYTES {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.text.len();
        }
    }

    /// What came after the event `id`. Of one that is not kept, what has a later identifier: these begin with their time.
    pub(super) fn since(&self, id: &str) -> Since {
        match self.events.iter().rposition(|told| told.id == id) {
            Some(at) => Since { events: self.events.iter().skip(at + 1).cloned().collect(), is_partial: false },
            None => {
                let later = self.events.iter().filter(|told| told.id.as_str() > id);
                Since { events: later.cloned().collect(), is_partial: true }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EventKind;

    fn told(id: &str, size: usize) -> Arc<Told> {
        Arc::new(Told { id: id.to_owned(), kind: EventKind::SyncFailed, text: "x".repeat(size).into() })
    }

    fn ids(since: &Since) -> Vec<&str> {
        since.events.iter().map(|told| told.id.as_str()).collect()
    }

    #[test]
    fn what_came_after_an_event_is_told_in_order() {
        let mut recent = Recent::default();
        // of one millisecond, so that their identifiers do not sort as they happened
        for id in ["01B", "01D", "01C"] {
            recent.keep(told(id, 1));
        }
        for (id, expected, is_partial) in [
            ("01B", vec!["01D", "01C"], false),
            ("01D", vec!["01C"], false),
            ("01C", vec![], false),
            ("01A", vec!["01B", "01D", "01C"], true),
            ("01BB", vec!["01D", "01C"], true),
            ("01E", vec![], true),
        ] {
            let since = recent.since(id);
            assert_eq!((ids(&since), since.is_partial), (expected, is_partial), "{id}");
        }
        assert!(Recent::default().since("01A").is_partial, "of an earlier process nothing is known");
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_too_large_ones() {
        let mut recent = Recent::default();
        for number in 0..EVENTS + 10 {
            recent.keep(told(&format!("{number:05}"), 1));
        }
        assert_eq!((recent.events.len(), recent.bytes), (EVENTS, EVENTS));
        assert!(recent.since("00009").is_partial && !recent.since("00010").is_partial);
        recent.keep(told("00500", BYTES));
        assert_eq!((recent.events.len(), recent.bytes), (1, BYTES));
        recent.keep(told("00501", BYTES + 1));
        assert_eq!(
            (recent.events.len(), recent.bytes),
            (0, 0),
            "what does not fit is not kept, and is told of as a gap"
        );
    }
}
