//! Two clocks read together, so that neither alone can lengthen a life.
//!
//! Wall time may be set back, monotonic time stands still while the machine sleeps. Whatever must end here ends when
//! either clock says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::{Clock, Timestamp};

/// A reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Wall time.
    pub(super) wall: Timestamp,
    /// Monotonic time since the timer was made.
    pub(super) ticks: Duration,
}

impl Moment {
    /// The longer of the two distances to `earlier`; zero if both clocks say it was not earlier.
    pub(super) fn since(self, earlier: Self) -> Duration {
        self.wall.since(earlier.wall).max(self.ticks.saturating_sub(earlier.ticks))
    }

    /// The shorter of the two distances to `end`; zero once either clock has reached it.
    pub(super) fn until(self, end: Self) -> Duration {
        end.wall.since(self.wall).min(end.ticks.saturating_sub(self.ticks))
    }

    /// Both clocks moved forward.
    pub(super) fn after(self, by: Duration) -> Self {
        Self { wall: self.wall.after(by), ticks: self.ticks.saturating_add(by) }
    }

    /// Whether either clock has reached `end`.
    pub(super) fn reached(self, end: Self) -> bool {
        self.wall >= end.wall || self.ticks >= end.ticks
    }
}

/// Reads both clocks.
pub(super) struct Timer {
    clock: Arc<dyn Clock>,
    ticks: Box<dyn Fn() -> Duration + Send + Sync>,
}

impl Timer {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let start = Instant::now();
        Self::with_ticks(clock, Box::new(move || start.elapsed()))
    }

    pub(super) fn with_ticks(clock: Arc<dyn Clock>, ticks: Box<dyn Fn() -> Duration + Send + Sync>) -> Self {
        Self { clock, ticks }
    }

    pub(super) fn now(&self) -> Moment {
        Moment { wall: self.clock.now(), ticks: (self.ticks)() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: u64, ticks: u64) -> Moment {
        Moment { wall: Timestamp::from_secs(wall), ticks: Duration::from_secs(ticks) }
    }

    #[test]
    fn k01_either_clock_ends_a_life() {
        let end = at(100, 50).after(Duration::from_secs(10));
        assert!(!at(109, 59).reached(end));
        assert!(at(110, 50).reached(end), "wall");
        assert!(at(0, 60).reached(end), "monotonic, wall set back to 1970");
        assert_eq!(at(0, 57).since(at(100, 50)), Duration::from_secs(7));
        assert_eq!(at(103, 50).since(at(100, 50)), Duration::from_secs(3));
        assert_eq!(at(1, 1).since(at(2, 2)), Duration::ZERO);
        assert_eq!(at(100, 57).until(end), Duration::from_secs(3));
        assert_eq!(at(107, 50).until(end), Duration::from_secs(3));
        assert_eq!(at(0, 60).until(end), Duration::ZERO);
    }
}
