//! Answers about secrets and their versions, without values.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use super::answer::{Date, Stages};
use super::fault::Trouble;
use super::schema::TagOut;
use super::{encode, list, name, version};
use crate::clock::Timestamp;
use crate::secret::{DESCRIPTION, Described, Entry, Rank, VersionInfo, VersionState};
use crate::wire::{AwsFacts, ListenerFacts, Reveal};

/// What is asked of a secret's versions.
pub(super) struct Page<'p> {
    pub(super) deprecated: bool,
    pub(super) after: Option<&'p (u64, Box<str>)>,
    pub(super) limit: usize,
}

/// Labels by version; versions without any are left out.
type Labels<'a> = BTreeMap<Cow<'a, str>, Stages<'a>>;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SecretOut<'a> {
    #[serde(rename = "ARN")]
    arn: String,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_changed_date: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_date: Option<Date>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<TagOut<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    version_ids_to_stages: Labels<'a>,
    // what a list calls the same
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    secret_versions_to_stages: Labels<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_date: Option<Date>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CatalogueOut<'a> {
    secret_list: Vec<SecretOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct VersionsOut<'a> {
    versions: Vec<VersionOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
    #[serde(rename = "ARN")]
    arn: String,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct VersionOut<'a> {
    version_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Stages::is_empty")]
    version_stages: Stages<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_date: Option<Date>,
}

impl<'a> VersionOut<'a> {
    fn of(known: Known<'a>) -> Self {
        let created_date = Date::known(known.info.created_at);
        Self { version_id: known.id, version_stages: known.stages, created_date }
    }
}

/// The answer to `DescribeSecret`.
pub(super) fn secret(name: &str, described: &Described, aws: &AwsFacts) -> Result<Bytes, Trouble> {
    let version_ids_to_stages = labels(name, described);
    encode::bytes(&SecretOut { version_ids_to_stages, ..told(name, Some(described), aws) }, 1024)
}

/// The answer to `ListSecrets`.
pub(super) fn catalogue(entries: &[Entry], reveal: Reveal<'_>, aws: &AwsFacts) -> Result<Bytes, Trouble> {
    let secret_list: Vec<SecretOut<'_>> = entries.iter().map(|entry| listed(entry, aws)).collect();
    let last = entries.last().filter(|_| reveal.more);
    let next_token = last.map(|last| reveal.facts.cursors.seal(&last.name));
    encode::bytes(&CatalogueOut { secret_list, next_token }, 1024 * entries.len())
}

fn listed<'a>(entry: &'a Entry, aws: &AwsFacts) -> SecretOut<'a> {
    let described = entry.described.as_deref();
    let labels = described.map(|described| labels(&entry.name, described)).unwrap_or_default();
    SecretOut { secret_versions_to_stages: labels, ..told(&entry.name, described, aws) }
}

/// What is known of a secret, but for its versions.
fn told<'a>(name: &'a str, described: Option<&'a Described>, aws: &AwsFacts) -> SecretOut<'a> {
    let metadata = described.map(|described| &described.metadata);
    let tags = metadata.into_iter().flatten().filter(|(key, _)| *key != DESCRIPTION);
    SecretOut {
        arn: name::arn(name, aws),
        name,
        description: metadata.and_then(|metadata| metadata.get(DESCRIPTION)).map(String::as_str),
        last_changed_date: described.and_then(|described| Date::known(described.updated_at)),
        deleted_date: described.and_then(deleted_at).map(Date),
        tags: tags.map(|(key, value)| TagOut { key, value }).collect(),
        version_ids_to_stages: Labels::new(),
        secret_versions_to_stages: Labels::new(),
        created_date: described.and_then(|described| Date::known(described.created_at)),
    }
}

/// When the deleted secret goes for good; when it was deleted, where it stays until somebody removes it.
fn deleted_at(described: &Described) -> Option<Timestamp> {
    let current = described.versions.iter().find(|info| info.version == described.current_version);
    described.purges_at.or(match current.map(|info| info.state) {
        Some(VersionState::Deleted(at)) => Some(at),
        _ => None,
    })
}

fn labels<'a>(name: &str, described: &'a Described) -> Labels<'a> {
    let known = known(name, described).filter(|known| !known.stages.is_empty());
    known.map(|known| (known.id, known.stages)).collect()
}

/// A version a client may see.
struct Known<'a> {
    info: &'a VersionInfo,
    id: Cow<'a, str>,
    stages: Stages<'a>,
}

/// The versions that are not gone for good, with their places. Who describes a secret without saying the places of its
/// versions says which is the current one; the one before it has the place before it.
fn known<'a>(name: &str, described: &'a Described) -> impl Iterator<Item = Known<'a>> {
    let is_told = described.versions.iter().any(|info| info.rank != Rank::Unknown);
    let current = described.current_version;
    let previous = described.versions.iter().map(|info| info.version).filter(|number| *number < current).max();
    let rank = move |info: &VersionInfo| match info.version {
        _ if is_told => info.rank,
        number if number == current => Rank::Current,
        number if Some(number) == previous => Rank::Previous,
        _ => Rank::Other,
    };
    let there = described.versions.iter().filter(|info| !matches!(info.state, VersionState::Destroyed(_)));
    there.filter_map(move |info| {
        let stages = Stages::at(rank(info), info);
        version::shown(name, info).map(|id| Known { info, id, stages })
    })
}

/// The answer to `ListSecretVersionIds`.
pub(super) fn versions(
    name: &str,
    described: &Described,
    page: &Page<'_>,
    facts: &ListenerFacts,
    aws: &AwsFacts,
) -> Result<Bytes, Trouble> {
    let mut known: Vec<Known<'_>> = known(name, described)
        .filter(|known| page.deprecated || !known.stages.is_empty())
        .filter(|known| page.after.is_none_or(|(number, id)| (known.info.version, &*known.id) < (*number, &**id)))
        .collect();
    known.sort_by(|one, other| (other.info.version, &other.id).cmp(&(one.info.version, &one.id)));
    let more = known.len() > page.limit;
    known.truncate(page.limit);
    let last = known.last().filter(|_| more);
    let next_token = last.map(|last| list::version_token(&facts.cursors, name, last.info.version, &last.id));
    let versions: Vec<VersionOut<'_>> = known.into_iter().map(VersionOut::of).collect();
    encode::bytes(&VersionsOut { versions, next_token, arn: name::arn(name, aws), name }, 1024)
}
