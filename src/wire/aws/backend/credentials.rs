//! Where the keys come from that requests are signed with: a stored secret, the process's own surroundings, or a role
//! that is assumed with either or with a token of an identity provider. Nothing is kept here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use serde::Deserialize;
use tokio::time::timeout;
use url::Url;
use zeroize::Zeroizing;

use super::ambient;
use super::sts::Sts;
use crate::backend::{BackendError, HttpClient};
use crate::secret::SecretValue;

/// Of one request to the token service.
const STS_LIMIT: Duration = Duration::from_secs(5);
const WRONG_FORM: BackendError = BackendError::Login("the stored credential is not of the expected form");

/// Reads a stored credential; called whenever new keys are needed, so that rotated ones are picked up.
pub type CredentialSource = Arc<dyn Fn() -> Result<SecretValue, &'static str> + Send + Sync>;

/// Who signs.
#[derive(Clone)]
pub enum AwsIdentity {
    /// Keys as they are.
    Keys(KeySource),
    /// A role assumed with keys.
    Role(KeySource, Role),
    /// A role assumed with the token of an identity provider in a file, read again each time.
    WebIdentity(PathBuf, Role),
}

/// Keys as they are.
#[derive(Clone)]
pub enum KeySource {
    /// Stored as `{"access_key_id", "secret_access_key", "session_token"?}`.
    Stored(CredentialSource),
    /// Whatever an SDK would find: environment, shared configuration (SSO and `credential_process` included), web
    /// identity, container, instance. Endpoints and proxies of the environment are not followed.
    Ambient {
        /// A profile of the shared configuration; keys of the environment do not come before it.
        profile: Option<String>,
        /// What it is looked for with: where keys come from is not where they are used, and is trusted by other roots.
        http: Arc<HttpClient>,
    },
}

/// A role to assume.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// The id its trust policy may ask for.
    pub external_id: Option<String>,
    /// What the session is called in logs of the account.
    pub session_name: Option<String>,
}

/// One identity, and what it takes to get its keys. Cheap to clone.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) identity: AwsIdentity,
    pub(super) http: Arc<HttpClient>,
    pub(super) region: String,
    /// The token service.
    pub(super) sts: Url,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKeys {
    access_key_id: Zeroizing<String>,
    secret_access_key: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
}

impl Account {
    /// New keys. A [`BackendError::Login`] says in our own words why there are none.
    pub(super) async fn obtain(&self) -> Result<Credentials, BackendError> {
        match &self.identity {
            AwsIdentity::Keys(source) => source.keys(&self.region).await,
            AwsIdentity::Role(source, role) => {
                let keys = source.keys(&self.region).await?;
                within(self.sts().assume(role, keys)).await
            }
            AwsIdentity::WebIdentity(path, role) => {
                let token = token(path).await?;
                within(self.sts().assume_with_token(role, &token)).await
            }
        }
    }

    /// How many requests were sent for keys by another client than ours.
    pub(super) fn calls(&self) -> u64 {
        match &self.identity {
            AwsIdentity::Keys(KeySource::Ambient { http, .. })
            | AwsIdentity::Role(KeySource::Ambient { http, .. }, _) => http.calls(),
            AwsIdentity::Keys(_) | AwsIdentity::Role(..) | AwsIdentity::WebIdentity(..) => 0,
        }
    }

    fn sts(&self) -> Sts<'_> {
        Sts { http: &self.http, endpoint: &self.sts, region: &self.region }
    }
}

impl KeySource {
    /// The keys there are now. `region` is where an SDK would think it is.
    pub(super) async fn keys(&self, region: &str) -> Result<Credentials, BackendError> {
        match self {
            Self::Stored(source) => stored(source),
            Self::Ambient { profile, http } => ambient::keys(http, region, profile.as_deref()).await,
        }
    }
}

async fn within<T>(work: impl Future<Output = Result<T, BackendError>>) -> Result<T, BackendError> {
    timeout(STS_LIMIT, work).await.unwrap_or(Err(BackendError::Timeout))
}

fn stored(source: &CredentialSource) -> Result<Credentials, BackendError> {
    let value = source().map_err(BackendError::Login)?;
    let keys: StoredKeys = serde_json::from_slice(value.expose()).map_err(|_| WRONG_FORM)?;
    let StoredKeys { mut access_key_id, mut secret_access_key, session_token } = keys;
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_token = session_token.as_ref().is_none_or(|token| is_plain(token));
    if !is_plain(&access_key_id) || !is_plain(&secret_access_key) || !is_token {
        return Err(WRONG_FORM);
    }
    // moved, so that no copy stays behind
    let token = session_token.map(|mut token| std::mem::take(&mut *token));
    let id = std::mem::take(&mut *access_key_id);
    Ok(Credentials::new(id, std::mem::take(&mut *secret_access_key), token, None, "stored"))
}

async fn token(path: &Path) -> Result<Zeroizing<String>, BackendError> {
    const UNREADABLE: BackendError = BackendError::Login("token_path cannot be read");
    let token = tokio::fs::read_to_string(path).await.map(Zeroizing::new).map_err(|_| UNREADABLE)?;
    let trimmed = token.trim();
    if trimmed.is_empty() { Err(UNREADABLE) } else { Ok(Zeroizing::new(trimmed.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &'static str) -> Result<Credentials, BackendError> {
        let source: CredentialSource = Arc::new(move || Ok(SecretValue::copy_of(text.as_bytes())));
        stored(&source)
    }

    #[test]
    fn stored_keys_are_two_or_three_texts_and_nothing_else() {
        let keys = from(r#"{"access_key_id":"AKID","secret_access_key":"made/up+"}"#).unwrap();
        assert_eq!((keys.access_key_id(), keys.secret_access_key(), keys.session_token()), ("AKID", "made/up+", None));
        let text = r#"{"access_key_id":"ASIA","secret_access_key":"x","session_token":"t"}"#;
        assert_eq!(from(text).unwrap().session_token(), Some("t"));
        assert_eq!(
            from(r#"{"access_key_id":"A","secret_access_key":"x","session_token":null}"#).unwrap().expiry(),
            None
        );
        for text in [
            "",
            "{}",
            r#"{"access_key_id":"AKID"}"#,
            r#"{"access_key_id":"","secret_access_key":"x"}"#,
            r#"{"access_key_id":"AKID","secret_access_key":"x\ny"}"#,
            r#"{"access_key_id":"AKID","secret_access_key":"x","session_token":"a b"}"#,
            r#"{"access_key_id":"AKID","secret_access_key":"x","region":"eu-west-1"}"#,
        ] {
            let error = from(text).unwrap_err();
            assert!(matches!(error, BackendError::Login(words) if words.contains("expected form")), "{text}");
        }
    }
}
