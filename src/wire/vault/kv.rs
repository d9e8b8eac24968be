//! The key-value engines' calls, versions 1 and 2.

use http::header;

use super::decode::{Target, Verb, join, malformed, mount_of};
use super::{Shape, body};
use crate::error::ErrorKind;
use crate::secret::{
    Call, Dialect, ListOptions, Operation, SecretAction, SecretCall, SecretType, VersionSelector, VersionSet, WireName,
    WriteOptions,
};
use crate::wire::{Fault, MountKind, Request, SystemRequest, TargetError};

pub(super) fn decode_v2(mount: &str, rest: &[&str], target: &mut Target<'_, '_>) -> Result<(Request, Shape), Fault> {
    let Some((area, name)) = rest.split_first() else {
        return Err(Fault::of(ErrorKind::Unsupported));
    };
    if *area == "config" && name.is_empty() {
        return match target.verb {
            Verb::Read => Ok((Request::System(SystemRequest::MountConfig), Shape::System)),
            _ => Err(Fault::because(ErrorKind::Unsupported, "mount settings are set in the proxy's configuration")),
        };
    }
    let listing = matches!(target.verb, Verb::List | Verb::Scan);
    if target.slash && !listing {
        return Err(malformed(TargetError::EmptySegment));
    }
    let (operation, action, shape) = match (*area, target.verb) {
        ("metadata", Verb::List | Verb::Scan) => list(target)?,
        ("data", Verb::Read) => (Operation::Read, SecretAction::Read(version(target)?), Shape::Kv2Data),
        ("data", Verb::Write) => {
            let (value, options) = body::write_v2(target.body, target.facts.value_bytes)?;
            (Operation::Write, SecretAction::Write { value, secret_type: SecretType::Json, options }, Shape::Kv2Written)
        }
        ("data", Verb::Patch) => {
            merge_patch(target)?;
            let (patch, options) = body::write_v2(target.body, target.facts.value_bytes)?;
            (Operation::Patch, SecretAction::Patch { patch, options }, Shape::Kv2Written)
        }
        ("data", Verb::Delete) => (Operation::Delete, SecretAction::Delete(VersionSet::Current, None), Shape::Empty),
        ("delete", Verb::Write) => (Operation::Delete, SecretAction::Delete(versions(target)?, None), Shape::Empty),
        ("undelete", Verb::Write) => (Operation::Undelete, SecretAction::Undelete(versions(target)?), Shape::Empty),
        ("destroy", Verb::Write) => (Operation::Destroy, SecretAction::Destroy(versions(target)?), Shape::Empty),
        ("metadata", Verb::Read) => (Operation::Describe, SecretAction::Describe, Shape::Kv2Metadata),
        ("metadata", Verb::Write) => {
            let change = body::metadata(target.body, false)?;
            (Operation::WriteMetadata, SecretAction::WriteMetadata(change), Shape::Empty)
        }
        ("metadata", Verb::Patch) => {
            merge_patch(target)?;
            let change = body::metadata(target.body, true)?;
            (Operation::WriteMetadata, SecretAction::WriteMetadata(change), Shape::Empty)
        }
        ("metadata", Verb::Delete) => (Operation::Purge, SecretAction::Purge, Shape::Empty),
        ("subkeys", Verb::Read) => {
            let depth = number(target, "depth")?.unwrap_or(0);
            let depth = u32::try_from(depth).map_err(|_| Fault::malformed("depth is too large"))?;
            let version = version(target)?;
            (Operation::Subkeys, SecretAction::Subkeys { version, depth }, Shape::Kv2Subkeys(depth))
        }
        ("data" | "subkeys" | "delete" | "undelete" | "destroy", _) => {
            return Err(Fault::because(ErrorKind::Unsupported, "unsupported operation"));
        }
        _ => return Err(Fault::of(ErrorKind::Denied)),
    };
    if name.is_empty() && !listing {
        return Err(Fault::because(ErrorKind::Unsupported, "unsupported operation"));
    }
    let name = Some(wire_name(mount, name)?);
    let secret = SecretCall { name, action, dialect: Dialect::VaultKv2 };
    Ok((Request::Secret(Call { operation, secret }), shape))
}

