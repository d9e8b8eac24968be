//! From a request to a call: headers, namespace, then the path by its first segments.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Method};

use super::{Shape, kv, session, system};
use crate::error::ErrorKind;
use crate::identity::Credential;
use crate::secret::{Call, Dialect, Operation, PassCall, SecretAction, SecretCall, SecretValue, WireName};
use crate::wire::{
    Decoded, Fault, ListenerFacts, Mount, MountKind, PassOperation, Query, Request, Shape as WireShape, TargetError,
    WireRequest, decode_segments,
};

const MAX_TOKEN_BYTES: usize = 8192;
/// The limits of secret paths: nothing longer could be mapped to one.
const MAX_PASS_SEGMENTS: usize = 32;
const MAX_PASS_BYTES: usize = 512;

/// What a request does to its path, however the client spelled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Read,
    List,
    Scan,
    Write,
    Patch,
    Delete,
}

/// A request on its way to a call.
pub(super) struct Target<'a, 'r> {
    pub(super) verb: Verb,
    /// Without `v1`, without the trailing empty segment.
    pub(super) segments: &'a [&'a str],
    /// Whether the path ended in a slash.
    pub(super) slash: bool,
    pub(super) query: &'a mut Query<'r>,
    pub(super) body: &'a [u8],
    pub(super) request: &'a WireRequest<'r>,
    pub(super) facts: &'a ListenerFacts,
}

pub(super) fn decode<'r>(request: &WireRequest<'r>, facts: &ListenerFacts) -> Result<Decoded<'r>, Fault> {
    let heads = Heads::of(request.headers);
    let credential = credential(&heads, facts)?;
    refuse_unsupported_headers(&heads, facts)?;
    let mut segments = decode_segments(request.path).map_err(malformed)?;
    let mut query = Query::parse(request.query).map_err(malformed)?;
    let is_probe = request.method == Method::HEAD && segments.iter().skip(1).eq(["sys", "health"]);
    let verb = if is_probe { Verb::Read } else { verb(request.method, &mut query)? };
    if segments.first().is_none_or(|first| first != "v1") {
        return Err(Fault::of(ErrorKind::NotFound));
    }
    let slash = segments.last().is_some_and(|last| last.is_empty());
    if slash {
        segments.pop();
    }
    let names: Vec<&str> = segments.iter().skip(1).map(Cow::as_ref).collect();
    let (prefix, rest) = split_namespace(&names, facts);
    let namespace = namespace(&heads, prefix)?;
    let mut target = Target { verb, segments: rest, slash, query: &mut query, body: request.body, request, facts };
    let (request, shape) = route(&mut target)?;
    if !query.is_empty() {
        return Err(Fault::malformed("unsupported query parameter"));
    }
    Ok(Decoded { credential, namespace, request, shape: WireShape::Vault(shape) })
}

/// Decodes the call a client could make at an API path, for questions about capabilities.
pub(super) fn probe(path: &str, facts: &ListenerFacts) -> Vec<(&'static str, Call)> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let slash = path.ends_with('/');
    let names: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let headers = HeaderMap::new();
    let mut calls = Vec::new();
    let method = Method::GET;
    for (capability, verb) in [
        ("create", Verb::Write),
        ("read", Verb::Read),
        ("update", Verb::Write),
        ("patch", Verb::Patch),
        ("delete", Verb::Delete),
        ("list", Verb::List),
    ] {
        let request = WireRequest { method: &method, path: "", query: None, host: "", headers: &headers, body: b"" };
        let mut query = Query::default();
        let segments = names.as_slice();
        let mut target = Target { verb, segments, slash, query: &mut query, body: b"", request: &request, facts };
        if let Some(call) = kv::probe(&mut target) {
            calls.push((capability, call));
        }
    }
    calls
}

fn route(target: &mut Target<'_, '_>) -> Result<(Request, Shape), Fault> {
    match target.segments {
        ["sys", rest @ ..] => system::decode(rest, target),
        ["auth", rest @ ..] => session::decode(rest, target),
        ["identity" | "cubbyhole", ..] => Err(Fault::of(ErrorKind::Denied)),
        _ => {
            let Some((mount, rest)) = mount_of(target.segments, target.facts) else {
                return Err(Fault::of(ErrorKind::Denied));
            };
            match mount.kind {
                MountKind::Kv2 => kv::decode_v2(&mount.path, rest, target),
                MountKind::Kv1 => kv::decode_v1(&mount.path, rest, target),
                MountKind::Logical => pass(&mount.path, rest, target),
            }
        }
    }
}

