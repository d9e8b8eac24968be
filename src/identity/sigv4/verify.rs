//! Signing the request again.
//!
//! The crate that clients sign with is asked for the signature a secret would have made. It is given the listed headers and
//! no others, and adds none of its own but those that are listed anyway: should its list come out different, the request
//! is refused.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest, SignatureLocation,
    SigningInstructions, SigningParams, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use subtle::ConstantTimeEq;

use super::super::SignatureFault;
use super::headers::HOST;
use super::{Claim, Form, parse, sha256};

/// More lines than any client signs.
const MAX_LINES: usize = 256;
const UNREADABLE: SignatureFault = SignatureFault::Incomplete("the request cannot be signed as it is");

impl Claim<'_> {
    /// Whether the request was signed with this secret: yields what tells the signed request from every other.
    pub(in crate::identity) fn verify(&self, secret: &str) -> Result<[u8; 32], SignatureFault> {
        let (names_agree, made) = self.sign(secret)?;
        if !names_agree {
            return Err(SignatureFault::Mismatch("its list of headers is not one that can be signed"));
        }
        if bool::from(made.as_slice().ct_eq(self.signature.as_slice())) {
            Ok(sha256(&[self.signature.as_slice(), self.key_id.as_bytes()]))
        } else {
            Err(SignatureFault::Mismatch("another key, or something of the request was changed"))
        }
    }

    /// The signature that the secret makes, and whether it is over the listed headers.
    fn sign(&self, secret: &str) -> Result<(bool, [u8; 32]), SignatureFault> {
        let lines = self.lines()?;
        let body = SignableBody::Precomputed(self.body_hash.clone());
        let method = self.request.method.as_str();
        let request = SignableRequest::new(method, self.target(), lines.into_iter(), body).map_err(|_| UNREADABLE)?;
        // in a header it is one of the listed lines
        let session_token = match self.form {
            Form::Header => None,
            Form::Query { .. } => self.session_token.as_deref().map(str::to_owned),
        };
        let identity = Credentials::new(&*self.key_id, secret, session_token, None, "client").into();
        let since_epoch = Duration::from_micros(self.at.micros());
        let params: SigningParams<'_> = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.request.region)
            .name(self.request.service)
            .time(SystemTime::UNIX_EPOCH.checked_add(since_epoch).ok_or(UNREADABLE)?)
            .settings(self.settings())
            .build()
            .map_err(|_| UNREADABLE)?
            .into();
        let (instructions, signature) = sign(request, &params).map_err(|_| UNREADABLE)?.into_parts();
        Ok((self.names_agree(&instructions), parse::signature(&signature)?))
    }

    /// Path and query without the signature.
    fn target(&self) -> String {
        let query = match &self.form {
            Form::Header => self.request.query,
            Form::Query { rest, .. } => Some(rest.as_str()).filter(|rest| !rest.is_empty()),
        };
        match query {
            Some(query) => format!("{}?{query}", self.request.path),
            None => self.request.path.to_owned(),
        }
    }

    /// The listed headers, each with its values in the order they arrived.
    fn lines(&self) -> Result<Vec<(&str, &str)>, SignatureFault> {
        let mut lines = Vec::with_capacity(16);
        for name in self.signed_headers.split(';') {
            if name == HOST {
                lines.push((name, self.request.host));
                continue;
            }
            for value in self.request.headers.get_all(name) {
                lines.push((name, std::str::from_utf8(value.as_bytes()).map_err(|_| UNREADABLE)?));
            }
        }
        if lines.len() > MAX_LINES { Err(UNREADABLE) } else { Ok(lines) }
    }

    fn settings(&self) -> SigningSettings {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Double;
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Enabled;
        settings.session_token_mode = SessionTokenMode::Include;
        settings.session_token_name_override = None;
        settings.excluded_headers = None;
        (settings.signature_location, settings.expires_in) = match self.form {
            Form::Header => (SignatureLocation::Headers, None),
            Form::Query { life, .. } => (SignatureLocation::QueryParams, Some(life)),
        };
        settings
    }

    fn names_agree(&self, made: &SigningInstructions) -> bool {
        match self.form {
            Form::Header => {
                let authorization = made.headers().find(|(name, _)| *name == "authorization");
                let parts = authorization.and_then(|(_, value)| parse::authorization(value).ok());
                parts.is_some_and(|parts| parts.signed_headers == self.signed_headers)
            }
            Form::Query { .. } => {
                let names = made.params().iter().find(|(name, _)| *name == "X-Amz-SignedHeaders");
                names.is_some_and(|(_, names)| *names == self.signed_headers)
            }
        }
    }
}
