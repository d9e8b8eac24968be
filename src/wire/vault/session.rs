//! `auth/*`: logins and the caller's own token.

use serde::Deserialize;
use zeroize::Zeroizing;

use super::Shape;
use super::body::{self, GoDuration};
use super::decode::{Target, Verb};
use crate::error::ErrorKind;
use crate::wire::{ChildRequest, Fault, LoginProof, LoginRequest, Request, TokenRequest};

pub(super) fn decode(rest: &[&str], target: &Target<'_, '_>) -> Result<(Request, Shape), Fault> {
    if target.slash || rest.iter().any(|part| part.is_empty()) {
        return Err(Fault::malformed("empty path segment"));
    }
    let token = |request| Ok((Request::Token(request), Shape::Auth));
    match (rest, target.verb) {
        (["token", "lookup-self"], Verb::Read | Verb::Write) => token(TokenRequest::Lookup),
        (["token", "renew-self"], Verb::Write) => token(TokenRequest::Renew(increment(target.body)?)),
        (["token", "revoke-self"], Verb::Write) => token(TokenRequest::Revoke),
        (["token", "create"], Verb::Write) => token(TokenRequest::Create(child(target.body)?)),
        (["token", ..], _) => Err(Fault::of(ErrorKind::Denied)),
        ([mount, "login"] | [mount, "login", _], Verb::Write) => {
            let proof = proof(target)?;
            Ok((Request::Login(LoginRequest { mount: (*mount).to_owned(), proof }), Shape::Auth))
        }
        _ => Err(Fault::of(ErrorKind::Denied)),
    }
}

#[derive(Default, Deserialize)]
struct LoginBody {
    role_id: Option<String>,
    secret_id: Option<String>,
    jwt: Option<String>,
    role: Option<String>,
}

/// What a login brings. Bodies of methods this proxy does not check are not looked into.
fn proof(target: &Target<'_, '_>) -> Result<Option<LoginProof>, Fault> {
    if target.body.is_empty() {
        return Ok(None);
    }
    let body: LoginBody = match body::read(target.body) {
        Ok(body) => body,
        Err(_) if target.facts.workload => LoginBody::default(),
        Err(fault) => return Err(fault),
    };
    let secret_id = body.secret_id.map(Zeroizing::new);
    let jwt = body.jwt.map(Zeroizing::new);
    Ok(match (body.role_id, secret_id, jwt) {
        (Some(role_id), Some(secret_id), None) => Some(LoginProof::Approle { role_id, secret_id }),
        (None, None, Some(jwt)) => Some(LoginProof::Jwt { jwt, role: body.role }),
        _ => None,
    })
}

#[derive(Default, Deserialize)]
struct RenewBody {
    increment: Option<GoDuration>,
}

fn increment(body: &[u8]) -> Result<Option<std::time::Duration>, Fault> {
    let RenewBody { increment } = optional(body)?;
    Ok(increment.map(|GoDuration(increment)| increment).filter(|increment| !increment.is_zero()))
}

/// Everything a real server reads from a creation body; what we do not do must be absent or without effect.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    policies: Option<Vec<String>>,
    ttl: Option<GoDuration>,
    explicit_max_ttl: Option<GoDuration>,
    period: Option<GoDuration>,
    renewable: Option<bool>,
    display_name: Option<String>,
    meta: Option<std::collections::BTreeMap<String, String>>,
    num_uses: Option<u64>,
    no_parent: Option<bool>,
    no_default_policy: Option<bool>,
    r#type: Option<String>,
    id: Option<String>,
    entity_alias: Option<String>,
    lease: Option<GoDuration>,
}

fn child(body: &[u8]) -> Result<ChildRequest, Fault> {
    let wanted: CreateBody = optional(body)?;
    let zero = |duration: Option<GoDuration>| duration.is_none_or(|GoDuration(duration)| duration.is_zero());
    let blank = |text: &Option<String>| text.as_deref().is_none_or(str::is_empty);
    let kind = wanted.r#type.as_deref().unwrap_or_default();
    if !zero(wanted.period)
        || wanted.num_uses.unwrap_or(0) != 0
        || wanted.no_parent == Some(true)
        || !matches!(kind, "" | "service" | "default-service")
        || !blank(&wanted.id)
        || !blank(&wanted.entity_alias)
        || !zero(wanted.lease)
    {
        return Err(Fault::malformed(
            "period, num_uses, no_parent, batch tokens, id and entity_alias are not supported",
        ));
    }
    // there is no default policy to leave out
    let _ = wanted.no_default_policy;
    let positive = |duration: Option<GoDuration>| duration.map(|GoDuration(d)| d).filter(|d| !d.is_zero());
    Ok(ChildRequest {
        policies: wanted.policies.filter(|policies| !policies.is_empty()),
        ttl: positive(wanted.ttl),
        explicit_max_ttl: positive(wanted.explicit_max_ttl),
        renewable: wanted.renewable.unwrap_or(true),
        display_name: wanted.display_name.filter(|name| !name.is_empty()),
        meta: wanted.meta.unwrap_or_default().into_iter().collect(),
    })
}

/// A body that may be absent or `null`.
fn optional<'b, T: Deserialize<'b> + Default>(body: &'b [u8]) -> Result<T, Fault> {
    if body.is_empty() || body == b"null" || body == b"null\n" { Ok(T::default()) } else { body::read(body) }
}