/// The declared mount a path lies in (longest first) and what follows it.
pub(super) fn mount_of<'f, 's, 'n>(
    names: &'n [&'s str],
    facts: &'f ListenerFacts,
) -> Option<(&'f Mount, &'n [&'s str])> {
    facts.mounts.iter().find_map(|mount| strip_mount(&mount.path, names).map(|rest| (mount, rest)))
}

fn strip_mount<'s, 'n>(mount: &str, names: &'n [&'s str]) -> Option<&'n [&'s str]> {
    let mut rest = names;
    for part in mount.split('/') {
        let (first, tail) = rest.split_first()?;
        if *first != part {
            return None;
        }
        rest = tail;
    }
    Some(rest)
}

fn pass(mount: &str, rest: &[&str], target: &mut Target<'_, '_>) -> Result<(Request, Shape), Fault> {
    let (operation, wanted) = match target.verb {
        Verb::Read => (Operation::PassRead, PassOperation::Read),
        Verb::List => (Operation::PassList, PassOperation::List),
        Verb::Scan => return Err(Fault::of(ErrorKind::Unsupported)),
        Verb::Write | Verb::Patch | Verb::Delete => (Operation::PassWrite, PassOperation::Write),
    };
    let name = kv::wire_name(mount, rest)?;
    let parts: Vec<&str> = name.as_str().split('/').collect();
    if parts.len() > MAX_PASS_SEGMENTS || name.as_str().len() > MAX_PASS_BYTES {
        return Err(Fault::malformed("the name is longer than a secret path can be"));
    }
    if !target.facts.passthrough.iter().any(|entry| entry.allows(&parts, wanted)) {
        return Err(Fault::of(ErrorKind::Denied));
    }
    if target.slash && target.verb != Verb::List {
        return Err(malformed(TargetError::EmptySegment));
    }
    if !target.body.is_empty() {
        super::body::check(target.body)?;
    }
    // the query was parsed and found unambiguous; it travels as it came
    *target.query = Query::default();
    let call = PassCall {
        operation,
        method: target.request.method.clone(),
        query: target.request.query.map(Box::from),
        content_type: target.request.headers.get(http::header::CONTENT_TYPE).cloned(),
        body: SecretValue::copy_of(target.body),
    };
    let secret = SecretCall { name: Some(name), action: SecretAction::Pass(call), dialect: Dialect::VaultLogical };
    Ok((Request::Secret(Call { operation, secret }), Shape::Pass))
}

fn verb(method: &Method, query: &mut Query<'_>) -> Result<Verb, Fault> {
    let (list, scan) = (flag(query, "list")?, flag(query, "scan")?);
    let plain = match method.as_str() {
        "GET" if list && scan => return Err(Fault::malformed("both list and scan")),
        "GET" if list => return Ok(Verb::List),
        "GET" if scan => return Ok(Verb::Scan),
        "GET" => Verb::Read,
        "LIST" => Verb::List,
        "SCAN" => Verb::Scan,
        "POST" | "PUT" => Verb::Write,
        "PATCH" => Verb::Patch,
        "DELETE" => Verb::Delete,
        _ => return Err(Fault::because(ErrorKind::Unsupported, "unsupported method")),
    };
    let agrees = match plain {
        Verb::List => !scan,
        Verb::Scan => !list,
        _ => !list && !scan,
    };
    if agrees { Ok(plain) } else { Err(Fault::malformed("list or scan parameter on another method")) }
}

/// A boolean parameter as Go spells booleans.
fn flag(query: &mut Query<'_>, key: &str) -> Result<bool, Fault> {
    match query.take(key).as_deref() {
        None | Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
        Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
        Some(_) => Err(Fault::malformed("a boolean parameter is neither true nor false")),
    }
}

/// The headers this wire looks at, found in one pass.
#[derive(Default)]
struct Heads<'r> {
    token: Named<'r>,
    authorization: Named<'r>,
    namespace: Named<'r>,
    request: Option<&'r HeaderValue>,
    is_coded: bool,
    unsupported: Option<&'static str>,
}

/// A header and whether it came more than once.
#[derive(Clone, Copy, Default)]
struct Named<'r> {
    value: Option<&'r HeaderValue>,
    is_repeated: bool,
}

impl<'r> Heads<'r> {
    fn of(headers: &'r HeaderMap) -> Self {
        let mut heads = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "x-vault-token" => heads.token.see(value),
                "authorization" => heads.authorization.see(value),
                "x-vault-namespace" => heads.namespace.see(value),
                "x-vault-request" => heads.request = heads.request.or(Some(value)),
                "content-encoding" => heads.is_coded = true,
                "x-vault-wrap-ttl" | "x-vault-wrap-format" => {
                    heads.unsupported = Some("response wrapping is not supported by scaivault-proxy");
                }
                "x-vault-mfa" => {
                    heads.unsupported = Some("multi-factor headers are not supported by scaivault-proxy");
                }
                "x-vault-policy-override" => {
                    heads.unsupported = Some("policy override is not supported by scaivault-proxy");
                }
                _ => {}
            }
        }
        heads
    }
}

