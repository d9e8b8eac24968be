//! Durations as written in the configuration: `15m`, `500ms`, `1h30m`.

use std::time::Duration;

const EXPECTED: &str = "expected a duration such as 500ms, 30s, 15m or 1h30m";
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// A year. Longer ones are a mistake and would overflow timers.
const LONGEST_MS: u64 = 8_760 * 3_600_000;

/// Parses whole numbers with units `h`, `m`, `s`, `ms`, largest first, each at most once. Zero and more than 8760h are
/// refused.
pub(super) fn parse(text: &str) -> Result<Duration, &'static str> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut allowed_from = 0;
    while !rest.is_empty() {
        let (number, tail) = split(rest, |c| !c.is_ascii_digit()).ok_or(EXPECTED)?;
        let (unit, tail) = split(tail, |c| c.is_ascii_digit()).unwrap_or((tail, ""));
        let (at, (_, millis)) =
            UNITS.iter().enumerate().find(|(at, (name, _))| *at >= allowed_from && *name == unit).ok_or(EXPECTED)?;
        let number: u64 = number.parse().map_err(|_| EXPECTED)?;
        let part = number.checked_mul(*millis).ok_or(EXPECTED)?;
        total = total.checked_add(part).ok_or(EXPECTED)?;
        allowed_from = at.saturating_add(1);
        rest = tail;
    }
    match total {
        0 => Err("must be longer than zero"),
        1..=LONGEST_MS => Ok(Duration::from_millis(total)),
        _ => Err("must be at most 8760h"),
    }
}

/// Cuts before the first character that `ends` holds for; `None` if there is none.
fn split(text: &str, ends: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    text.split_at_checked(text.find(ends)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_forms_are_read_exactly() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("15m", 900_000),
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            ("1h1m1s1ms", 3_661_001),
            ("90m", 5_400_000),
            ("8760h", 31_536_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let bad = [
            "",
            "0s",
            "5",
            "m",
            "1 m",
            "-1s",
            "+1s",
            "1.5s",
            "1d",
            "30m1h",
            "1m1m",
            "1S",
            "1h30",
            "8761h",
            "٣s",
            "99999999999999999999s",
            "18446744073709551615h",
            "1ms1s",
            "1h 30m",
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
