//! Answers that hold values. A value is written once, into an allocation that is large enough from the start, so that no
//! piece of it stays behind in one that was too small.

use std::borrow::Cow;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use serde::{Serialize, Serializer};

use super::answer::{Date, Stages};
use super::fault::{self, Trouble};
use super::{Asked, encode, name, native, version};
use crate::error::ErrorKind;
use crate::secret::{NativeReply, Outcome, Reply, SecretRecord, SecretType, VersionState, WireName};
use crate::wire::{AwsFacts, Fault, Reveal, WireResponse};

/// What an answer needs beside the value and the name.
const ROOM: usize = 384;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ValueOut<'a> {
    #[serde(rename = "ARN")]
    arn: String,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_string: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_binary: Option<Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_stages: Option<Stages<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_date: Option<Date>,
}

/// The value as a client gets it: text as it is, anything else as base64.
#[derive(Clone, Copy)]
enum Payload<'v> {
    Text(&'v str),
    Binary(&'v [u8]),
}

/// Bytes that are encoded on their way out.
struct Base64<'v>(&'v [u8]);

impl<'v> Payload<'v> {
    fn of(record: &'v SecretRecord) -> Option<Self> {
        let bytes = record.value.as_ref()?.expose();
        let text = if record.secret_type == SecretType::Binary { None } else { std::str::from_utf8(bytes).ok() };
        Some(text.map_or(Self::Binary(bytes), Self::Text))
    }

    /// How long it is in JSON.
    fn room(&self) -> usize {
        match self {
            Self::Text(text) => text.bytes().map(escaped).sum(),
            Self::Binary(bytes) => bytes.len().div_ceil(3) * 4,
        }
    }
}

const fn escaped(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    }
}

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// The answer to `GetSecretValue`.
pub(super) fn single(name: &str, record: &SecretRecord, asked: &Asked, aws: &AwsFacts) -> Result<Bytes, Trouble> {
    let payload = Payload::of(record).ok_or_else(|| missing(record, asked))?;
    let mut out = Vec::with_capacity(room(name, &payload));
    write(&mut out, name, record, payload, aws)?;
    Ok(Bytes::from(out))
}

fn room(name: &str, payload: &Payload<'_>) -> usize {
    ROOM + 2 * name.len() + payload.room()
}

fn write(
    out: &mut Vec<u8>,
    name: &str,
    record: &SecretRecord,
    payload: Payload<'_>,
    aws: &AwsFacts,
) -> Result<(), Trouble> {
    let (secret_string, secret_binary) = match payload {
        Payload::Text(text) => (Some(text), None),
        Payload::Binary(bytes) => (None, Some(Base64(bytes))),
    };
    let body = ValueOut {
        arn: name::arn(name, aws),
        name,
        version_id: version::shown(name, &record.info),
        secret_string,
        secret_binary,
        version_stages: Stages::of(&record.info),
        created_date: Date::known(record.info.created_at),
    };
    serde_json::to_writer(out, &body).map_err(|_| encode::none())
}

/// Why a version has no value.
fn missing(record: &SecretRecord, asked: &Asked) -> Trouble {
    match (record.info.state, asked) {
        (VersionState::Deleted(_), _) => Trouble::deleted(),
        (_, Asked::Current) => Trouble::no_version("staging label", "AWSCURRENT"),
        (_, Asked::Stage(stage)) => Trouble::no_version("staging label", stage),
        (_, Asked::Version(id)) => Trouble::no_version("VersionId", id),
    }
}

/// The service's own answer, under the client's name for the secret.
pub(super) fn native(name: &str, reply: NativeReply, aws: &AwsFacts) -> Result<Bytes, Trouble> {
    if reply.status != StatusCode::OK {
        return Err(encode::none());
    }
    native::renamed(reply.body, name, aws).ok_or_else(encode::none)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorOut<'a> {
    secret_id: &'a str,
    error_code: &'static str,
    message: Cow<'static, str>,
}

/// The answer to `BatchGetSecretValue`: what there is, and for the rest why not.
pub(super) fn several(
    asked: &[(WireName, Box<str>)],
    results: Vec<(String, Result<Reply, Fault>)>,
    more: bool,
    reveal: Reveal<'_>,
) -> WireResponse {
    let Some(aws) = &reveal.facts.aws else { return encode::none().render(reveal) };
    let next = results.last().filter(|_| more).map(|(name, _)| reveal.facts.cursors.seal(name));
    let names: Vec<String> = results.iter().map(|(name, _)| name.clone()).collect();
    let room: usize = results.iter().map(|(name, result)| room_of(name, result)).sum();
    let mut out = Vec::with_capacity(2 * ROOM + room);
    let mut errors = Vec::new();
    out.extend_from_slice(b"{\"SecretValues\":[");
    let first = out.len();
    for (name, (_, result)) in names.iter().zip(results) {
        let before = out.len();
        if before > first {
            out.push(b',');
        }
        if let Err(Trouble { code, message, .. }) = one(&mut out, name, result, aws) {
            out.truncate(before);
            let written = asked.iter().find(|(known, _)| known.as_str() == name);
            let secret_id = written.map_or(name.as_str(), |(_, text)| &**text);
            errors.push(ErrorOut { secret_id, error_code: code, message });
        }
    }
    out.extend_from_slice(b"],\"Errors\":");
    let mut whole = serde_json::to_writer(&mut out, &errors).is_ok();
    if let Some(next) = next {
        out.extend_from_slice(b",\"NextToken\":");
        whole &= serde_json::to_writer(&mut out, &next).is_ok();
    }
    out.push(b'}');
    if whole { encode::whole(Bytes::from(out), reveal) } else { encode::none().render(reveal) }
}

fn one(out: &mut Vec<u8>, name: &str, result: Result<Reply, Fault>, aws: &AwsFacts) -> Result<(), Trouble> {
    match result.map_err(fault::words)? {
        Reply::Native(reply) => {
            out.extend_from_slice(&native(name, reply, aws)?);
            Ok(())
        }
        Reply::Neutral(Outcome::Record(record)) => {
            let payload = Payload::of(&record).ok_or_else(|| missing(&record, &Asked::Current))?;
            write(out, name, &record, payload, aws)
        }
        Reply::Neutral(Outcome::NotFound) => Err(fault::words(Fault::of(ErrorKind::NotFound))),
        Reply::Neutral(_) => Err(encode::none()),
    }
}

fn room_of(name: &str, result: &Result<Reply, Fault>) -> usize {
    match result {
        Ok(Reply::Native(reply)) => ROOM + 2 * name.len() + reply.body.len(),
        Ok(Reply::Neutral(Outcome::Record(record))) => Payload::of(record).map_or(ROOM, |payload| room(name, &payload)),
        _ => ROOM + name.len(),
    }
}
