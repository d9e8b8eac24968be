//! Answers that lend something: a lease is kept for whoever asked, given back where it cannot be, and its id spelled as the
//! client knows the path.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::backend::VaultBackend;
use super::exchange::Plan;
use super::lease_call::{LeaseCall, LeaseVerb, Wanted};
use super::native;
use super::token::Session;
use crate::backend::{Answer, Ask, Asker, Attempt, BackendError};
use crate::secret::{NativeReply, Outcome, Reply, Span};

/// What an answer lends.
#[derive(Deserialize)]
struct Made<'a> {
    #[serde(default, borrow)]
    lease_id: Option<&'a RawValue>,
    #[serde(default)]
    lease_duration: Option<u64>,
    #[serde(default)]
    renewable: Option<bool>,
    #[serde(default, borrow)]
    auth: Option<&'a RawValue>,
    #[serde(default, borrow)]
    wrap_info: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct GivenBack<'a> {
    lease_id: &'a str,
}

impl<'a> Made<'a> {
    fn of(answer: &'a Answer) -> Result<Self, BackendError> {
        if native::is_blank(answer) {
            return Ok(Self { lease_id: None, lease_duration: None, renewable: None, auth: None, wrap_info: None });
        }
        serde_json::from_slice(&answer.body).map_err(|_| BackendError::Unusable("not the JSON of a Vault server"))
    }

    /// The lease's id; `Err` if it is spelled in a way that cannot be read in place.
    fn lease(&self) -> Result<Option<&'a str>, BackendError> {
        match self.lease_id {
            None => Ok(None),
            Some(raw) => plain(raw).map(|id| (!id.is_empty()).then_some(id)),
        }
    }

    /// A token or a wrapped answer belongs to nobody here.
    const fn is_foreign(&self) -> bool {
        self.auth.is_some() || self.wrap_info.is_some()
    }
}

/// Passes a call on under the principal's own login and keeps what is lent.
pub(super) async fn pass(
    backend: &VaultBackend,
    ask: Ask<'_>,
    asker: Asker<'_>,
    plan: &Plan<'_>,
) -> Result<Reply, BackendError> {
    let seat = backend.desk().seat(asker.id)?;
    let (answer, login) = backend.upstream().exchange_as(seat.session(), plan).await?;
    let made = Made::of(&answer)?;
    if let Some(lease) = made.lease()? {
        let (seconds, renewable) = (made.lease_duration.unwrap_or(0), made.renewable.unwrap_or(false));
        // the client finds it again by the path it asked for
        let is_found = below(lease, ask.remote.as_str()).is_some();
        if !is_found || made.is_foreign() || !seat.keep(lease, seconds, renewable, login) {
            give_back(backend, seat.session(), lease, ask.request_id).await;
            return Err(BackendError::Unsupported);
        }
    } else if made.is_foreign() {
        return Err(BackendError::Unsupported);
    }
    spelled(native::reply(answer)?, false, ask.remote.as_str(), asker.name).map(Reply::Native)
}

/// Where nobody is to be lent anything: an answer that does is refused, and what was made is ended again.
pub(super) async fn refuse(backend: &VaultBackend, answer: &Answer, request_id: &str) -> Result<(), BackendError> {
    let made = Made::of(answer)?;
    let lease = made.lease()?;
    if let Some(lease) = lease {
        give_back(backend, backend.upstream().session(), lease, request_id).await;
    }
    if lease.is_some() || made.is_foreign() { Err(BackendError::Unsupported) } else { Ok(()) }
}

