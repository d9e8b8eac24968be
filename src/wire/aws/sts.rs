//! The login of STS: `AssumeRoleWithWebIdentity`, in the query protocol with its XML. The web identity's token decides who
//! the client is; the role it names decides nothing.

use bytes::Bytes;
use http::{StatusCode, header};
use zeroize::Zeroizing;

use super::{Shape, encode, keys};
use crate::error::ErrorKind;
use crate::identity::{AccessKey, Credential};
use crate::wire::{
    About, Decoded, Fault, LoginProof, LoginRequest, Query, Request, Reveal, Shape as WireShape, WireRequest,
    WireResponse,
};

/// What configuration calls this way in.
const MOUNT: &str = "sts";
const XML: &str = "text/xml";
const MAX_TOKEN: usize = 20_000;
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

const NOT_A_FORM: &str = "The body is not an unambiguous form";
const NO_ACTION: &str = "Could not find an operation for this Action and Version";
const ROLE: &str = "RoleArn must be the ARN of a role";
const SESSION: &str = "RoleSessionName must have 2 to 64 letters, digits or characters of _+=,.@-";
const TOKEN: &str = "WebIdentityToken must have 4 to 20000 characters";
const DURATION: &str = "DurationSeconds must be between 900 and 43200";
const POLICY: &str = "Session policies and ProviderId are not supported by scaivault-proxy";

/// A failure in the protocol of this call.
const fn no(kind: ErrorKind, detail: &'static str) -> Fault {
    Fault { about: About::Login, ..Fault::because(kind, detail) }
}

pub(super) fn decode<'r>(request: &WireRequest<'r>) -> Result<Decoded<'r>, Fault> {
    const FORM: Fault = no(ErrorKind::Malformed, NOT_A_FORM);
    if request.query.is_some() || request.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(FORM);
    }
    let text = std::str::from_utf8(request.body).map_err(|_| FORM)?;
    let mut form = Query::parse(Some(text)).map_err(|_| FORM)?;
    let is_ours = form.take("Action").as_deref() == Some("AssumeRoleWithWebIdentity")
        && form.take("Version").as_deref() == Some("2011-06-15");
    if !is_ours {
        return Err(no(ErrorKind::Unsupported, NO_ACTION));
    }
    let role = form.take("RoleArn").and_then(|arn| role_name(&arn).map(Box::from));
    let role: Box<str> = role.ok_or(no(ErrorKind::Malformed, ROLE))?;
    let session = form.take("RoleSessionName").filter(|name| is_session(name));
    let session: Box<str> = session.map(|name| Box::from(&*name)).ok_or(no(ErrorKind::Malformed, SESSION))?;
    let jwt = form.take("WebIdentityToken").map(|token| Zeroizing::new(token.into_owned()));
    let jwt = jwt.filter(|jwt| (4..=MAX_TOKEN).contains(&jwt.len())).ok_or(no(ErrorKind::Malformed, TOKEN))?;
    // how long a key lives is the identity's business, and the answer says it
    let wished = form.take("DurationSeconds").map(|text| text.parse::<u32>());
    if wished.is_some_and(|seconds| !seconds.is_ok_and(|seconds| (900..=43_200).contains(&seconds))) {
        return Err(no(ErrorKind::Malformed, DURATION));
    }
    // a policy would take rights away: ignoring it would give them
    if !form.is_empty() {
        return Err(no(ErrorKind::Malformed, POLICY));
    }
    let proof = Some(LoginProof::Jwt { jwt, role: Some(String::from(&*role)) });
    let login = Request::Login(LoginRequest { mount: MOUNT.to_owned(), proof });
    let shape = WireShape::Aws(Shape::WebIdentity { role, session });
    Ok(Decoded { credential: Credential::None, namespace: None, request: login, shape })
}

/// The role's own name: what stands behind the last slash of its ARN.
fn role_name(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let (prefix, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let is_role = prefix == "arn" && partition.starts_with("aws") && service == "iam" && region.is_empty();
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let (_, name) = resource.strip_prefix("role/").map(|path| path.rsplit_once('/').unwrap_or(("", path)))?;
    (is_role && is_account && (1..=64).contains(&name.len()) && is_plain(name)).then_some(name)
}

fn is_session(name: &str) -> bool {
    (2..=64).contains(&name.len()) && is_plain(name)
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte))
}

