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

    /// What a name has to begin with to meet it, if that can be said.
    fn prefixes(&self) -> Option<Vec<&str>> {
        if self.values.iter().any(|value| value.negated) {
            return None;
        }
        match self.key {
            FilterKey::Name => Some(self.values.iter().map(|value| value.prefix.as_str()).collect()),
            FilterKey::Nothing => Some(Vec::new()),
            FilterKey::Description | FilterKey::TagKey | FilterKey::TagValue | FilterKey::All => None,
        }
    }

    /// Whether the condition can be decided by the name alone.
    #[must_use]
    pub fn is_about_names(&self) -> bool {
        matches!(self.key, FilterKey::Name | FilterKey::Nothing)
    }
}

/// What the names that can meet conditions begin with: one of these, and any name begins with the empty text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePrefixes(Vec<String>);

impl NamePrefixes {
    /// Of every name.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![String::new()])
    }

    /// Of the names that can meet all conditions. Those that meet them may be fewer.
    #[must_use]
    pub fn of(filters: &[Filter]) -> Self {
        filters.iter().filter_map(Filter::prefixes).fold(Self::all(), |known, also| known.also(&also))
    }

    fn also(&self, others: &[&str]) -> Self {
        let mut both: Vec<String> = Vec::new();
        for one in &self.0 {
            for other in others {
                if other.starts_with(one.as_str()) {
                    both.push((*other).to_owned());
                } else if one.starts_with(other) {
                    both.push(one.clone());
                }
            }
        }
        both.sort_unstable();
        // what begins with a shorter one says nothing more
        both.dedup_by(|longer, shorter| longer.starts_with(shorter.as_str()));
        Self(both)
    }

    /// Whether the name begins with one of them.
    #[must_use]
    pub fn admit(&self, name: &str) -> bool {
        self.0.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }

    /// Whether a name that begins with `text` can begin with one of them.
    #[must_use]
    pub fn reach(&self, text: &str) -> bool {
        self.0.iter().any(|prefix| text.starts_with(prefix.as_str()) || prefix.starts_with(text))
    }

    /// The deepest folders that hold all such names, without a trailing slash, none of them inside another.
    #[must_use]
    pub fn folders(&self) -> Vec<&str> {
        let folders = self.0.iter().map(|prefix| prefix.rsplit_once('/').map_or("", |(folder, _)| folder));
        let mut folders: Vec<&str> = folders.collect();
        folders.sort_unstable();
        folders.dedup();
        let is_inside = |inner: &str, outer: &str| {
            inner != outer && (outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/')))
        };
        let all = folders.clone();
        folders.retain(|inner| !all.iter().any(|outer| is_inside(inner, outer)));
        folders
    }

    /// What all such names that begin with `folder` go on with, as far as the next slash; the empty text if nothing can be
    /// said.
    #[must_use]
    pub fn behind(&self, folder: &str) -> &str {
        let mut rests =
            self.0.iter().filter(|prefix| prefix.starts_with(folder) || folder.starts_with(prefix.as_str()));
        let rest = |prefix: &String| prefix.get(folder.len()..).map_or(0, str::len);
        let Some(first) = rests.next() else { return "" };
        let mut common = first.get(first.len() - rest(first)..).unwrap_or_default();
        for prefix in rests {
            let other = prefix.get(prefix.len() - rest(prefix)..).unwrap_or_default();
            let shared = common.chars().zip(other.chars()).take_while(|(one, two)| one == two);
            let length: usize = shared.map(|(one, _)| one.len_utf8()).sum();
            common = common.get(..length).unwrap_or_default();
        }
        common.split_inclusive('/').next().unwrap_or_default()
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

    fn filter(key: FilterKey, values: &[&str]) -> Filter {
        let value = |text: &&str| FilterValue {
            prefix: text.trim_start_matches('!').to_owned(),
            negated: text.starts_with('!'),
        };
        Filter { key, values: values.iter().map(value).collect() }
    }

    #[test]
    fn conditions_on_names_say_where_to_look() {
        let name = |values: &[&str]| filter(FilterKey::Name, values);
        for (filters, prefixes, folders) in [
            (vec![], &[""][..], &[""][..]),
            (vec![name(&["app/db/x"])], &["app/db/x"], &["app/db"]),
            (vec![name(&["app"])], &["app"], &[""]),
            (vec![name(&["!app/"])], &[""], &[""]),
            (vec![name(&["app/", "!x"])], &[""], &[""]),
            (vec![name(&["app/", "app/db", "infra/y"])], &["app/", "infra/y"], &["app", "infra"]),
            (vec![name(&["app/", "b"]), name(&["app/db/", "x/"])], &["app/db/"], &["app/db"]),
            (vec![name(&["a/x", "a-b/y", "a/b/z"])], &["a-b/y", "a/b/z", "a/x"], &["a", "a-b"]),
            (vec![name(&["app/"]), filter(FilterKey::TagKey, &["x"])], &["app/"], &["app"]),
            (vec![name(&["app/"]), filter(FilterKey::All, &["x"])], &["app/"], &["app"]),
            (vec![name(&["app/"]), name(&["b/"])], &[], &[]),
            (vec![filter(FilterKey::Nothing, &["x"])], &[], &[]),
            (vec![filter(FilterKey::Nothing, &["!x"])], &[""], &[""]),
        ] {
            let found = NamePrefixes::of(&filters);
            assert_eq!((found.0.as_slice(), found.folders().as_slice()), (owned(prefixes).as_slice(), folders));
        }
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn folders_and_names_are_told_by_what_names_begin_with() {
        let found = NamePrefixes(owned(&["app/db/x", "app/dbs", "z"]));
        for (text, reaches, admits) in [
            ("", true, false),
            ("app/", true, false),
            ("app/db/", true, false),
            ("app/db/x", true, true),
            ("app/db/xyz/", true, true),
            ("app/db/y", false, false),
            ("app/d", true, false),
            ("infra/", false, false),
            ("zoo", true, true),
        ] {
            assert_eq!((found.reach(text), found.admit(text)), (reaches, admits), "{text}");
        }
        assert_eq!(found.behind(""), "", "nothing is common to all");
        assert_eq!(found.behind("app/"), "db");
        assert_eq!(found.behind("app/db/"), "x");
        assert_eq!(found.behind("zoo/"), "", "everything in it is meant");
        assert_eq!(NamePrefixes(owned(&["a/b/c"])).behind("a/"), "b/", "no further than names stay as they are");
        assert_eq!(NamePrefixes(owned(&["\u{e4}/x", "\u{e4}/y"])).behind(""), "\u{e4}/");
        assert!(!NamePrefixes(Vec::new()).reach(""));
    }

    #[test]
    fn what_is_not_known_does_not_fit() {
        let filter =
            Filter { key: FilterKey::TagKey, values: vec![FilterValue { prefix: "t".into(), negated: false }] };
        assert!(!filter.holds("a", None));
    }
}
