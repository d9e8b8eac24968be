//! The seam through which issuers' keys come in.

use async_trait::async_trait;

use crate::identity::{JwksError, JwtIssuer};

/// Fetches issuers' key sets. The composition root implements it over the one HTTP client.
#[async_trait]
pub trait JwksSource: Send + Sync {
    /// The bytes of the issuer's JWKS. Called when a token names an unknown key or the keys are older than 15 minutes,
    /// at most once per 30 s and issuer, never for [`crate::identity::JwksLocation::File`]; given 5 s. Must use the
    /// issuer's `ca_path` if it has one, follow no redirect, and stop reading past 256 KiB; for discovery see
    /// [`crate::identity::discovery_url`] and [`crate::identity::jwks_uri`].
    ///
    /// # Errors
    /// Why there are none; the keys known before stay in use.
    async fn fetch(&self, issuer: &JwtIssuer) -> Result<Vec<u8>, JwksError>;
}
