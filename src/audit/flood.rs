//! Keeps callers without a principal from flooding the trail: so many of their refusals a second are written in full,
//! the rest are counted, and one summary line a second says how many. Nothing else is ever left out.

use std::mem;
use std::sync::Mutex;

use super::lane::lock;

pub(super) struct Flood {
    limit: u32,
    window: Mutex<Window>,
}

struct Window {
    second: u64,
    written: u32,
    counted: u64,
}

impl Flood {
    pub(super) const fn new(limit: u32) -> Self {
        Self { limit, window: Mutex::new(Window { second: 0, written: 0, counted: 0 }) }
    }

    /// One refusal in this second: whether it is written in full. `tell` is called with what was counted in an earlier
    /// second; like all summaries under the lock, so that none is overtaken by a refusal after it or by the end.
    pub(super) fn admit(&self, second: u64, tell: impl FnOnce(u64)) -> bool {
        let mut window = lock(&self.window);
        window.turn(second, tell);
        let is_written = window.written < self.limit;
        if is_written {
            window.written += 1;
        } else {
            window.counted += 1;
        }
        is_written
    }

    /// Tells what was counted in a second before this one; true if something is still to be told later.
    pub(super) fn tell_overdue(&self, second: u64, tell: impl FnOnce(u64)) -> bool {
        let mut window = lock(&self.window);
        if window.counted > 0 {
            window.turn(second, tell);
        }
        window.counted > 0
    }

    /// Tells what was counted, whenever it was.
    pub(super) fn tell_all(&self, tell: impl FnOnce(u64)) {
        lock(&self.window).tell(tell);
    }
}

impl Window {
    /// Moves to `second`; a clock set back counts as a new second too.
    fn turn(&mut self, second: u64, tell: impl FnOnce(u64)) {
        if self.second != second {
            self.second = second;
            self.written = 0;
            self.tell(tell);
        }
    }

    fn tell(&mut self, tell: impl FnOnce(u64)) {
        let counted = mem::take(&mut self.counted);
        if counted > 0 {
            tell(counted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r16_refusals_above_the_limit_are_counted_and_told_once() {
        let flood = Flood::new(2);
        let mut told = Vec::new();
        let written = [10; 7].map(|second| flood.admit(second, |count| told.push(count)));
        assert_eq!(written, [true, true, false, false, false, false, false]);
        assert!(flood.tell_overdue(10, |count| told.push(count)));
        assert!(told.is_empty());
        let written = [11; 3].map(|second| flood.admit(second, |count| told.push(count)));
        assert_eq!((written, &told), ([true, true, false], &vec![5]));
        assert!(!flood.tell_overdue(12, |count| told.push(count)));
        assert!(!flood.tell_overdue(13, |count| told.push(count)));
        assert_eq!([13; 4].map(|second| flood.admit(second, |count| told.push(count))), [true, true, false, false]);
        flood.tell_all(|count| told.push(count));
        flood.tell_all(|count| told.push(count));
        assert_eq!(told, [5, 1, 2]);
    }
}
