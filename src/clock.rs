//! Wall time, injectable. Timers use tokio so that tests can pause them; this is only for times that are
//! written down or compared with times written elsewhere (token expiry, JWT claims, audit lines, versions).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point of wall time in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the Unix epoch.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// This time plus `by`, saturating.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long `self` lies after `earlier`; zero if it does not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC with microseconds: `2026-11-23T10:06:57.123456Z`. Empty if out of range.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let mut text = String::with_capacity(27);
        self.write_rfc3339(&mut text);
        text
    }

    /// Appends what [`Self::rfc3339`] returns.
    pub fn write_rfc3339(self, out: &mut String) {
        let nanos = i128::from(self.0) * 1000;
        let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(nanos) else { return };
        digits(out, at.year().unsigned_abs().into(), 4);
        out.push('-');
        digits(out, u8::from(at.month()).into(), 2);
        out.push('-');
        digits(out, at.day().into(), 2);
        out.push('T');
        digits(out, at.hour().into(), 2);
        out.push(':');
        digits(out, at.minute().into(), 2);
        out.push(':');
        digits(out, at.second().into(), 2);
        out.push('.');
        digits(out, at.microsecond().into(), 6);
        out.push('Z');
    }

    /// Parses RFC 3339; `None` if it is not one or lies before 1970.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        u64::try_from(at.unix_timestamp_nanos() / 1000).ok().map(Self)
    }
}

fn digits(out: &mut String, value: u64, width: u32) {
    let mut unit = 10_u64.pow(width - 1);
    while unit > 0 {
        let digit = u8::try_from(value / unit % 10).unwrap_or(0);
        out.push(char::from(b'0' + digit));
        unit /= 10;
    }
}

/// Where wall time comes from.
pub trait Clock: Send + Sync {
    /// The time now. Called at every authentication, audit line and write; must not block.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock standing at `at`.
    #[must_use]
    pub const fn at(at: Timestamp) -> Self {
        Self(AtomicU64::new(at.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_micros()).unwrap_or(0), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_agrees_with_the_time_crate_on_edges() {
        for secs in [0, 951_782_399, 951_782_400, 1_709_164_800, 1_795_428_417, 4_102_444_799] {
            let at = Timestamp::from_micros(secs * 1_000_000 + 123_456);
            let text = at.rfc3339();
            assert_eq!(Timestamp::parse_rfc3339(&text), Some(at), "{text}");
        }
        assert_eq!(Timestamp::from_secs(1_795_428_417).rfc3339(), "2026-11-23T10:06:57.000000Z");
    }
}
