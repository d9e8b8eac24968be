//! Changes: new secrets and versions, labels, tags, and the end of a secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::decode::{Input, Routed};
use super::read::{selector, stage};
use super::schema::{
    CreateSecret, DeleteSecret, JustSecret, PutSecretValue, TagIn, TagResource, UntagResource, UpdateSecret,
    UpdateSecretVersionStage,
};
use super::{Shape, fault, name, version};
use crate::error::ErrorKind;
use crate::secret::{
    Call, DESCRIPTION, Dialect, LabelMove, MetadataChange, Operation, Precondition, SecretAction, SecretCall,
    SecretType, SecretValue, VersionSet, WireName, WriteOptions, detail,
};
use crate::wire::{Fault, Request, check_json};

const MAX_DESCRIPTION: usize = 2048;
const MAX_TAGS: usize = 50;
const MAX_TAG_KEY: usize = 128;
const MAX_TAG_VALUE: usize = 256;
const MAX_STAGES: usize = 20;
/// The days a deleted secret is kept if nothing is said.
const WINDOW: u16 = 30;
/// The key the service uses where none is named: no wish.
const DEFAULT_KEY: &str = "alias/aws/secretsmanager";

const NAME: &str =
    "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null";
const TOKEN: &str = "1 validation error detected: Value at 'clientRequestToken' failed to satisfy constraint: Member must have \
     length between 32 and 64";
const DESCRIBED: &str = "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less \
     than or equal to 2048";
const EMPTY: &str = "1 validation error detected: Value at 'secretString' or 'secretBinary' failed to satisfy constraint: Member \
     must have length greater than or equal to 1";
const STAGES: &str = "1 validation error detected: Value at 'versionStages' failed to satisfy constraint: Member must have length \
     between 1 and 20";
const NO_STAGE: &str =
    "1 validation error detected: Value null at 'versionStage' failed to satisfy constraint: Member must not be null";
const TAGS: &str = "1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must be at most 50 tags with \
     keys of 1 to 128 and values of at most 256 characters";

/// Entries of a secret's metadata; `None` removes a key.
type Entries = Vec<(String, Option<String>)>;