/// Looks up, renews or revokes a lease of the principal's own. Any other one does not exist.
pub(super) async fn ask_about(backend: &VaultBackend, ask: Ask<'_>, call: &LeaseCall) -> Result<Reply, BackendError> {
    let Some(asker) = ask.principal else { return Err(BackendError::Unsupported) };
    let id = format!("{}/{}", ask.remote, call.wanted.lease_id);
    let seat = backend.desk().known(asker.id);
    let found = seat.and_then(|seat| seat.holds(&id).map(|is_renewable| (seat, is_renewable)));
    let Some((seat, is_renewable)) = found else { return Ok(Reply::Neutral(Outcome::NotFound)) };
    if call.verb == LeaseVerb::Renew && !is_renewable {
        return Err(BackendError::NotRenewable);
    }
    let url = backend.upstream().url(["sys", "leases", call.verb.as_str()]);
    let wanted = Wanted { lease_id: id.clone(), increment: call.wanted.increment, sync: call.wanted.sync };
    // each of them can be repeated: the second time changes nothing more
    let plan = Plan::json(Method::PUT, url, &wanted, Attempt::Repeatable, ask.request_id)?;
    let answer = match backend.upstream().exchange_as(seat.session(), &plan).await {
        Ok((answer, _)) => answer,
        // how a server says that a lease it once made is not there
        Err(BackendError::Rejected(400)) => return Ok(Reply::Neutral(Outcome::NotFound)),
        Err(error) => return Err(error),
    };
    match call.verb {
        LeaseVerb::Lookup => {}
        LeaseVerb::Renew => seat.extend(&id, Made::of(&answer)?.lease_duration.unwrap_or(0)),
        LeaseVerb::Revoke => seat.release(&id),
    }
    let is_described = call.verb == LeaseVerb::Lookup;
    spelled(native::reply(answer)?, is_described, ask.remote.as_str(), asker.name).map(Reply::Native)
}

async fn give_back(backend: &VaultBackend, session: &Arc<Session>, lease_id: &str, request_id: &str) {
    let url = backend.upstream().url(["sys", "leases", "revoke"]);
    let plan = Plan::json(Method::PUT, url, &GivenBack { lease_id }, Attempt::Once, request_id);
    let result = match plan {
        Ok(plan) => backend.upstream().exchange_as(session, &plan).await.map(|_| ()),
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        tracing::warn!(request_id, %error, "a lease that is not passed on could not be revoked");
    }
}

/// What follows `remote` and a slash.
fn below<'t>(text: &'t str, remote: &str) -> Option<&'t str> {
    text.strip_prefix(remote)?.strip_prefix('/').filter(|rest| !rest.is_empty() && !rest.contains('/'))
}

/// A JSON string that holds nothing escaped.
fn plain(raw: &RawValue) -> Result<&str, BackendError> {
    let text = raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    text.filter(|text| !text.contains('\\')).ok_or(BackendError::Unusable("a lease id that cannot be read in place"))
}

/// Everywhere an answer names a lease or its path.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(default, borrow)]
    lease_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct NamedInData<'a> {
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    path: Option<&'a RawValue>,
}

/// Replaces the remote name at the beginning of a lease's id by the client's, also in `data` if that describes a lease.
fn spelled(mut reply: NativeReply, is_described: bool, remote: &str, name: &str) -> Result<NativeReply, BackendError> {
    if remote == name || reply.body.is_empty() {
        return Ok(reply);
    }
    let replacement = inner_json(name)?;
    let mut starts = places(&reply.body, is_described, remote)?;
    starts.sort_unstable();
    let span = |start: usize| Span { start, end: start + remote.len(), replacement: replacement.clone() };
    reply.spans = starts.into_iter().map(span).collect();
    Ok(reply)
}

/// Where in the body the remote name of a lease stands.
fn places(body: &Bytes, is_described: bool, remote: &str) -> Result<Vec<usize>, BackendError> {
    const UNUSABLE: BackendError = BackendError::Unusable("not the JSON of a Vault server");
    let named: Named<'_> = serde_json::from_slice(body).map_err(|_| UNUSABLE)?;
    let data: NamedInData<'_> = match named.data {
        Some(data) if is_described => serde_json::from_str(data.get()).map_err(|_| UNUSABLE)?,
        _ => NamedInData::default(),
    };
    let mut found = Vec::new();
    for raw in [named.lease_id, data.id, data.path].into_iter().flatten() {
        let text = plain(raw)?;
        if text == remote || below(text, remote).is_some() {
            found.push(text.as_ptr().addr() - body.as_ptr().addr());
        }
    }
    Ok(found)
}

