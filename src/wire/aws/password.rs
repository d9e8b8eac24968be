//! Random passwords: every character equally likely, from the system's random source.

use bytes::Bytes;
use serde::Serialize;
use zeroize::Zeroizing;

use super::decode::{Input, Routed};
use super::fault::Trouble;
use super::schema::GetRandomPassword;
use super::{Shape, encode, fault};
use crate::wire::{Fault, PasswordRules, Request, SystemRequest};

const LOWERCASE: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPERCASE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const NUMBERS: &str = "0123456789";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
const LENGTH: u16 = 32;
const MAX_LENGTH: u16 = 4096;
const MAX_EXCLUDED: usize = 4096;

const OUT_OF_RANGE: &str = "1 validation error detected: Value at 'passwordLength' failed to satisfy constraint: Member must have value \
     between 1 and 4096";
const EXCLUDED: &str = "1 validation error detected: Value at 'excludeCharacters' failed to satisfy constraint: Member must have length \
     less than or equal to 4096";

pub(super) fn decode(input: &Input<'_>) -> Routed {
    let asked: GetRandomPassword = input.read()?;
    let length = asked.password_length.map_or(Ok(LENGTH), u16::try_from).ok();
    let length = length.filter(|length| (1..=MAX_LENGTH).contains(length)).ok_or(Fault::malformed(OUT_OF_RANGE))?;
    let excluded = asked.exclude_characters.unwrap_or_default();
    if excluded.chars().count() > MAX_EXCLUDED {
        return Err(Fault::malformed(EXCLUDED));
    }
    let is_wanted = |exclude: Option<bool>| !exclude.unwrap_or(false);
    let kinds: Vec<String> = [
        (LOWERCASE, is_wanted(asked.exclude_lowercase)),
        (UPPERCASE, is_wanted(asked.exclude_uppercase)),
        (NUMBERS, is_wanted(asked.exclude_numbers)),
        (PUNCTUATION, is_wanted(asked.exclude_punctuation)),
        (" ", asked.include_space.unwrap_or(false)),
    ]
    .into_iter()
    .filter(|(_, wanted)| *wanted)
    .map(|(kind, _)| kind.chars().filter(|character| !excluded.contains(*character)).collect())
    .filter(|kind: &String| !kind.is_empty())
    .collect();
    if kinds.is_empty() {
        return Err(Fault::malformed(fault::NO_CHARACTERS));
    }
    let each_kind = asked.require_each_included_type.unwrap_or(true);
    if each_kind && usize::from(length) < kinds.len() {
        return Err(Fault::malformed(fault::TOO_SHORT));
    }
    let rules = PasswordRules { length, kinds, each_kind };
    Ok((Request::System(SystemRequest::RandomPassword(rules)), Shape::Password))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PasswordOut<'p> {
    random_password: &'p str,
}

/// The answer: a password by these rules.
pub(super) fn answer(rules: &PasswordRules) -> Result<Bytes, Trouble> {
    let password = make(rules).ok_or_else(encode::none)?;
    // every character may have to be escaped
    encode::bytes(&PasswordOut { random_password: &password }, 64 + 2 * password.len())
}

/// `None` if the random source fails.
fn make(rules: &PasswordRules) -> Option<Zeroizing<String>> {
    let mut dice = Dice::default();
    let all: Vec<char> = rules.kinds.iter().flat_map(|kind| kind.chars()).collect();
    let mut drawn = Zeroizing::new(Vec::with_capacity(usize::from(rules.length)));
    for kind in rules.kinds.iter().filter(|_| rules.each_kind) {
        let kind: Vec<char> = kind.chars().collect();
        drawn.push(dice.pick(&kind)?);
    }
    while drawn.len() < usize::from(rules.length) {
        drawn.push(dice.pick(&all)?);
    }
    for last in (1..drawn.len()).rev() {
        drawn.swap(last, dice.below(last + 1)?);
    }
    let mut password = Zeroizing::new(String::with_capacity(drawn.iter().map(|character| character.len_utf8()).sum()));
    password.extend(drawn.iter());
    Some(password)
}

/// Random numbers, a handful at a time.
#[derive(Default)]
struct Dice {
    bytes: Zeroizing<[u8; 32]>,
    left: usize,
}

impl Dice {
    fn pick(&mut self, from: &[char]) -> Option<char> {
        let at = self.below(from.len())?;
        from.get(at).copied()
    }

    /// A number below `count`, all of them equally likely: what would favour the low ones is thrown away.
    fn below(&mut self, count: usize) -> Option<usize> {
        let count = u16::try_from(count).ok().filter(|count| *count > 0)?;
        let fair = u16::MAX - u16::MAX % count;
        loop {
            let number = self.number()?;
            if number < fair {
                return Some(usize::from(number % count));
            }
        }
    }

    fn number(&mut self) -> Option<u16> {
        if self.left < 2 {
            getrandom::fill(self.bytes.as_mut_slice()).ok()?;
            self.left = self.bytes.len();
        }
        self.left -= 2;
        let (high, low) = (self.bytes.get(self.left)?, self.bytes.get(self.left + 1)?);
        Some(u16::from_be_bytes([*high, *low]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(length: u16, kinds: &[&str], each_kind: bool) -> PasswordRules {
        PasswordRules { length, kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(), each_kind }
    }

    #[test]
    fn a_password_is_as_long_as_asked_and_of_what_it_may_hold() {
        for length in [1, 2, 31, 32, 33, 4096] {
            let password = make(&rules(length, &["ab", "1"], false)).unwrap();
            assert_eq!(password.len(), usize::from(length));
            assert!(password.chars().all(|character| "ab1".contains(character)));
        }
        assert_ne!(*make(&rules(32, &[LOWERCASE], true)).unwrap(), *make(&rules(32, &[LOWERCASE], true)).unwrap());
    }

    #[test]
    fn each_kind_is_there_where_it_has_to_be() {
        for _ in 0..200 {
            let password = make(&rules(5, &[LOWERCASE, UPPERCASE, NUMBERS, PUNCTUATION, " "], true)).unwrap();
            for kind in [LOWERCASE, UPPERCASE, NUMBERS, PUNCTUATION, " "] {
                assert_eq!(password.chars().filter(|character| kind.contains(*character)).count(), 1, "{kind}");
            }
        }
    }

    #[test]
    fn no_character_is_favoured() {
        let mut dice = Dice::default();
        let mut counts = [0_u32; 3];
        for _ in 0..30_000 {
            counts[dice.below(3).unwrap()] += 1;
        }
        // ten standard deviations
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 820), "{counts:?}");
        assert_eq!(dice.below(1), Some(0));
        assert_eq!(dice.below(0), None);
    }
}