pub(super) fn create(input: &Input<'_>) -> Routed {
    let asked: CreateSecret = input.read()?;
    let name = name::fresh(asked.name.as_deref().ok_or(Fault::malformed(NAME))?)?;
    check_wishes(asked.kms_key_id.as_deref(), asked.r#type.as_deref())?;
    if asked.add_replica_regions.is_some_and(|regions| !regions.is_empty()) {
        return Err(Fault::because(ErrorKind::Unsupported, fault::REPLICAS));
    }
    let mut entries = tags(asked.tags.unwrap_or_default())?;
    entries.extend(described(asked.description)?.filter(|(_, text)| text.is_some()));
    let value = value(asked.secret_string, asked.secret_binary, input.facts.value_bytes)?;
    let token = token(asked.client_request_token, &name)?;
    let Some((value, secret_type)) = value else {
        let change = MetadataChange { metadata: Some(entries), absent: true, ..MetadataChange::default() };
        return Ok(written(name, Operation::WriteMetadata, SecretAction::WriteMetadata(change), false));
    };
    let metadata = entries.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let options = WriteOptions {
        precondition: Precondition::New,
        conditional: true,
        metadata: Some(metadata),
        token: Some(token.ok_or(Fault::malformed(fault::TOKEN_MISSING))?),
        ..WriteOptions::default()
    };
    Ok(written(name, Operation::Write, SecretAction::Write { value, secret_type, options }, false))
}

pub(super) fn put(input: &Input<'_>) -> Routed {
    let asked: PutSecretValue = input.read()?;
    let name = input.changed(asked.secret_id.as_deref())?;
    let value = value(asked.secret_string, asked.secret_binary, input.facts.value_bytes)?;
    let (value, secret_type) = value.ok_or(Fault::malformed(fault::NO_VALUE))?;
    let token = token(asked.client_request_token, &name)?;
    let options = WriteOptions {
        precondition: Precondition::Present,
        token: Some(token.ok_or(Fault::malformed(fault::TOKEN_MISSING))?),
        stages: asked.version_stages.map(stages).transpose()?,
        ..WriteOptions::default()
    };
    Ok(written(name, Operation::Write, SecretAction::Write { value, secret_type, options }, true))
}

pub(super) fn update(input: &Input<'_>) -> Routed {
    let asked: UpdateSecret = input.read()?;
    let name = input.changed(asked.secret_id.as_deref())?;
    check_wishes(asked.kms_key_id.as_deref(), asked.r#type.as_deref())?;
    let merge: Entries = described(asked.description)?.into_iter().collect();
    let value = value(asked.secret_string, asked.secret_binary, input.facts.value_bytes)?;
    let token = token(asked.client_request_token, &name)?;
    let Some((value, secret_type)) = value else {
        return Ok(written(name, Operation::WriteMetadata, merged(merge), false));
    };
    let options = WriteOptions {
        precondition: Precondition::Present,
        merge,
        token: Some(token.ok_or(Fault::malformed(fault::TOKEN_MISSING))?),
        ..WriteOptions::default()
    };
    Ok(written(name, Operation::Write, SecretAction::Write { value, secret_type, options }, false))
}

pub(super) fn tag(input: &Input<'_>) -> Routed {
    let asked: TagResource = input.read()?;
    let name = input.changed(asked.secret_id.as_deref())?;
    let tags = tags(asked.tags.ok_or(Fault::malformed(TAGS))?)?;
    Ok((call(name, Operation::WriteMetadata, merged(tags)), Shape::Empty))
}

pub(super) fn untag(input: &Input<'_>) -> Routed {
    let asked: UntagResource = input.read()?;
    let name = input.changed(asked.secret_id.as_deref())?;
    let keys = asked.tag_keys.ok_or(Fault::malformed(TAGS))?;
    if keys.len() > MAX_TAGS {
        return Err(Fault::malformed(TAGS));
    }
    let removed = |key: String| check_tag(&key, "").map(|()| (key, None));
    let removed: Entries = keys.into_iter().map(removed).collect::<Result<_, Fault>>()?;
    Ok((call(name, Operation::WriteMetadata, merged(removed)), Shape::Empty))
}

pub(super) fn label(input: &Input<'_>) -> Routed {
    let asked: UpdateSecretVersionStage = input.read()?;
    let name = input.changed(asked.secret_id.as_deref())?;
    let version = |id: Option<String>| id.map(|id| selector(&name, &id)).transpose();
    let (from, to) = (version(asked.remove_from_version_id)?, version(asked.move_to_version_id)?);
    if from.is_none() && to.is_none() {
        return Err(Fault::malformed(fault::NO_VERSION_MOVED));
    }
    let stage = stage(asked.version_stage.ok_or(Fault::malformed(NO_STAGE))?)?;
    let action = SecretAction::Label(LabelMove { stage, from, to });
    Ok((call(name.clone(), Operation::WriteMetadata, action), Shape::Named(name)))
}

pub(super) fn delete(input: &Input<'_>) -> Routed {
    let asked: DeleteSecret = input.read()?;
    let name = input.changed(asked.secret_id.as_deref())?;
    let is_forced = asked.force_delete_without_recovery.unwrap_or(false);
    let window = match asked.recovery_window_in_days {
        Some(_) if is_forced => return Err(Fault::malformed(fault::FORCE_AND_WINDOW)),
        Some(days) => u16::try_from(days).ok().filter(|days| (7..=30).contains(days)),
        None => Some(WINDOW),
    };
    let window = window.ok_or(Fault::malformed(fault::WINDOW))?;
    if is_forced {
        return Ok((call(name.clone(), Operation::Purge, SecretAction::Purge), Shape::Deleted(name, 0)));
    }
    let action = SecretAction::Delete(VersionSet::All, Some(window));
    Ok((call(name.clone(), Operation::Delete, action), Shape::Deleted(name, window)))
}

pub(super) fn restore(input: &Input<'_>) -> Routed {
    let JustSecret { secret_id } = input.read()?;
    let name = input.changed(secret_id.as_deref())?;
    let action = SecretAction::Undelete(VersionSet::All);
    Ok((call(name.clone(), Operation::Undelete, action), Shape::Named(name)))
}

fn written(name: WireName, operation: Operation, action: SecretAction, stages: bool) -> (Request, Shape) {
    (call(name.clone(), operation, action), Shape::Written(name, stages))
}

fn call(name: WireName, operation: Operation, action: SecretAction) -> Request {
    Request::Secret(Call { operation, secret: SecretCall { name: Some(name), action, dialect: Dialect::Neutral } })
}

fn merged(entries: Entries) -> SecretAction {
    let metadata = (!entries.is_empty()).then_some(entries);
    SecretAction::WriteMetadata(MetadataChange { metadata, merge: true, present: true, ..MetadataChange::default() })
}

/// What would be promised by taking it is refused.
fn check_wishes(key: Option<&str>, partner: Option<&str>) -> Result<(), Fault> {
    if !matches!(key, None | Some("" | DEFAULT_KEY)) {
        return Err(Fault::because(ErrorKind::Unsupported, fault::KEY));
    }
    if partner.is_some() { Err(Fault::because(ErrorKind::Unsupported, fault::PARTNERS)) } else { Ok(()) }
}

/// The value of a new version, if one is given, and how to understand it.
fn value(
    string: Option<Zeroizing<String>>,
    binary: Option<Zeroizing<String>>,
    limit: usize,
) -> Result<Option<(SecretValue, SecretType)>, Fault> {
    let (value, secret_type) = match (string, binary) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(Fault::malformed(fault::BOTH_VALUES)),
        (Some(mut text), None) => {
            let value = SecretValue::new(std::mem::take(&mut *text).into_bytes());
            let secret_type = text_type(value.expose());
            (value, secret_type)
        }
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| Fault::malformed(fault::NOT_BASE64))?;
            (SecretValue::new(bytes), SecretType::Binary)
        }
    };
    if value.is_empty() {
        return Err(Fault::malformed(EMPTY));
    }
    if value.len() > limit {
        return Err(Fault::because(ErrorKind::TooLarge, fault::TOO_LARGE));
    }
    Ok(Some((value, secret_type)))
}