/// A text as it stands between the quotes of a JSON string.
fn inner_json(text: &str) -> Result<Box<str>, BackendError> {
    let quoted = serde_json::to_string(text).map_err(|_| BackendError::Unusable("the name cannot be encoded"))?;
    let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    Ok(Box::from(inner.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answer(body: &str) -> Answer {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Answer { status: StatusCode::OK, headers: HeaderMap::new(), body }
    }

    fn respelled(body: &str, remote: &str, name: &str) -> String {
        let reply = spelled(native::reply(answer(body)).unwrap(), true, remote, name).unwrap();
        let mut out = String::new();
        let mut from = 0;
        for Span { start, end, replacement } in &reply.spans {
            out.push_str(body.get(from..*start).unwrap());
            out.push_str(replacement);
            from = *end;
        }
        out + body.get(from..).unwrap()
    }

    const LEASE: &str = r#"{"request_id":"r","lease_id":"db-prod/creds/app/AbC","renewable":true,"lease_duration":60,"data":{"username":"db-prod/creds/app"},"wrap_info":null,"warnings":null,"auth":null}"#;

    #[test]
    fn an_answer_says_what_it_lends() {
        let lending = answer(LEASE);
        let made = Made::of(&lending).unwrap();
        assert_eq!(made.lease().unwrap(), Some("db-prod/creds/app/AbC"));
        assert_eq!((made.lease_duration, made.renewable, made.is_foreign()), (Some(60), Some(true), false));
        for (body, foreign) in [
            (r#"{"lease_id":"","auth":null,"wrap_info":null}"#, false),
            (r#"{"lease_id":null}"#, false),
            (r#"{"auth":{"client_token":"x"}}"#, true),
            (r#"{"wrap_info":{"token":"x"}}"#, true),
        ] {
            let lending = answer(body);
            let made = Made::of(&lending).unwrap();
            assert_eq!((made.lease().unwrap(), made.is_foreign()), (None, foreign), "{body}");
        }
        assert!(Made::of(&answer(r#"{"lease_id":"a\u0062"}"#)).unwrap().lease().is_err(), "never passed on unread");
        assert!(Made::of(&answer("<html>")).is_err());
    }

    #[test]
    fn a_lease_is_spelled_as_the_client_knows_its_path_and_nothing_else_is_touched() {
        let renamed = respelled(LEASE, "db-prod/creds/app", "database/creds/app");
        assert_eq!(renamed, LEASE.replacen("db-prod", "database", 1));
        assert_eq!(respelled(LEASE, "db-prod/creds/app", "db-prod/creds/app"), LEASE);
        assert_eq!(respelled(LEASE, "db-prod/creds/ap", "x"), LEASE, "another path");
        let lookup = r#"{"lease_id":"","data":{"expire_time":null,"path":"a/creds/b","id":"a/creds/b/L","ttl":5}}"#;
        let renamed = respelled(lookup, "a/creds/b", "d\"b/creds/b");
        assert_eq!(renamed, lookup.replace("a/creds/b", "d\\\"b/creds/b"));
        let read = native::reply(answer(lookup)).unwrap();
        assert!(spelled(read, false, "a/creds/b", "x").unwrap().spans.is_empty(), "data that describes no lease");
    }

    #[test]
    fn v14_only_one_name_directly_below_the_path_is_a_lease_of_it() {
        assert_eq!(below("a/creds/b/L", "a/creds/b"), Some("L"));
        for other in ["a/creds/bb/L", "a/creds/b/c/L", "a/creds/b/", "a/creds/b", "b/L"] {
            assert_eq!(below(other, "a/creds/b"), None, "{other}");
        }
    }
}
