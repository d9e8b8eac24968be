//! A signed question to the token service about who we are, to be asked by somebody else: the proof other systems take
//! for an AWS identity. Nothing is sent here but what it takes to get the keys.

use std::collections::BTreeMap;

use aws_smithy_runtime_api::client::identity::Identity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::credentials::KeySource;
use super::place::{self, Kind};
use super::sign::{Scope, signed};
use super::sts::{FORM, VERSION};
use crate::backend::BackendError;
use crate::clock::{Clock as _, SystemClock, Timestamp};

/// The header by which a proof is made out to one server.
const SERVER_ID: &str = "x-vault-aws-iam-server-id";
/// Where the token service was before it had regions.
const GLOBAL: &str = "https://sts.amazonaws.com/";
const GLOBAL_REGION: &str = "us-east-1";
const NOT_PROVED: BackendError = BackendError::Login("the proof of our AWS identity cannot be made");

/// Whose identity is proved, and to whom.
pub struct ProofSettings {
    /// Who signs.
    pub keys: KeySource,
    /// The region whose token service is named; `None`: the global one.
    pub region: Option<String>,
    /// Another token service.
    pub sts_endpoint: Option<Url>,
    /// Whom the proof is for.
    pub server_id: Option<String>,
}

/// Makes proofs.
pub struct Prover {
    keys: KeySource,
    region: String,
    /// The token service.
    sts: Url,
    server_id: Option<String>,
}

/// A signed request nobody sent yet. It is as good as a credential for a quarter of an hour.
pub struct IdentityProof {
    /// Its method.
    pub method: &'static str,
    /// Its URL, base64.
    pub url: String,
    /// Its body, base64.
    pub body: String,
    /// Its headers as a JSON object of lists, base64.
    pub headers: String,
}

impl Prover {
    /// Nothing is asked or read before the first proof.
    ///
    /// # Errors
    /// When the region cannot be part of a host name.
    pub fn new(settings: ProofSettings) -> Result<Self, String> {
        let ProofSettings { keys, region, sts_endpoint, server_id } = settings;
        let sts = match (sts_endpoint, &region) {
            (Some(endpoint), _) => endpoint,
            (None, Some(region)) => place::endpoint("sts", region, Kind::default())?,
            (None, None) => Url::parse(GLOBAL).map_err(|error| error.to_string())?,
        };
        let region = region.unwrap_or_else(|| GLOBAL_REGION.to_owned());
        Ok(Self { keys, region, sts, server_id })
    }

    /// A new proof, under keys got now.
    ///
    /// # Errors
    /// [`BackendError::Login`] in our own words, or why the source of the keys did not answer.
    pub async fn prove(&self) -> Result<IdentityProof, BackendError> {
        let keys = Identity::from(self.keys.keys(&self.region).await?);
        proof(&self.sts, &self.region, self.server_id.as_deref(), &keys, SystemClock.now())
    }
}

fn proof(
    sts: &Url,
    region: &str,
    server_id: Option<&str>,
    keys: &Identity,
    now: Timestamp,
) -> Result<IdentityProof, BackendError> {
    let body = format!("Action=GetCallerIdentity&Version={VERSION}");
    let length = body.len().to_string();
    let mut given = vec![("content-length", length.as_str()), ("content-type", FORM)];
    given.extend(server_id.map(|id| (SERVER_ID, id)));
    let scope = Scope { region, service: "sts" };
    let signed = signed(sts.as_str(), &given, body.as_bytes(), keys, scope, now)?;
    let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in &signed {
        headers.entry(name.as_str()).or_default().push(value.to_str().map_err(|_| NOT_PROVED)?);
    }
    let headers = serde_json::to_vec(&headers).map_err(|_| NOT_PROVED)?;
    let (url, body, headers) = (STANDARD.encode(sts.as_str()), STANDARD.encode(body), STANDARD.encode(headers));
    Ok(IdentityProof { method: "POST", url, body, headers })
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;

    fn text(encoded: &str) -> String {
        String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
    }

    fn made(server_id: Option<&str>) -> (IdentityProof, serde_json::Value) {
        let keys = Credentials::new("ASIAFAKE", "made-up", Some("token".to_owned()), None, "test").into();
        let sts = place::endpoint("sts", "eu-west-1", Kind::default()).unwrap();
        let proof = proof(&sts, "eu-west-1", server_id, &keys, Timestamp::from_secs(1_795_453_200)).unwrap();
        let headers = serde_json::from_str(&text(&proof.headers)).unwrap();
        (proof, headers)
    }

    #[test]
    fn a_proof_is_a_signed_question_about_ourselves() {
        let (proof, headers) = made(None);
        assert_eq!(proof.method, "POST");
        assert_eq!(text(&proof.url), "https://sts.eu-west-1.amazonaws.com/");
        assert_eq!(text(&proof.body), "Action=GetCallerIdentity&Version=2011-06-15");
        assert_eq!(headers["x-amz-security-token"][0], "token");
        let signature = headers["authorization"][0].as_str().unwrap();
        assert!(signature.contains("/eu-west-1/sts/aws4_request, SignedHeaders=content-length;content-type;host;"));
        assert!(headers.get(SERVER_ID).is_none());
    }

    #[test]
    fn whom_it_is_for_is_signed() {
        let (_, headers) = made(Some("vault.example"));
        assert_eq!(headers[SERVER_ID][0], "vault.example");
        assert!(headers["authorization"][0].as_str().unwrap().contains(";x-vault-aws-iam-server-id,"));
    }
}