/// Text that is a JSON object, and the same one to every reader, is one.
fn text_type(bytes: &[u8]) -> SecretType {
    let is_object = bytes.first() == Some(&b'{') && check_json(bytes).is_ok();
    if is_object { SecretType::Json } else { SecretType::Text }
}

/// The client's identifier of the new version. One that this wire made for another version of the secret is taken.
fn token(text: Option<String>, name: &WireName) -> Result<Option<Box<str>>, Fault> {
    let Some(text) = text else { return Ok(None) };
    if !version::is_id(&text) {
        return Err(Fault::malformed(TOKEN));
    }
    if version::number(name.as_str(), &text).is_some() {
        return Err(Fault::because(ErrorKind::Conflict, detail::TOKEN_REUSED));
    }
    Ok(Some(text.into_boxed_str()))
}

fn stages(texts: Vec<String>) -> Result<Vec<Box<str>>, Fault> {
    if !(1..=MAX_STAGES).contains(&texts.len()) {
        return Err(Fault::malformed(STAGES));
    }
    let mut stages: Vec<Box<str>> = Vec::with_capacity(texts.len());
    for text in texts {
        let stage = stage(text)?;
        if stages.contains(&stage) {
            return Err(Fault::malformed(fault::STAGE_TWICE));
        }
        stages.push(stage);
    }
    Ok(stages)
}

/// The description as an entry; an empty one is none.
fn described(text: Option<String>) -> Result<Option<(String, Option<String>)>, Fault> {
    let Some(text) = text else { return Ok(None) };
    if text.chars().count() > MAX_DESCRIPTION {
        return Err(Fault::malformed(DESCRIBED));
    }
    Ok(Some((DESCRIPTION.to_owned(), Some(text).filter(|text| !text.is_empty()))))
}

fn tags(asked: Vec<TagIn>) -> Result<Entries, Fault> {
    if asked.len() > MAX_TAGS {
        return Err(Fault::malformed(TAGS));
    }
    let mut tags: Entries = Vec::with_capacity(asked.len() + 1);
    for TagIn { key, value } in asked {
        let (key, value) = (key.ok_or(Fault::malformed(TAGS))?, value.unwrap_or_default());
        check_tag(&key, &value)?;
        if tags.iter().any(|(known, _)| *known == key) {
            return Err(Fault::malformed(fault::TAG_TWICE));
        }
        tags.push((key, Some(value)));
    }
    Ok(tags)
}

fn check_tag(key: &str, value: &str) -> Result<(), Fault> {
    let is_plain = |text: &str| !text.chars().any(char::is_control);
    let fits = (1..=MAX_TAG_KEY).contains(&key.chars().count()) && value.chars().count() <= MAX_TAG_VALUE;
    if !fits || !is_plain(key) || !is_plain(value) {
        return Err(Fault::malformed(TAGS));
    }
    // beside being the service's, it is where the description is kept
    let is_reserved = key.as_bytes().first_chunk().is_some_and(|begin: &[u8; 4]| begin.eq_ignore_ascii_case(b"aws:"));
    if is_reserved { Err(Fault::malformed(fault::RESERVED_TAG)) } else { Ok(()) }
}
