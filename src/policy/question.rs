//! What a policy set is asked: may this principal do this to that, now and from there.
//!
//! All of it comes from validated types; nothing of a request's bytes gets here.

use std::net::IpAddr;

use crate::clock::Timestamp;
use crate::identity::Principal;
use crate::secret::{Action, Folder, Mode, SecretPath, WireKind};

/// What an action is about.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    /// A secret: read, describe, write, delete, destroy.
    Secret(&'a SecretPath),
    /// A folder: list, administer.
    Folder(&'a Folder),
    /// A backend: administer.
    Backend {
        /// Its name in the configuration.
        name: &'a str,
        /// The deepest folder that holds every rule's secret paths, if there is one.
        folder: Option<&'a Folder>,
    },
    /// A part of the proxy itself: administer.
    System(SystemArea),
}

impl Resource<'_> {
    /// The entity type, for messages.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Secret(_) => "Secret",
            Self::Folder(_) => "Folder",
            Self::Backend { .. } => "Backend",
            Self::System(_) => "System",
        }
    }
}

/// A part of the proxy that is administered as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SystemArea {
    /// Making and listing backends.
    Federation,
    /// Issuing tokens, revoking principals.
    Tokens,
    /// The event stream.
    Events,
    /// The seal.
    Seal,
    /// The audit trail.
    Audit,
}

impl SystemArea {
    /// Every area, in declaration order.
    pub const ALL: [Self; 5] = [Self::Federation, Self::Tokens, Self::Events, Self::Seal, Self::Audit];

    /// The entity id in policies: `System::"federation"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Federation => "federation",
            Self::Tokens => "tokens",
            Self::Events => "events",
            Self::Seal => "seal",
            Self::Audit => "audit",
        }
    }

    /// The area of that entity id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|area| area.as_str() == text)
    }
}

/// The circumstances of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The protocol the client speaks.
    pub wire: WireKind,
    /// How the secret path is served.
    pub mode: Mode,
    /// When the call arrived; policies see it in whole milliseconds.
    pub now: Timestamp,
    /// Where the call came from; `None` on a Unix socket.
    pub source_ip: Option<IpAddr>,
}

/// One question.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) principal: &'a Principal,
    pub(super) action: Action,
    pub(super) resource: Resource<'a>,
    pub(super) context: &'a Context,
}

impl Question<'_> {
    /// Whether the schema lets the action apply to the kind of resource. A policy without a resource scope would
    /// otherwise permit questions that make no sense.
    pub(super) const fn is_well_formed(&self) -> bool {
        match self.action {
            Action::Read | Action::Describe | Action::Write | Action::Delete | Action::Destroy => {
                matches!(self.resource, Resource::Secret(_))
            }
            Action::List => matches!(self.resource, Resource::Folder(_)),
            Action::Administer => !matches!(self.resource, Resource::Secret(_)),
        }
    }
}
