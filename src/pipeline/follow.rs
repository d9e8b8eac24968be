//! Following events: a stream that lasts as long as the rights of whoever asked for it.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Line, Pipeline};
use crate::audit::Note;
use crate::identity::{Caller, Credential, PeerCertificate};
use crate::policy::{Context, Resource, SystemArea};
use crate::secret::{Action, Mode, Tenant, WireKind};
use crate::wire::{Answer, Fault, Shape, WireResponse};

impl Line<'_> {
    /// `GET /v1/events`.
    pub(super) async fn follow(
        &self,
        caller: &Caller,
        credential: Credential<'_>,
        shape: &Shape,
        after: Option<&str>,
    ) -> Result<WireResponse, Fault> {
        self.administer(caller, SystemArea::Events, Note::ok("follow")).await?;
        let follower = Follower {
            pipeline: self.pipeline.clone(),
            credential: Kept::of(credential),
            certificate: self.peer.certificate.clone(),
            listens_for: self.state.tenant.clone(),
            is_workload: self.state.workload,
            tenant: caller.principal.tenant().clone(),
            principal: Box::from(caller.principal.id()),
            wire: self.state.kind,
            source: self.peer.source,
        };
        let (bus, tenant) = (&self.pipeline.events, caller.principal.tenant());
        let events = match after {
            Some(last) => bus.resume(tenant, last),
            None => bus.subscribe(tenant),
        };
        let chunks = events.into_chunks(move || follower.may());
        Ok(self.encode(shape, Answer::Stream(chunks), None, false))
    }
}

/// What was presented, kept to be looked at again.
enum Kept {
    None,
    Token(Zeroizing<String>),
    Bearer(Zeroizing<String>),
}

impl Kept {
    fn of(credential: Credential<'_>) -> Self {
        let keep = |text: &str| Zeroizing::new(text.to_owned());
        match credential {
            // events are followed on a wire without signatures
            Credential::None | Credential::Signed(_) => Self::None,
            Credential::Token(text) => Self::Token(keep(text)),
            Credential::Bearer(text) => Self::Bearer(keep(text)),
        }
    }

    fn presented(&self) -> Credential<'_> {
        match self {
            Self::None => Credential::None,
            Self::Token(text) => Credential::Token(text),
            Self::Bearer(text) => Credential::Bearer(text),
        }
    }
}

/// Everything that let a client in.
struct Follower {
    pipeline: Arc<Pipeline>,
    credential: Kept,
    certificate: Option<Arc<PeerCertificate>>,
    listens_for: Tenant,
    is_workload: bool,
    tenant: Tenant,
    principal: Box<str>,
    wire: WireKind,
    source: Option<std::net::IpAddr>,
}

impl Follower {
    /// Whether the same request would be let in now, as the same principal. What cannot be told at once (an issuer's keys
    /// are being fetched) counts as no: the client comes back and is told then.
    fn may(&self) -> bool {
        let snapshot = self.pipeline.current();
        let (credential, certificate) = (self.credential.presented(), self.certificate.as_deref());
        let listens_for = Some(&self.listens_for);
        let directory = &snapshot.directory;
        let caller = directory.authenticate_now(credential, certificate, listens_for, self.is_workload);
        let Some(Ok(caller)) = caller else { return false };
        let is_same = *caller.principal.tenant() == self.tenant && *caller.principal.id() == *self.principal;
        let Some(tenant) = snapshot.tenants.get(&self.tenant).filter(|_| is_same) else { return false };
        let now = self.pipeline.clock.now();
        let context = Context { wire: self.wire, mode: Mode::Local, now, source_ip: self.source };
        let events = Resource::System(SystemArea::Events);
        tenant.policies.authorize(&caller.principal, Action::Administer, events, &context).is_ok()
    }
}