pub(super) fn render(key: &AccessKey, (role, session): (&str, &str), reveal: Reveal<'_>) -> WireResponse {
    let Some(aws) = &reveal.facts.aws else { return problem(Fault::of(ErrorKind::Internal), reveal) };
    let expires = keys::expiration(key, reveal);
    let bare = key.id.strip_prefix("ASIA").unwrap_or(&key.id);
    // grown once: no piece of it stays behind
    let mut out = String::with_capacity(2048 + key.session_token.len());
    open(&mut out, "AssumeRoleWithWebIdentityResponse");
    out.push_str("<AssumeRoleWithWebIdentityResult><Credentials>");
    element(&mut out, "AccessKeyId", &[&key.id]);
    element(&mut out, "SecretAccessKey", &[&key.secret]);
    element(&mut out, "SessionToken", &[&key.session_token]);
    element(&mut out, "Expiration", &[&expires]);
    out.push_str("</Credentials><AssumedRoleUser>");
    element(&mut out, "AssumedRoleId", &["AROA", bare, ":", session]);
    element(&mut out, "Arn", &["arn:aws:sts::", &aws.account, ":assumed-role/", role, "/", session]);
    out.push_str("</AssumedRoleUser></AssumeRoleWithWebIdentityResult><ResponseMetadata>");
    element(&mut out, "RequestId", &[reveal.request_uuid]);
    out.push_str("</ResponseMetadata></AssumeRoleWithWebIdentityResponse>");
    xml(StatusCode::OK, out, reveal)
}

/// A failure of this call.
pub(super) fn problem(fault: Fault, reveal: Reveal<'_>) -> WireResponse {
    let (status, code) = match fault.kind {
        ErrorKind::Malformed | ErrorKind::TooLarge => (StatusCode::BAD_REQUEST, "ValidationError"),
        ErrorKind::Unsupported => (StatusCode::BAD_REQUEST, "InvalidAction"),
        ErrorKind::Unauthenticated => (StatusCode::BAD_REQUEST, "InvalidIdentityToken"),
        ErrorKind::RateLimited => (StatusCode::BAD_REQUEST, "Throttling"),
        // the issuer's keys could not be had: SDKs try again
        ErrorKind::UpstreamUnavailable | ErrorKind::Timeout => (StatusCode::BAD_REQUEST, "IDPCommunicationError"),
        ErrorKind::Sealed => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure"),
        ErrorKind::Denied
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::ReadOnly
        | ErrorKind::UpstreamRejected => (StatusCode::FORBIDDEN, "AccessDenied"),
    };
    let message = match fault.kind {
        ErrorKind::Unauthenticated => "The web identity token that was passed could not be validated.",
        ErrorKind::UpstreamUnavailable => "The identity provider's keys could not be fetched.",
        ErrorKind::RateLimited => "Rate exceeded",
        ErrorKind::Internal | ErrorKind::Sealed => "The request could not be served.",
        _ => fault.detail.unwrap_or("The caller is not authorized to perform this operation."),
    };
    let sender = if status.is_server_error() { "Receiver" } else { "Sender" };
    let mut out = String::with_capacity(512);
    open(&mut out, "ErrorResponse");
    out.push_str("<Error>");
    element(&mut out, "Type", &[sender]);
    element(&mut out, "Code", &[code]);
    element(&mut out, "Message", &[message]);
    out.push_str("</Error>");
    element(&mut out, "RequestId", &[reveal.request_uuid]);
    out.push_str("</ErrorResponse>");
    xml(status, out, reveal)
}

fn xml(status: StatusCode, body: String, reveal: Reveal<'_>) -> WireResponse {
    let mut response = WireResponse::new(status, XML, Bytes::from(body));
    encode::mark(&mut response, reveal);
    response
}

fn open(out: &mut String, name: &str) {
    for part in ["<", name, " xmlns=\"", NAMESPACE, "\">"] {
        out.push_str(part);
    }
}

fn element(out: &mut String, name: &str, parts: &[&str]) {
    for part in ["<", name, ">"] {
        out.push_str(part);
    }
    for character in parts.iter().flat_map(|part| part.chars()) {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            other => out.push(other),
        }
    }
    for part in ["</", name, ">"] {
        out.push_str(part);
    }
}
