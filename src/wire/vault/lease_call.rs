//! `sys/leases/lookup|renew|revoke`: calls about a lease of the caller's own, in both roles.
//!
//! A lease's id is the path it was asked for and a name of its own. The path is a wire name like any other, so mapping,
//! policy and audit see the lease as the passthrough path it came from; the name travels beside it. Whose lease it is,
//! only the backend knows. Prefixes, `force` and the older spellings are refused.

use http::Method;
use serde::{Deserialize, Serialize};

use super::body::{self, GoDuration};
use super::decode::{Target, Verb, mount_of};
use super::{Shape, kv};
use crate::error::ErrorKind;
use crate::secret::{Call, Dialect, Operation, PassCall, SecretAction, SecretCall, SecretValue};
use crate::wire::{Fault, MountKind, PassOperation, Request};

/// A secret path's 512 bytes and the name of a lease.
const MAX_ID_BYTES: usize = 640;

/// What is to be done with a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseVerb {
    Lookup,
    Renew,
    Revoke,
}

impl LeaseVerb {
    const ALL: [Self; 3] = [Self::Lookup, Self::Renew, Self::Revoke];

    /// The last segment of the path at the server.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Renew => "renew",
            Self::Revoke => "revoke",
        }
    }

    /// How the verb travels in a [`PassCall`]: as a method no client can send.
    const fn method(self) -> &'static str {
        match self {
            Self::Lookup => "LEASE-LOOKUP",
            Self::Renew => "LEASE-RENEW",
            Self::Revoke => "LEASE-REVOKE",
        }
    }
}

/// A call about a lease under the remote name it is asked with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeaseCall {
    pub(super) verb: LeaseVerb,
    pub(super) wanted: Wanted,
}

/// What goes with a call about a lease.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// On the way between the roles the lease's own name; to the server its whole id.
    pub(super) lease_id: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) increment: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) sync: Option<bool>,
}

impl LeaseCall {
    /// The call that a [`PassCall`] carries, if it carries one.
    pub(super) fn of(call: &PassCall) -> Option<Self> {
        let verb = LeaseVerb::ALL.into_iter().find(|verb| verb.method() == call.method.as_str())?;
        Some(Self { verb, wanted: serde_json::from_slice(call.body.expose()).ok()? })
    }

