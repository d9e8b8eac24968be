//! Whether two templates can match one name.
//!
//! Exact for templates that split names at the same places; templates with different separators are said to overlap
//! unless the text they begin with keeps them apart.

use super::pattern::{Pattern, Piece};

impl Pattern {
    /// Whether some name could match both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        if self.splits_like(other) {
            return meet(self.pieces(), other.pieces());
        }
        let (one, two) = (self.literal_prefix(), other.literal_prefix());
        one.starts_with(&two) || two.starts_with(&one)
    }
}

fn meet(one: &[Piece], two: &[Piece]) -> bool {
    match (one.split_first(), two.split_first()) {
        (None, None) => true,
        (Some((Piece::Many, after)), _) => {
            // The `**` ends here, or it takes what comes next on the other side.
            meet(after, two) || two.split_first().is_some_and(|(_, rest)| meet(one, rest))
        }
        (_, Some((Piece::Many, _))) => meet(two, one),
        (None, Some(_)) | (Some(_), None) => false,
        (Some((a, one)), Some((b, two))) => {
            let is_shared = match (a, b) {
                (Piece::Literal(a), Piece::Literal(b)) => a == b,
                _ => true,
            };
            is_shared && meet(one, two)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(depth: usize) -> Vec<String> {
        let mut all: Vec<String> = vec!["a".into(), "b".into()];
        let mut last = all.clone();
        for _ in 1..depth {
            last = last.iter().flat_map(|name| [format!("{name}/a"), format!("{name}/b")]).collect();
            all.extend(last.clone());
        }
        all
    }

    fn template() -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(vec!["a", "b", "*", "**"]), 1..4)
            .prop_filter("one `**`", |pieces| pieces.iter().filter(|piece| **piece == "**").count() < 2)
            .prop_map(|pieces| pieces.join("/"))
    }

    /// A slow matcher with nothing in common with the real one.
    fn matches(template: &[&str], name: &[&str]) -> bool {
        match template.first() {
            None => name.is_empty(),
            Some(&"**") => (0..=name.len()).any(|n| matches(&template[1..], &name[n..])),
            Some(&piece) => {
                !name.is_empty() && (piece == "*" || piece == name[0]) && matches(&template[1..], &name[1..])
            }
        }
    }

    fn split(text: &str) -> Vec<&str> {
        text.split('/').collect()
    }

    proptest! {
        #[test]
        fn g04_matching_agrees_with_a_slow_matcher(template in template()) {
            let pattern = Pattern::path(&template).unwrap();
            for name in names(3) {
                prop_assert_eq!(pattern.captures(&name).is_some(), matches(&split(&template), &split(&name)), "{}", name);
            }
        }

        #[test]
        fn overlap_agrees_with_brute_force(one in template(), two in template()) {
            let (a, b) = (Pattern::path(&one).unwrap(), Pattern::path(&two).unwrap());
            // Two templates of three pieces that meet at all meet in six segments.
            let meets = names(6).iter().any(|name| a.captures(name).is_some() && b.captures(name).is_some());
            // Two lone `**` also meet in the empty name, which is no name; they meet in longer ones too.
            prop_assert_eq!(a.overlaps(&b), meets);
            prop_assert_eq!(b.overlaps(&a), meets);
        }
    }
}
