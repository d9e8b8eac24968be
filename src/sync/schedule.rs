//! When the rules of a backend are due. Jitter only ever shortens a wait: a copy is never older than its interval for it.

use std::time::Duration;

use tokio::time::Instant;

use super::Replica;
use crate::clock::Timestamp;
use crate::secret::{Mode, RuleSettings};

/// The longest first wait of rules that never ran.
const SPREAD: Duration = Duration::from_secs(10);
/// The first wait after a failed run, doubled with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_LONGEST: Duration = Duration::from_secs(60);
/// Rules that are due so soon go along with one that is due now.
const TOGETHER: Duration = Duration::from_secs(2);

/// By rule; rules that are not synced have no slot.
#[derive(Debug, Default)]
pub(super) struct Schedule(Vec<Option<Slot>>);

#[derive(Clone, Copy, Debug)]
struct Slot {
    route: u64,
    interval: Duration,
    due: Instant,
}

impl Schedule {
    /// Follows a replica. Rules that were there before keep their time; others begin after a part of their interval, or
    /// where they left off before a restart (`whole_at`: when a rule's last whole run began, by route).
    pub(super) fn adopt(&mut self, replica: &Replica, whole_at: impl Fn(u64) -> Option<Timestamp>, wall: Timestamp) {
        let now = Instant::now();
        let before = std::mem::take(&mut self.0);
        let slot = |settings: &RuleSettings| {
            let same = |slot: &&Slot| slot.route == settings.route && slot.interval == settings.interval;
            let kept = before.iter().flatten().find(same).copied();
            let fresh = || Slot {
                route: settings.route,
                interval: settings.interval,
                due: now + first_wait(settings.interval, whole_at(settings.route).map(|at| wall.since(at))),
            };
            (settings.mode == Mode::Sync).then(|| kept.unwrap_or_else(fresh))
        };
        self.0 = replica.rules.iter().map(slot).collect();
    }

    /// Every rule is due now.
    pub(super) fn at_once(&mut self) {
        let now = Instant::now();
        for slot in self.0.iter_mut().flatten() {
            slot.due = now;
        }
    }

    /// When the next rule is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().map(|slot| slot.due).min()
    }

    /// The rules to run now, if any is due: those and the ones that soon are.
    pub(super) fn due(&self, now: Instant) -> Vec<u32> {
        if self.next().is_none_or(|next| next > now) {
            return Vec::new();
        }
        self.select(|slot| slot.due <= now + (slot.interval / 10).min(TOGETHER))
    }

    /// Every rule that is synced.
    pub(super) fn all(&self) -> Vec<u32> {
        self.select(|_| true)
    }

    /// The shortest interval of the rules.
    pub(super) fn interval(&self, rules: &[u32]) -> Duration {
        let slots = rules.iter().filter_map(|rule| self.0.get(*rule as usize).copied().flatten());
        slots.map(|slot| slot.interval).min().unwrap_or(Duration::MAX)
    }

    /// A run that began at `started` went through.
    pub(super) fn ended(&mut self, rules: &[u32], started: Instant) {
        let now = Instant::now();
        self.each(rules, |slot| {
            let soonest = now + (slot.interval / 10).min(Duration::from_secs(1));
            slot.due = (started + shortened(slot.interval)).max(soonest);
        });
    }

    /// A run did not go through, the `failures`th in a row.
    pub(super) fn failed(&mut self, rules: &[u32], failures: u32) {
        let now = Instant::now();
        self.each(rules, |slot| slot.due = now + retry_wait(slot.interval, failures));
    }

    /// The backend was not there: the rules run sooner than they would have.
    pub(super) fn hurry(&mut self, rules: &[u32], failures: u32) {
        let now = Instant::now();
        self.each(rules, |slot| slot.due = slot.due.min(now + retry_wait(slot.interval, failures)));
    }

    fn select(&self, is_meant: impl Fn(&Slot) -> bool) -> Vec<u32> {
        let rules = self.0.iter().zip(0_u32..);
        rules.filter(|(slot, _)| slot.as_ref().is_some_and(&is_meant)).map(|(_, rule)| rule).collect()
    }

    fn each(&mut self, rules: &[u32], change: impl Fn(&mut Slot)) {
        for rule in rules {
            if let Some(Some(slot)) = self.0.get_mut(*rule as usize) {
                change(slot);
            }
        }
    }
}

fn first_wait(interval: Duration, age: Option<Duration>) -> Duration {
    match age.and_then(|age| interval.checked_sub(age)) {
        Some(rest) if rest > Duration::ZERO => shortened(rest),
        _ => (interval / 4).min(SPREAD).mul_f64(fraction()),
    }
}

fn retry_wait(interval: Duration, failures: u32) -> Duration {
    let doubled = RETRY_FIRST.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(u32::MAX));
    shortened(doubled.min(RETRY_LONGEST).min(interval))
}

/// Up to a tenth less.
fn shortened(wait: Duration) -> Duration {
    wait.mul_f64(1.0 - fraction() / 10.0)
}

/// Between 0 and 1.
fn fraction() -> f64 {
    let mut bytes = [0; 4];
    // without randomness everybody comes at once, which is no error
    let _filled = getrandom::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn jitter_only_shortens() {
        for _ in 0..1000 {
            let wait = shortened(MINUTE);
            assert!(wait <= MINUTE && wait >= MINUTE.mul_f64(0.9), "{wait:?}");
            assert!((0.0..=1.0).contains(&fraction()));
        }
    }

    #[test]
    fn a_start_spreads_and_goes_on_where_it_left_off() {
        for _ in 0..100 {
            assert!(first_wait(15 * MINUTE, None) <= SPREAD);
            assert!(first_wait(Duration::from_secs(1), None) <= Duration::from_millis(250));
            let rest = first_wait(15 * MINUTE, Some(5 * MINUTE));
            assert!(rest <= 10 * MINUTE && rest >= 9 * MINUTE, "{rest:?}");
            assert!(first_wait(15 * MINUTE, Some(20 * MINUTE)) <= SPREAD);
        }
    }

    #[test]
    fn failures_are_retried_sooner_than_the_interval_and_ever_less_often() {
        let at_most = |failures, secs| {
            let wait = retry_wait(15 * MINUTE, failures);
            assert!(wait <= Duration::from_secs(secs) && wait >= Duration::from_secs(secs).mul_f64(0.9), "{wait:?}");
        };
        at_most(1, 5);
        at_most(2, 10);
        at_most(3, 20);
        at_most(40, 60);
        assert!(retry_wait(Duration::from_secs(1), 40) <= Duration::from_secs(1));
    }
}
