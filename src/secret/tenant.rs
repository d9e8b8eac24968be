//! Tenants: everything exists per tenant and nothing crosses.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Why a text is not a tenant name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a tenant is 1 to 64 characters of a-z 0-9 - _, not starting with a dash, and not `root`")]
pub struct TenantError;

/// The name of a tenant: 1 to 64 bytes of `a-z 0-9 - _`. Cloning is a reference count.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The tenant of a configuration without `tenants:`.
    pub const DEFAULT: &'static str = "default";

    /// Parses a tenant name.
    ///
    /// # Errors
    /// When the text is not one; `root` is refused because Vault gives it a meaning.
    pub fn parse(text: &str) -> Result<Self, TenantError> {
        let fits = (1..=64).contains(&text.len())
            && !text.starts_with('-')
            && text != "root"
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if fits { Ok(Self(Arc::from(text))) } else { Err(TenantError) }
    }

    /// The tenant named [`Self::DEFAULT`].
    #[must_use]
    pub fn default_tenant() -> Self {
        Self(Arc::from(Self::DEFAULT))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g17_tenant_names_that_mean_something_elsewhere_are_refused() {
        for bad in ["", "..", "root", "*", "a/b", "A", "é", "-a", &"a".repeat(65)] {
            assert_eq!(Tenant::parse(bad), Err(TenantError), "{bad:?}");
        }
        assert_eq!(Tenant::parse("payments-2").unwrap().as_str(), "payments-2");
    }
}
