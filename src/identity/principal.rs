//! Principals: who a request acts for.
//!
//! A principal is made when a credential is configured, issued or verified, and then shared by `Arc`. Its grammar is
//! checked where the text comes from (configuration, template, administration), because the proxy's own `system/*`
//! principals use the same type and nobody else may be called that.

use std::sync::atomic::{AtomicU64, Ordering};

use super::IdentityError;
use crate::secret::{Folder, Tenant};

const MAX_BYTES: usize = 256;
const RESERVED: &str = "system";

static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

/// How a principal was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// By the listener it came through.
    Workload,
    /// By a configured or administratively issued token.
    Token,
    /// By an AppRole login.
    Approle,
    /// By an AWS signature.
    Aws,
    /// By a JWT of a configured issuer.
    Jwt,
    /// By a client certificate.
    Certificate,
}

impl Method {
    /// The word used in policy, audit and explanations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Token => "token",
            Self::Approle => "approle",
            Self::Aws => "aws",
            Self::Jwt => "jwt",
            Self::Certificate => "certificate",
        }
    }
}

/// Who a request acts for: one name in one tenant, with groups and the folders it calls its own.
#[derive(Debug)]
pub struct Principal {
    key: u64,
    tenant: Tenant,
    id: Box<str>,
    method: Method,
    groups: Vec<Box<str>>,
    folders: Vec<Folder>,
}

impl Principal {
    /// A principal as given; texts from outside are checked with [`Self::check_id`] and [`Self::check_group`] first.
    #[must_use]
    pub fn new(tenant: Tenant, id: &str, method: Method, groups: Vec<Box<str>>, folders: Vec<Folder>) -> Self {
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        Self { key, tenant, id: Box::from(id), method, groups, folders }
    }

    /// The tenant it belongs to.
    #[must_use]
    pub const fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Its name within the tenant, case-sensitive.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it was recognised. A child token keeps the method of its parent.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The groups it is in, compared exactly (no folding, no trimming).
    #[must_use]
    pub fn groups(&self) -> &[Box<str>] {
        &self.groups
    }

    /// The folders policy may treat as its own.
    #[must_use]
    pub fn folders(&self) -> &[Folder] {
        &self.folders
    }

    /// A number no other principal of this process has, for caches. Two principals of equal content may differ in it.
    #[must_use]
    pub const fn key(&self) -> u64 {
        self.key
    }

    /// Checks a principal name from outside: 1 to 256 bytes, segments of `A-Z a-z 0-9 . _ - @ :` joined by `/`, no dot
    /// segment, and not in `system/`, which is the proxy's own.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] naming the rule.
    pub fn check_id(text: &str) -> Result<(), IdentityError> {
        let why = if !fits(text) {
            "must be 1 to 256 bytes of segments of A-Z a-z 0-9 . _ - @ : joined by `/`, none of them `.` or `..`"
        } else if text.split('/').next() == Some(RESERVED) {
            "must not be in `system/`: these principals are the proxy's own"
        } else {
            return Ok(());
        };
        Err(IdentityError::Invalid { what: "the principal", why })
    }

    /// Checks a group name from outside: the grammar of a principal's name, nothing reserved.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] naming the rule.
    pub fn check_group(text: &str) -> Result<(), IdentityError> {
        if fits(text) {
            return Ok(());
        }
        let why = "must be 1 to 256 bytes of segments of A-Z a-z 0-9 . _ - @ : joined by `/`, none of them `.` or `..`";
        Err(IdentityError::Invalid { what: "a group", why })
    }
}

fn fits(text: &str) -> bool {
    (1..=MAX_BYTES).contains(&text.len()) && text.split('/').all(is_segment)
}

fn is_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_never_shared() {
        let make = || Principal::new(Tenant::default_tenant(), "a", Method::Token, vec![], vec![]).key();
        let keys: std::collections::HashSet<u64> = (0..1000).map(|_| make()).collect();
        assert_eq!(keys.len(), 1000);
    }

    #[test]
    fn g16_g17_names_are_exact_and_bounded() {
        for good in ["a", "payments/orders", "ci@example.com", "arn:x", "systems/a", &"a".repeat(256)] {
            assert_eq!(Principal::check_id(good), Ok(()), "{good}");
        }
        let long = "a".repeat(257);
        for bad in ["", "/a", "a/", "a//b", ".", "a/../b", "a b", "a\n", "é", "a*", "system", "system/sync", &long] {
            assert!(Principal::check_id(bad).is_err(), "{bad:?}");
        }
        for bad in ["Admin ", " admin", "", "a,b", "*"] {
            assert!(Principal::check_group(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Principal::check_group("ROOT"), Ok(()));
    }
}
