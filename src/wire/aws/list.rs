//! Lists: conditions, order, pages.

use super::decode::{Input, Routed};
use super::schema::{FilterIn, ListSecrets};
use super::{Shape, fault};
use crate::error::ErrorKind;
use crate::secret::{
    Call, CatalogueOptions, CatalogueSort, Dialect, Filter, FilterKey, FilterValue, Operation, SecretAction,
    SecretCall, WireName,
};
use crate::wire::{Cursors, Fault, Request};

/// The most entries of a page.
pub(super) const MAX: usize = 100;
const MAX_FILTERS: usize = 10;
const MAX_VALUE: usize = 512;
const MAX_TOKEN: usize = 4096;
/// Stands in cursors that are about versions, and in no name.
const MARK: char = '\u{1}';

const MAX_RESULTS: &str =
    "1 validation error detected: Value at 'maxResults' failed to satisfy constraint: Member is out of range";
const FILTERS: &str = "1 validation error detected: Value at 'filters' failed to satisfy constraint: Member must have length less than \
     or equal to 10";
const FILTER_KEY: &str = "1 validation error detected: Value at 'filters.member.key' failed to satisfy constraint: Member must satisfy \
     enum value set: [description, name, tag-key, tag-value, primary-region, owning-service, all]";
const FILTER_VALUES: &str = "1 validation error detected: Value at 'filters.member.values' failed to satisfy constraint: Member must have 1 \
     to 10 values of at most 512 characters";
const SORT_ORDER: &str = "1 validation error detected: Value at 'sortOrder' failed to satisfy constraint: Member must satisfy enum value \
     set: [asc, desc]";
const SORT_BY: &str = "1 validation error detected: Value at 'sortBy' failed to satisfy constraint: Member must satisfy enum value \
     set: [created-date, last-accessed-date, last-changed-date, name]";

pub(super) fn secrets(input: &Input<'_>) -> Routed {
    let asked: ListSecrets = input.read()?;
    let descending = match asked.sort_order.as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => return Err(Fault::malformed(SORT_ORDER)),
    };
    let sort = match asked.sort_by.as_deref() {
        // who asks for an order means that of the service
        None if asked.sort_order.is_some() => CatalogueSort::Created,
        None | Some("name") => CatalogueSort::Name,
        Some("created-date") => CatalogueSort::Created,
        Some("last-changed-date") => CatalogueSort::Changed,
        Some("last-accessed-date") => return Err(Fault::because(ErrorKind::Unsupported, fault::ACCESSED)),
        Some(_) => return Err(Fault::malformed(SORT_BY)),
    };
    let options = CatalogueOptions {
        filters: filters(asked.filters.unwrap_or_default())?,
        with_deleted: asked.include_planned_deletion.unwrap_or(false),
        sort,
        descending,
        after: after(input, asked.next_token.as_deref())?,
        limit: Some(limit(asked.max_results, MAX)?),
    };
    let secret = SecretCall { name: None, action: SecretAction::Catalogue(options), dialect: Dialect::Neutral };
    Ok((Request::Secret(Call { operation: Operation::Scan, secret }), Shape::Catalogue))
}

pub(super) fn filters(asked: Vec<FilterIn>) -> Result<Vec<Filter>, Fault> {
    if asked.len() > MAX_FILTERS {
        return Err(Fault::malformed(FILTERS));
    }
    asked.into_iter().map(filter).collect()
}

fn filter(asked: FilterIn) -> Result<Filter, Fault> {
    let key = match asked.key.as_deref() {
        Some("name") => FilterKey::Name,
        Some("description") => FilterKey::Description,
        Some("tag-key") => FilterKey::TagKey,
        Some("tag-value") => FilterKey::TagValue,
        Some("all") => FilterKey::All,
        // nothing here is a replica, and no service owns it
        Some("primary-region" | "owning-service") => FilterKey::Nothing,
        _ => return Err(Fault::malformed(FILTER_KEY)),
    };
    let texts = asked.values.unwrap_or_default();
    if !(1..=MAX_FILTERS).contains(&texts.len()) || texts.iter().any(|text| text.chars().count() > MAX_VALUE) {
        return Err(Fault::malformed(FILTER_VALUES));
    }
    let value = |text: String| match text.strip_prefix('!') {
        Some(prefix) => FilterValue { prefix: prefix.to_owned(), negated: true },
        None => FilterValue { prefix: text, negated: false },
    };
    Ok(Filter { key, values: texts.into_iter().map(value).collect() })
}

/// How many entries are wanted; as many as may be if nothing is said.
pub(super) fn limit(asked: Option<i64>, most: usize) -> Result<usize, Fault> {
    let Some(asked) = asked else { return Ok(most) };
    let limit = usize::try_from(asked).ok().filter(|limit| (1..=most).contains(limit));
    limit.ok_or(Fault::malformed(MAX_RESULTS))
}

/// The name behind which a page begins.
pub(super) fn after(input: &Input<'_>, token: Option<&str>) -> Result<Option<Box<str>>, Fault> {
    let name = open(input, token)?;
    if name.as_deref().is_some_and(|name| name.contains(MARK)) {
        return Err(Fault::malformed(fault::NEXT_TOKEN));
    }
    Ok(name)
}

/// The version behind which a page begins: only that of the same secret goes on.
pub(super) fn after_version(
    input: &Input<'_>,
    name: &WireName,
    token: Option<&str>,
) -> Result<Option<(u64, Box<str>)>, Fault> {
    let Some(opened) = open(input, token)? else { return Ok(None) };
    let mut parts = opened.split(MARK);
    let place = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(of), Some(number), Some(id), None) if of == name.as_str() => {
            number.parse().ok().map(|number| (number, Box::from(id)))
        }
        _ => None,
    };
    place.map(Some).ok_or(Fault::malformed(fault::NEXT_TOKEN))
}

/// The token of the page behind a version.
pub(super) fn version_token(cursors: &Cursors, name: &str, number: u64, id: &str) -> String {
    cursors.seal(&format!("{name}{MARK}{number}{MARK}{id}"))
}

fn open(input: &Input<'_>, token: Option<&str>) -> Result<Option<Box<str>>, Fault> {
    let Some(token) = token else { return Ok(None) };
    let opened = if token.len() > MAX_TOKEN { None } else { input.facts.cursors.open(token) };
    opened.map(Some).ok_or(Fault::malformed(fault::NEXT_TOKEN))
}
