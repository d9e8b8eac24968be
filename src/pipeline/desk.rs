//! The way to the one who may change the configuration: a bounded queue of commands, each with its answer.
//!
//! The line has decided and recorded everything about a command before it lies here; whoever takes it carries it out or
//! says why not. Commands of a process that has nobody to take them are refused.

use std::fmt;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::error::ErrorKind;
use crate::secret::{BackendId, Tenant};

/// Commands that may wait. They are rare, and each is a change of the whole configuration.
const WAITING: usize = 32;

/// A change of what this process serves.
pub enum Command {
    /// Make a backend from a JSON object. Answered with what `GET` shows of it.
    Create {
        /// Whose.
        tenant: Tenant,
        /// As the client sent it.
        body: Value,
    },
    /// Merge a patch (RFC 7396) into a backend's settings. Answered with what `GET` shows of it.
    Patch {
        /// Whose.
        tenant: Tenant,
        /// Which.
        id: BackendId,
        /// As the client sent it.
        body: Value,
    },
    /// End a backend; its copies are quarantined. Answered with `null`.
    Delete {
        /// Whose.
        tenant: Tenant,
        /// Which.
        id: BackendId,
    },
    /// Make a backend's quarantined copies local secrets, where `store.local` has room for them. Answered with
    /// `{adopted, left}`: how many became local, and those that stay, each `{path, reason}`.
    Adopt {
        /// Whose.
        tenant: Tenant,
        /// Of which backend, which may be gone.
        id: BackendId,
    },
    /// Remove a backend's quarantined copies for good. Answered with `{purged}`: how many.
    Purge {
        /// Whose.
        tenant: Tenant,
        /// Of which backend, which may be gone.
        id: BackendId,
    },
    /// Make a new key and re-seal what the old one sealed. Answered with `{key, ..}` once the new one is used; never with a
    /// key.
    RotateSeal {
        /// Whose, for a tenant's key; who asked, for the root key.
        tenant: Tenant,
        /// The store's root key instead of the tenant's.
        root: bool,
    },
}

impl fmt::Debug for Command {
    /// Bodies are not shown: people put credentials where they do not belong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, id) = match self {
            Self::Create { .. } => ("Create", None),
            Self::Patch { id, .. } => ("Patch", Some(id)),
            Self::Delete { id, .. } => ("Delete", Some(id)),
            Self::Adopt { id, .. } => ("Adopt", Some(id)),
            Self::Purge { id, .. } => ("Purge", Some(id)),
            Self::RotateSeal { root, .. } => (if *root { "RotateRoot" } else { "RotateTenant" }, None),
        };
        match id {
            Some(id) => write!(f, "{word}({id})"),
            None => f.write_str(word),
        }
    }
}

/// Why a command was not carried out. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeskError {
    /// What the client is told.
    pub kind: ErrorKind,
    /// What is wrong, by key path: relative to the body, or a key of the configuration file. Never a value.
    pub problems: Vec<(String, String)>,
}

impl DeskError {
    /// An error without further words.
    #[must_use]
    pub const fn of(kind: ErrorKind) -> Self {
        Self { kind, problems: Vec::new() }
    }

    /// An error about one key.
    #[must_use]
    pub fn at(kind: ErrorKind, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, problems: vec![(key.into(), message.into())] }
    }

    /// What the client is told.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for DeskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.label())?;
        self.problems.iter().try_for_each(|(key, message)| write!(f, "; {key}: {message}"))
    }
}

impl std::error::Error for DeskError {}

/// A command and where its answer goes.
#[derive(Debug)]
pub struct Errand {
    /// What is to be done.
    pub command: Command,
    reply: oneshot::Sender<Result<Value, DeskError>>,
}

impl Errand {
    /// Takes the errand apart: the command, and the way to answer it. An answer nobody waits for is dropped.
    pub fn open(self) -> (Command, impl FnOnce(Result<Value, DeskError>) + Send) {
        let Self { command, reply } = self;
        (command, move |result| drop(reply.send(result)))
    }
}

/// Where commands are laid down. Clones are the same desk.
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Errand>);

impl Desk {
    /// A desk, and the end at which its commands are taken.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Errand>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// A desk nobody takes commands from: every one is refused.
    #[must_use]
    pub fn closed() -> Self {
        Self::new().0
    }

    /// Lays a command down and waits until it is carried out.
    ///
    /// # Errors
    /// Why it was not: the taker's words, [`ErrorKind::RateLimited`] if too many wait already, [`ErrorKind::Unsupported`]
    /// if nobody takes commands, [`ErrorKind::Internal`] if it was taken and dropped.
    pub async fn ask(&self, command: Command) -> Result<Value, DeskError> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(Errand { command, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => DeskError::of(ErrorKind::RateLimited),
            mpsc::error::TrySendError::Closed(_) => DeskError::of(ErrorKind::Unsupported),
        })?;
        answer.await.unwrap_or(Err(DeskError::of(ErrorKind::Internal)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn command() -> Command {
        Command::Create { tenant: Tenant::default_tenant(), body: json!({"config": {"token": "canary"}}) }
    }

    #[tokio::test]
    async fn a_command_is_answered_by_whoever_takes_it() {
        let (desk, mut errands) = Desk::new();
        let taker = tokio::spawn(async move {
            while let Some(errand) = errands.recv().await {
                let (command, answer) = errand.open();
                match command {
                    Command::Create { body, .. } => answer(Ok(body)),
                    Command::RotateSeal { .. } => drop(answer),
                    _ => answer(Err(DeskError::at(ErrorKind::Conflict, "mode", "copies are in the way"))),
                }
            }
        });
        assert_eq!(desk.ask(command()).await, Ok(json!({"config": {"token": "canary"}})));
        let tenant = Tenant::default_tenant();
        let id = BackendId::from_bytes([1; 16]);
        let refused = desk.ask(Command::Delete { tenant: tenant.clone(), id }).await.unwrap_err();
        assert_eq!(refused.to_string(), "conflict; mode: copies are in the way");
        let dropped = desk.ask(Command::RotateSeal { tenant, root: true }).await;
        assert_eq!(dropped, Err(DeskError::of(ErrorKind::Internal)));
        drop(desk);
        taker.await.unwrap();
    }

    #[tokio::test]
    async fn a_desk_is_bounded_and_may_be_unattended() {
        assert_eq!(Desk::closed().ask(command()).await, Err(DeskError::of(ErrorKind::Unsupported)));
        let (desk, errands) = Desk::new();
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let desk = desk.clone();
                tokio::spawn(async move { desk.ask(command()).await })
            })
            .collect();
        while errands.len() < WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(desk.ask(command()).await, Err(DeskError::of(ErrorKind::RateLimited)));
        drop(errands);
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), Err(DeskError::of(ErrorKind::Internal)));
        }
    }

    #[test]
    fn a_command_in_a_log_shows_no_body() {
        let id = BackendId::from_bytes([2; 16]);
        let patch = Command::Patch { tenant: Tenant::default_tenant(), id: id.clone(), body: json!({"x": "canary"}) };
        assert_eq!(format!("{patch:?} {:?}", command()), format!("Patch({id}) Create"));
    }
}
