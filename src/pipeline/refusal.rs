//! Calls that end before they are admitted: why, in the trail's words and in the client's.

use std::pin::Pin;

use super::{TenantState, replica};
use crate::audit::Refusal;
use crate::error::ErrorKind;
use crate::mapping::Route;
use crate::secret::{Operation, SecretPath};
use crate::wire::Fault;

/// A page that rebinds its own name to us, or a client that meant somebody else.
pub(super) const UNKNOWN_HOST: Fault =
    Fault::malformed("the Host is not one this listener answers for (listeners[].hosts)");

/// No secrets client sends what browsers add; a page in one could otherwise write where no credential is asked for.
pub(super) const FOREIGN_PAGE: Fault = Fault::because(ErrorKind::Denied, "requests from web pages are not answered");

const NOT_A_PATH: Fault = Fault::malformed("the name cannot be a secret path");

pub(super) fn is_from_a_page(headers: &http::HeaderMap) -> bool {
    headers.iter().any(|(name, value)| match name.as_str() {
        "origin" => true,
        "sec-fetch-site" => value != "none" && value != "same-origin",
        _ => false,
    })
}

/// What the client will be told, once the trail knows.
pub(super) type Told<'s> = Pin<Box<dyn Future<Output = Fault> + Send + 's>>;

/// A call that ends here, before the trail knows.
pub(super) struct No {
    pub(super) refusal: Refusal,
    pub(super) fault: Fault,
}

impl No {
    pub(super) const fn new(refusal: Refusal, fault: Fault) -> Self {
        Self { refusal, fault }
    }

    pub(super) const fn other(kind: ErrorKind) -> Self {
        Self::new(Refusal::Other { kind, path: None }, Fault::of(kind))
    }

    pub(super) fn malformed() -> Self {
        Self::new(Refusal::Malformed { path: None }, NOT_A_PATH)
    }

    pub(super) fn unmapped(path: Option<&SecretPath>) -> Self {
        let path = path.map(|path| Box::from(path.as_str()));
        Self::new(Refusal::Unmapped { path }, Fault::of(ErrorKind::Denied))
    }
}

/// Proxied paths are read-only, and synced ones unless their rule says otherwise; passthrough of another API is what its
/// listener lists.
pub(super) fn check_writable(operation: Operation, tenant: &TenantState, route: &Route) -> Result<(), No> {
    let is_free = !operation.is_write() || operation == Operation::PassWrite;
    if is_free || replica::is_writable(tenant, route) {
        return Ok(());
    }
    let path = Some(Box::from(route.path.as_str()));
    let kind = ErrorKind::ReadOnly;
    Err(No::new(Refusal::Other { kind, path }, Fault::of(kind)))
}