pub(super) fn decode_v1(mount: &str, rest: &[&str], target: &mut Target<'_, '_>) -> Result<(Request, Shape), Fault> {
    let listing = matches!(target.verb, Verb::List | Verb::Scan);
    if target.slash && !listing {
        return Err(malformed(TargetError::EmptySegment));
    }
    if rest.is_empty() && !listing {
        return Err(Fault::because(ErrorKind::Unsupported, "unsupported operation"));
    }
    let (operation, action, shape) = match target.verb {
        Verb::List | Verb::Scan => list(target)?,
        Verb::Read => (Operation::Read, SecretAction::Read(VersionSelector::Current), Shape::Kv1),
        Verb::Write => {
            let value = body::write_v1(target.body, target.facts.value_bytes)?;
            let options = WriteOptions::default();
            (Operation::Write, SecretAction::Write { value, secret_type: SecretType::Json, options }, Shape::Empty)
        }
        // version 1 has no soft delete
        Verb::Delete => (Operation::Purge, SecretAction::Purge, Shape::Empty),
        Verb::Patch => return Err(Fault::because(ErrorKind::Unsupported, "unsupported operation")),
    };
    let secret = SecretCall { name: Some(wire_name(mount, rest)?), action, dialect: Dialect::VaultKv1 };
    Ok((Request::Secret(Call { operation, secret }), shape))
}

/// The call a verb means at a key-value path, without reading a body.
pub(super) fn probe(target: &mut Target<'_, '_>) -> Option<Call> {
    let (mount, rest) = mount_of(target.segments, target.facts)?;
    let (operation, name) = match (mount.kind, rest) {
        (MountKind::Kv2, ["data", name @ ..]) => (
            match target.verb {
                Verb::Read => Operation::Read,
                Verb::Write => Operation::Write,
                Verb::Patch => Operation::Patch,
                Verb::Delete => Operation::Delete,
                Verb::List | Verb::Scan => return None,
            },
            name,
        ),
        (MountKind::Kv2, ["metadata", name @ ..]) => (
            match target.verb {
                Verb::Read => Operation::Describe,
                Verb::Write | Verb::Patch => Operation::WriteMetadata,
                Verb::Delete => Operation::Purge,
                Verb::List | Verb::Scan => Operation::List,
            },
            name,
        ),
        (MountKind::Kv2, [area @ ("delete" | "undelete" | "destroy" | "subkeys"), name @ ..]) => {
            (area_operation(area, target.verb)?, name)
        }
        (MountKind::Kv1, name) => (
            match target.verb {
                Verb::Read => Operation::Read,
                Verb::Write => Operation::Write,
                Verb::Delete => Operation::Purge,
                Verb::List => Operation::List,
                Verb::Patch | Verb::Scan => return None,
            },
            name,
        ),
        _ => return None,
    };
    let name = Some(join(&mount.path, name)?);
    let secret = SecretCall { name, action: SecretAction::Describe, dialect: Dialect::Neutral };
    Some(Call { operation, secret })
}

fn area_operation(area: &str, verb: Verb) -> Option<Operation> {
    match (area, verb) {
        ("delete", Verb::Write) => Some(Operation::Delete),
        ("undelete", Verb::Write) => Some(Operation::Undelete),
        ("destroy", Verb::Write) => Some(Operation::Destroy),
        ("subkeys", Verb::Read) => Some(Operation::Subkeys),
        _ => None,
    }
}

fn list(target: &mut Target<'_, '_>) -> Result<(Operation, SecretAction, Shape), Fault> {
    let after = target.query.take("after").filter(|text| !text.is_empty()).map(|text| Box::from(&*text));
    let limit = match target.query.take("limit") {
        None => None,
        Some(text) => match text.parse::<i64>() {
            // a real server reads both as "no limit"
            Ok(limit) if limit <= 0 => None,
            Ok(limit) => usize::try_from(limit).ok(),
            Err(_) => return Err(Fault::malformed("limit is not a number")),
        },
    };
    let options = ListOptions { after, limit };
    Ok(if target.verb == Verb::Scan {
        (Operation::Scan, SecretAction::Scan(options), Shape::Keys)
    } else {
        (Operation::List, SecretAction::List(options), Shape::Keys)
    })
}

fn version(target: &mut Target<'_, '_>) -> Result<VersionSelector, Fault> {
    Ok(match number(target, "version")? {
        None | Some(0) => VersionSelector::Current,
        Some(version) => VersionSelector::Number(version),
    })
}

fn number(target: &mut Target<'_, '_>, key: &str) -> Result<Option<u64>, Fault> {
    match target.query.take(key) {
        None => Ok(None),
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().map(Some).map_err(|_| Fault::malformed("a number parameter is not a number"))
        }
        Some(_) => Err(Fault::malformed("a number parameter is not a number")),
    }
}

fn versions(target: &Target<'_, '_>) -> Result<VersionSet, Fault> {
    Ok(VersionSet::Numbers(body::versions(target.body)?))
}

fn merge_patch(target: &Target<'_, '_>) -> Result<(), Fault> {
    let kind =
        target.request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().is_some_and(|kind| kind.trim() == "application/merge-patch+json") {
        Ok(())
    } else {
        Err(Fault::because(ErrorKind::Unsupported, body::WRONG_MEDIA_TYPE))
    }
}

pub(super) fn wire_name(mount: &str, rest: &[&str]) -> Result<WireName, Fault> {
    join(mount, rest).ok_or(malformed(TargetError::Character))
}
