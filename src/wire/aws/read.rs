//! Reads: a value, several values, what is known of a secret and of its versions.

use super::decode::{Input, Routed};
use super::schema::{BatchGetSecretValue, GetSecretValue, JustSecret, ListSecretVersionIds};
use super::{Asked, Shape, fault, list, version};
use crate::secret::{Call, CatalogueOptions, Dialect, Operation, SecretAction, SecretCall, VersionSelector, WireName};
use crate::wire::{Fault, Request};

/// The label of the version that is read when none is named.
const CURRENT: &str = "AWSCURRENT";
const MAX_BATCH: usize = 20;

const VERSION_ID: &str = "1 validation error detected: Value at 'versionId' failed to satisfy constraint: Member must have length between \
     32 and 64";
const STAGE: &str = "1 validation error detected: Value at 'versionStage' failed to satisfy constraint: Member must have length \
     between 1 and 256";
const BATCH: &str = "1 validation error detected: Value at 'secretIdList' failed to satisfy constraint: Member must have length \
     between 1 and 20";

pub(super) fn value(input: &Input<'_>) -> Routed {
    let asked: GetSecretValue = input.read()?;
    let name = input.secret(asked.secret_id.as_deref())?;
    let stage = asked.version_stage.map(self::stage).transpose()?;
    let (selector, words) = match (asked.version_id, stage) {
        (None, None) => (VersionSelector::Current, Asked::Current),
        (None, Some(stage)) if &*stage == CURRENT => (VersionSelector::Current, Asked::Current),
        (None, Some(stage)) => (VersionSelector::Stage(stage.clone()), Asked::Stage(stage)),
        (Some(id), None) => (selector(&name, &id)?, Asked::Version(Box::from(id))),
        (Some(id), Some(stage)) => {
            let version = Box::new(selector(&name, &id)?);
            (VersionSelector::Labelled { version, stage }, Asked::Version(Box::from(id)))
        }
    };
    Ok((Request::Secret(read(name.clone(), selector)), Shape::Value(name, words)))
}

fn read(name: WireName, selector: VersionSelector) -> Call {
    let secret = SecretCall { name: Some(name), action: SecretAction::Read(selector), dialect: Dialect::Aws };
    Call { operation: Operation::Read, secret }
}

/// The version that an identifier names for this secret.
pub(super) fn selector(name: &WireName, id: &str) -> Result<VersionSelector, Fault> {
    if !version::is_id(id) {
        return Err(Fault::malformed(VERSION_ID));
    }
    let number = version::number(name.as_str(), id);
    Ok(number.map_or_else(|| VersionSelector::Native(Box::from(id)), VersionSelector::Number))
}

/// A staging label.
pub(super) fn stage(text: String) -> Result<Box<str>, Fault> {
    let fits = (1..=256).contains(&text.len()) && !text.chars().any(char::is_control);
    if fits { Ok(text.into_boxed_str()) } else { Err(Fault::malformed(STAGE)) }
}

pub(super) fn values(input: &Input<'_>) -> Routed {
    let asked: BatchGetSecretValue = input.read()?;
    match (asked.secret_id_list, asked.filters.filter(|filters| !filters.is_empty())) {
        (Some(ids), None) => {
            if asked.max_results.is_some() || asked.next_token.is_some() {
                return Err(Fault::malformed(fault::PAGED_LIST));
            }
            listed(input, &ids)
        }
        (None, Some(filters)) => {
            let options = CatalogueOptions {
                filters: list::filters(filters)?,
                after: list::after(input, asked.next_token.as_deref())?,
                limit: Some(list::limit(asked.max_results, MAX_BATCH)?),
                ..CatalogueOptions::default()
            };
            let secret = SecretCall { name: None, action: SecretAction::Catalogue(options), dialect: Dialect::Aws };
            let call = Call { operation: Operation::Scan, secret };
            Ok((Request::Gather(call), Shape::Values(Vec::new())))
        }
        _ => Err(Fault::malformed(fault::ONE_OF_BOTH)),
    }
}

fn listed(input: &Input<'_>, ids: &[String]) -> Routed {
    if !(1..=MAX_BATCH).contains(&ids.len()) {
        return Err(Fault::malformed(BATCH));
    }
    let mut names: Vec<(WireName, Box<str>)> = Vec::with_capacity(ids.len());
    for id in ids {
        let name = input.secret(Some(id))?;
        if names.iter().any(|(known, _)| *known == name) {
            return Err(Fault::malformed(fault::TWICE));
        }
        names.push((name, Box::from(id.as_str())));
    }
    let calls = names.iter().map(|(name, _)| read(name.clone(), VersionSelector::Current)).collect();
    Ok((Request::Batch(calls), Shape::Values(names)))
}

pub(super) fn describe(input: &Input<'_>) -> Routed {
    let JustSecret { secret_id } = input.read()?;
    let name = input.secret(secret_id.as_deref())?;
    Ok((described(&name, Dialect::Aws), Shape::Described(name)))
}

fn described(name: &WireName, dialect: Dialect) -> Request {
    let secret = SecretCall { name: Some(name.clone()), action: SecretAction::Describe, dialect };
    Request::Secret(Call { operation: Operation::Describe, secret })
}

/// The page is cut here, of a description in the neutral language: a native one is only asked for by `DescribeSecret`.
pub(super) fn versions(input: &Input<'_>) -> Routed {
    let asked: ListSecretVersionIds = input.read()?;
    let name = input.secret(asked.secret_id.as_deref())?;
    let request = described(&name, Dialect::Neutral);
    let shape = Shape::Versions {
        after: list::after_version(input, &name, asked.next_token.as_deref())?,
        deprecated: asked.include_deprecated.unwrap_or(false),
        limit: list::limit(asked.max_results, list::MAX)?,
        name,
    };
    Ok((request, shape))
}
