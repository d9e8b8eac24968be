//! What an entry of a catalogue has to meet.

use super::{Described, Metadata};

/// Under which key of its metadata a secret's description is kept. No store takes it for a tag: AWS reserves the prefix.
pub const DESCRIPTION: &str = "aws:description";

/// One condition: any of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// What is looked at.
    pub key: FilterKey,
    /// Prefixes, of which one has to fit; never empty.
    pub values: Vec<FilterValue>,
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterKey {
    /// The client's name for the secret. Case counts.
    Name,
    /// The description. Case does not count.
    Description,
    /// The keys of the tags. Case counts.
    TagKey,
    /// The values of the tags. Case counts.
    TagValue,
    /// Any of them: every word of the value begins one of theirs. Case does not count.
    All,
    /// Something no secret here has.
    Nothing,
}

/// A value of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterValue {
    /// The prefix.
    pub prefix: String,
    /// Whether it must not fit.
    pub negated: bool,
}

impl Filter {
    /// Whether the secret meets the condition. What is not known does not fit.
    #[must_use]
    pub fn holds(&self, name: &str, described: Option<&Described>) -> bool {
        let metadata = described.map(|described| &described.metadata);
        self.values.iter().any(|value| self.key.fits(&value.prefix, name, metadata) != value.negated)
    }

    /// Whether the condition can be decided by the name alone.
    #[must_use]
    pub fn is_about_names(&self) -> bool {
        matches!(self.key, FilterKey::Name | FilterKey::Nothing)
    }
}

impl FilterKey {
    fn fits(self, prefix: &str, name: &str, metadata: Option<&Metadata>) -> bool {
        let description = metadata.and_then(|metadata| metadata.get(DESCRIPTION)).map(String::as_str);
        let tags = || metadata.into_iter().flatten().filter(|(key, _)| *key != DESCRIPTION);
        match self {
            Self::Name => name.starts_with(prefix),
            Self::Description => description.is_some_and(|text| begins(text, prefix)),
            Self::TagKey => tags().any(|(key, _)| key.starts_with(prefix)),
            Self::TagValue => tags().any(|(_, value)| value.starts_with(prefix)),
            Self::All => {
                let mut texts = vec![name];
                texts.extend(description);
                texts.extend(tags().flat_map(|(key, value)| [key.as_str(), value.as_str()]));
                words(prefix).all(|word| texts.iter().flat_map(|text| words(text)).any(|has| begins(has, word)))
            }
            Self::Nothing => false,
        }
    }
}

fn begins(text: &str, prefix: &str) -> bool {
    let mut text = text.chars().flat_map(char::to_lowercase);
    prefix.chars().flat_map(char::to_lowercase).all(|wanted| text.next() == Some(wanted))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| character.is_whitespace() || "/_+=.@-".contains(character)).filter(|w| !w.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(key: FilterKey, values: &[&str]) -> bool {
        let entries = [(DESCRIPTION, "Main Database"), ("team", "Search"), ("Stage", "prod")];
        let metadata = entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let described = Described { metadata, ..Described::default() };
        let value = |text: &&str| FilterValue {
            prefix: text.trim_start_matches('!').to_owned(),
            negated: text.starts_with('!'),
        };
        let values = values.iter().map(value).collect();
        Filter { key, values }.holds("app/db-main", Some(&described))
    }

    #[test]
    fn prefixes_fit_as_the_service_says() {
        for (key, values, fits) in [
            (FilterKey::Name, &["app/"][..], true),
            (FilterKey::Name, &["App/"], false),
            (FilterKey::Name, &["x", "app/db"], true),
            (FilterKey::Name, &["!app/"], false),
            (FilterKey::Name, &["!x"], true),
            (FilterKey::Description, &["main d"], true),
            (FilterKey::Description, &["database"], false),
            (FilterKey::TagKey, &["Stage"], true),
            (FilterKey::TagKey, &["stage"], false),
            (FilterKey::TagKey, &["aws:"], false),
            (FilterKey::TagValue, &["Sea"], true),
            (FilterKey::All, &["MAIN data"], true),
            (FilterKey::All, &["prod db"], true),
            (FilterKey::All, &["nowhere"], false),
            (FilterKey::Nothing, &["x"], false),
        ] {
            assert_eq!(holds(key, values), fits, "{key:?} {values:?}");
        }
    }

    #[test]
    fn what_is_not_known_does_not_fit() {
        let filter =
            Filter { key: FilterKey::TagKey, values: vec![FilterValue { prefix: "t".into(), negated: false }] };
        assert!(!filter.holds("a", None));
    }
}