impl<'r> Named<'r> {
    fn see(&mut self, value: &'r HeaderValue) {
        self.is_repeated = self.value.is_some();
        self.value = Some(value);
    }

    /// A header that may come once, as visible ASCII.
    fn single(self) -> Result<Option<&'r str>, Fault> {
        let Some(value) = self.value else { return Ok(None) };
        if self.is_repeated {
            return Err(Fault::malformed("a credential or namespace header given more than once"));
        }
        let text = value.to_str().map_err(|_| Fault::malformed("a header is not visible ASCII"))?;
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Fault::because(ErrorKind::TooLarge, "a header is too long"));
        }
        Ok((!text.is_empty()).then_some(text))
    }
}

fn credential<'r>(heads: &Heads<'r>, facts: &ListenerFacts) -> Result<Credential<'r>, Fault> {
    if facts.workload {
        return Ok(Credential::None);
    }
    let token = heads.token.single()?;
    let bearer = match heads.authorization.single()? {
        None => None,
        Some(text) => {
            let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
            if !scheme.eq_ignore_ascii_case("bearer") || rest.is_empty() || rest.contains(' ') {
                return Err(Fault::malformed("Authorization is not `Bearer <token>`"));
            }
            Some(rest)
        }
    };
    match (token, bearer) {
        (None, None) => Ok(Credential::None),
        (Some(token), None) => Ok(Credential::Token(token)),
        (None, Some(bearer)) => Ok(Credential::Bearer(bearer)),
        (Some(token), Some(bearer)) if token == bearer => Ok(Credential::Token(token)),
        (Some(_), Some(_)) => Err(Fault::malformed("two different credentials")),
    }
}

fn refuse_unsupported_headers(heads: &Heads<'_>, facts: &ListenerFacts) -> Result<(), Fault> {
    if let Some(detail) = heads.unsupported {
        return Err(Fault::malformed(detail));
    }
    if heads.is_coded {
        return Err(Fault::because(ErrorKind::Unsupported, super::body::COMPRESSED));
    }
    if facts.require_request_header && heads.request.is_none_or(|value| value != "true") {
        return Err(Fault::because(ErrorKind::Malformed, MISSING_REQUEST_HEADER));
    }
    Ok(())
}

/// Rendered with status 412, as a real agent does.
pub(super) const MISSING_REQUEST_HEADER: &str = "missing 'X-Vault-Request' header";

/// Splits leading namespace segments off a path: everything before the first segment at which a declared mount, `sys` or
/// `auth` begins. A path that begins with one has none.
fn split_namespace<'n, 's>(names: &'n [&'s str], facts: &ListenerFacts) -> (&'n [&'s str], &'n [&'s str]) {
    let begins = |rest: &[&str]| matches!(rest, ["sys" | "auth", ..]) || mount_of(rest, facts).is_some();
    for at in 0..names.len().min(8) {
        if let Some((prefix, rest)) = names.split_at_checked(at)
            && begins(rest)
        {
            return (prefix, rest);
        }
    }
    (&[], names)
}

/// Joins the namespace header and the path's own prefix; `None` is the root.
fn namespace(heads: &Heads<'_>, prefix: &[&str]) -> Result<Option<String>, Fault> {
    let mut joined = String::new();
    if let Some(text) = heads.namespace.single()? {
        let text = text.strip_prefix('/').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Err(Fault::malformed("invalid namespace"));
        }
        joined.push_str(text);
    }
    for part in prefix {
        if !joined.is_empty() {
            joined.push('/');
        }
        joined.push_str(part);
    }
    if joined.is_empty() {
        return Ok(None);
    }
    let fine = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.len() <= 128
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    if joined.split('/').all(fine) { Ok(Some(joined)) } else { Err(Fault::malformed("invalid namespace")) }
}

pub(super) fn malformed(error: TargetError) -> Fault {
    Fault::malformed(error.detail())
}

/// Makes a wire name out of a mount and what follows it.
pub(super) fn join(mount: &str, rest: &[&str]) -> Option<WireName> {
    let length = mount.len() + rest.iter().map(|part| part.len() + 1).sum::<usize>();
    let mut name = String::with_capacity(length);
    name.push_str(mount);
    for part in rest {
        name.push('/');
        name.push_str(part);
    }
    WireName::from_text(name)
}