    fn into_pass(self, operation: Operation) -> Option<PassCall> {
        Some(PassCall {
            operation,
            method: Method::from_bytes(self.verb.method().as_bytes()).ok()?,
            query: None,
            content_type: None,
            body: SecretValue::new(serde_json::to_vec(&self.wanted).ok()?),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseBody {
    lease_id: Option<String>,
    increment: Option<GoDuration>,
    sync: Option<bool>,
}

/// Decodes `sys/leases/<verb>` with the id in the body, or behind it in the path.
pub(super) fn decode(verb: &str, rest: &[&str], target: &Target<'_, '_>) -> Result<(Request, Shape), Fault> {
    let denied = Fault::of(ErrorKind::Denied);
    let verb = LeaseVerb::ALL.into_iter().find(|known| known.as_str() == verb).ok_or(denied)?;
    if target.verb != Verb::Write || target.slash {
        return Err(denied);
    }
    let blank = matches!(target.body.trim_ascii(), b"" | b"null");
    let LeaseBody { lease_id, increment, sync } = if blank { LeaseBody::default() } else { body::read(target.body)? };
    let id = match (lease_id, rest) {
        (Some(id), []) => id,
        (None, [_, ..]) => rest.join("/"),
        _ => return Err(denied),
    };
    let parts: Vec<&str> = id.split('/').collect();
    let (Some((lease, path)), true) = (parts.split_last(), id.len() <= MAX_ID_BYTES) else { return Err(denied) };
    if lease.is_empty() || lease.chars().any(char::is_control) || path.iter().any(|part| part.is_empty()) {
        return Err(denied);
    }
    let operation = operation(path, target).ok_or(denied)?;
    let (mount, below) = path.split_first().ok_or(denied)?;
    let name = kv::wire_name(mount, below)?;
    let increment = increment.map(|GoDuration(increment)| increment.as_secs());
    let call = LeaseCall { verb, wanted: Wanted { lease_id: (*lease).to_owned(), increment, sync } };
    let call = call.into_pass(operation).ok_or(Fault::of(ErrorKind::Internal))?;
    let secret = SecretCall { name: Some(name), action: SecretAction::Pass(call), dialect: Dialect::VaultLogical };
    Ok((Request::Secret(Call { operation, secret }), Shape::Pass))
}

/// Whoever may ask for a lease may ask about it: what the listener lets through at its path, under the same policy action.
fn operation(path: &[&str], target: &Target<'_, '_>) -> Option<Operation> {
    mount_of(path, target.facts).filter(|(mount, _)| mount.kind == MountKind::Logical)?;
    let allows = |wanted| target.facts.passthrough.iter().any(|entry| entry.allows(path, wanted));
    if allows(PassOperation::Read) {
        Some(Operation::PassRead)
    } else {
        allows(PassOperation::Write).then_some(Operation::PassWrite)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::wire::{Cursors, ListenerFacts, Mount, Passthrough, Query, WireRequest};

    fn facts() -> ListenerFacts {
        let entry = |path: &str, operations| Passthrough {
            path: path.split('/').map(str::to_owned).collect(),
            operations: vec![operations],
        };
        let mount = |path: &str, kind| Mount { path: path.to_owned(), kind };
        ListenerFacts {
            aws: None,
            mounts: vec![mount("database", MountKind::Logical), mount("secret", MountKind::Kv2)],
            passthrough: vec![
                entry("database/creds/*", PassOperation::Read),
                entry("database/sign/*", PassOperation::Write),
                entry("secret/**", PassOperation::Read),
            ],
            require_request_header: false,
            workload: false,
            max_versions: 1,
            value_bytes: 1,
            hosts: Vec::new(),
            cursors: Cursors::new(&[0; 32]),
        }
    }

    fn decoded(verb: &str, rest: &[&str], sent: &[u8]) -> Result<(Operation, String, LeaseCall), ErrorKind> {
        let (facts, headers, method) = (facts(), HeaderMap::new(), Method::PUT);
        let request = WireRequest { method: &method, path: "", query: None, host: "", headers: &headers, body: sent };
        let mut query = Query::default();
        let target = Target {
            verb: Verb::Write,
            segments: &[],
            slash: false,
            query: &mut query,
            body: sent,
            request: &request,
            facts: &facts,
        };
        let (request, shape) = decode(verb, rest, &target).map_err(|fault| fault.kind)?;
        assert_eq!(shape, Shape::Pass);
        let Request::Secret(Call { operation, secret }) = request else { panic!("not about a secret") };
        let SecretAction::Pass(call) = secret.action else { panic!("not passed on") };
        assert_eq!((call.operation, secret.dialect), (operation, Dialect::VaultLogical));
        Ok((operation, secret.name.unwrap().as_str().to_owned(), LeaseCall::of(&call).unwrap()))
    }

    #[test]
    fn a_lease_is_asked_about_under_the_path_it_came_from() {
        let (operation, name, call) =
            decoded("renew", &[], br#"{"lease_id":"database/creds/app/AbC.d1","increment":"1m"}"#).unwrap();
        assert_eq!((operation, name.as_str()), (Operation::PassRead, "database/creds/app"));
        assert_eq!(call.verb, LeaseVerb::Renew);
        assert_eq!(call.wanted, Wanted { lease_id: "AbC.d1".to_owned(), increment: Some(60), sync: None });
        let (operation, name, call) = decoded("revoke", &["database", "sign", "x", "L"], br#"{"sync":true}"#).unwrap();
        assert_eq!((operation, name.as_str()), (Operation::PassWrite, "database/sign/x"));
        assert_eq!((call.verb, call.wanted.sync), (LeaseVerb::Revoke, Some(true)));
        assert_eq!(decoded("lookup", &["database", "creds", "app", "L"], b"null").unwrap().2.verb, LeaseVerb::Lookup);
    }

    #[test]
    fn v14_what_is_not_one_lease_of_a_listed_path_is_denied() {
        let cases: [(&str, &[&str], &[u8]); 12] = [
            ("renew", &[], b"{}"),
            ("renew", &[], b""),
            ("revoke-prefix", &["database", "creds"], b"{}"),
            ("revoke-force", &["database", "creds"], b"{}"),
            ("tidy", &[], b"{}"),
            ("revoke", &["database"], b"{}"),
            ("revoke", &["database", "creds", "app"], b"{}"),
            ("revoke", &["database", "config", "x", "L"], b"{}"),
            ("revoke", &["secret", "data", "app", "L"], b"{}"),
            ("revoke", &["other", "creds", "app", "L"], b"{}"),
            ("revoke", &[], br#"{"lease_id":"database/creds/app/"}"#),
            ("revoke", &["database", "creds", "app", "L"], br#"{"lease_id":"database/creds/app/M"}"#),
        ];
        for (verb, rest, body) in cases {
            let found = decoded(verb, rest, body).map(|_| ());
            assert_eq!(found, Err(ErrorKind::Denied), "{verb} {rest:?} {}", String::from_utf8_lossy(body));
        }
        assert_eq!(decoded("renew", &[], br#"{"lease_id":1}"#).map(|_| ()), Err(ErrorKind::Malformed));
        assert_eq!(
            decoded("renew", &[], br#"{"lease_id":"a/b","prefix":true}"#).map(|_| ()),
            Err(ErrorKind::Malformed)
        );
    }

    #[test]
    fn no_call_of_a_client_is_taken_for_one_about_a_lease() {
        for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
            let body = SecretValue::copy_of(br#"{"lease_id":"L"}"#);
            let call = PassCall { operation: Operation::PassWrite, method, query: None, content_type: None, body };
            assert!(LeaseCall::of(&call).is_none());
        }
    }
}
