//! Access keys: who signed a request, and which key follows from a run-time token.
//!
//! A configured key is an id and a secret out of a file. Every run-time token is a key as well: the token is its session
//! token, id and secret follow from it under the process key, so nothing more is kept. Whether a key is known is told
//! only after its signature was verified, with a secret nobody has if it is not.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::credential::{MAX_TOKEN_BYTES, check_text};
use super::digest::Place;
use super::directory::Directory;
use super::sigv4::Claim;
use super::tokens::Descent;
use super::{
    Caller, CallerVia, IdentityError, Issued, Principal, Sessions, SignatureFault, SignedRequest, TokenHandle,
    TokenInfo,
};

const ID_PREFIX: &str = "ASIA";
const ID_CHARS: usize = 16;
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_BYTES: usize = 30;
const SECRET_CHARS: usize = 40;
const EXCHANGE_PATH: &str = "v1/credentials";

/// An access key that ends by itself, once.
pub struct AccessKey {
    /// The access key id: `ASIA` and 16 of `A-Z2-7`.
    pub id: String,
    /// The secret access key, 40 characters.
    pub secret: Zeroizing<String>,
    /// The session token, without which the other two are worth nothing. It is the run-time token.
    pub session_token: Zeroizing<String>,
    /// What is known about it, its end included.
    pub info: TokenInfo,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Directory {
    /// A new run-time token as an access key: the same thing, for clients that sign.
    #[must_use]
    pub fn access_key(&self, issued: &Issued) -> AccessKey {
        AccessKey {
            id: id_of(&self.sessions, &issued.token),
            secret: secret_of(&self.sessions, &issued.token),
            session_token: issued.token.clone(),
            info: issued.info.clone(),
        }
    }

    /// Makes a run-time token of the caller's principal that ends with the caller's credential at the latest and cannot be
    /// renewed. On a workload listener it is kept nowhere, because nothing on that listener is read.
    ///
    /// # Errors
    /// [`IdentityError::TooDeep`], [`IdentityError::TooManyTokens`], and [`IdentityError::Revoked`] or
    /// [`IdentityError::Unknown`] if the caller's credential has ended meanwhile.
    pub fn exchange(&self, caller: &Caller) -> Result<Issued, IdentityError> {
        let principal = Arc::clone(&caller.principal);
        let wanted = Descent {
            display_name: format!("aws-{}", principal.id()).replace('/', "-"),
            principal,
            path: EXCHANGE_PATH,
            meta: Vec::new(),
            ttl: None,
            explicit_max_ttl: None,
            renewable: false,
        };
        self.descend(caller, wanted)
    }

    /// Who signed a request.
    pub(super) fn by_signature(&self, request: SignedRequest<'_>) -> Result<Caller, IdentityError> {
        let claim = Claim::read(request, self.clock.now())?;
        match claim.session_token() {
            Some(token) => self.by_session_token(&claim, token),
            None => self.by_configured_key(&claim),
        }
    }

    fn by_configured_key(&self, claim: &Claim<'_>) -> Result<Caller, IdentityError> {
        let id = self.sessions.digest(Place::AccessKey, claim.key_id()).short();
        let known = self.access_keys.get(&id);
        let verdict = claim.verify(known.map_or(&self.no_secret, |key| &key.secret));
        let key = known.ok_or(IdentityError::Unknown)?;
        self.signer(claim, verdict, &key.principal, None)
    }

    fn by_session_token(&self, claim: &Claim<'_>, token: &str) -> Result<Caller, IdentityError> {
        check_text(token, MAX_TOKEN_BYTES).map_err(|_| IdentityError::Unknown)?;
        let verdict = claim.verify(&secret_of(&self.sessions, token));
        let is_its_id = id_of(&self.sessions, token) == claim.key_id();
        let session = self.session(&self.sessions.digest(Place::Credential, token), self.sessions.now());
        let session = session.filter(|_| is_its_id).ok_or(IdentityError::Unknown)?;
        let principal = Arc::clone(session.principal());
        self.signer(claim, verdict, &principal, Some(TokenHandle(session)))
    }

    /// The owner of a known key, if the signature is theirs.
    fn signer(
        &self,
        claim: &Claim<'_>,
        verdict: Result<[u8; 32], SignatureFault>,
        principal: &Arc<Principal>,
        token: Option<TokenHandle>,
    ) -> Result<Caller, IdentityError> {
        if let Err(revoked) = self.check_revoked(principal) {
            // whoever cannot sign with it is not told that the key was once good
            return Err(verdict.map_or(IdentityError::Unknown, |_| revoked));
        }
        let signature = verdict?;
        self.admit(Caller {
            principal: Arc::clone(principal),
            credential: self.sessions.digest(Place::AccessKey, claim.key_id()).short(),
            token,
            via: CallerVia::AccessKey,
            not_after: claim.not_after(),
            signature: Some(signature),
        })
    }
}

/// Whether this can be the id of a configured access key.
pub(super) fn is_key_id(text: &str) -> bool {
    (16..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The access key id that goes with a token.
fn id_of(sessions: &Sessions, token: &str) -> String {
    let bytes = sessions.derive(Place::DerivedId, token);
    let mut id = String::with_capacity(ID_PREFIX.len() + ID_CHARS);
    id.push_str(ID_PREFIX);
    id.extend(
        bytes.iter().take(ID_CHARS).filter_map(|byte| ID_ALPHABET.get(usize::from(*byte % 32))).map(|b| char::from(*b)),
    );
    id
}

/// The secret access key that goes with a token.
pub(super) fn secret_of(sessions: &Sessions, token: &str) -> Zeroizing<String> {
    let bytes = sessions.derive(Place::DerivedSecret, token);
    let mut secret = Zeroizing::new(String::with_capacity(SECRET_CHARS));
    STANDARD.encode_string(
        bytes.first_chunk::<SECRET_BYTES>().map_or(&[][..], <[u8; SECRET_BYTES]>::as_slice),
        &mut secret,
    );
    secret
}

#[cfg(test)]
mod tests {
    use super::super::tests::rig::Hands;
    use super::*;

    #[test]
    fn a_key_follows_from_its_token_and_the_process() {
        let (hands, other_hands) = (Hands::default(), Hands::default());
        let (sessions, others) =
            (Sessions::with(hands.timer(), 1).unwrap(), Sessions::with(other_hands.timer(), 1).unwrap());
        let (id, secret) = (id_of(&sessions, "svp.a"), secret_of(&sessions, "svp.a"));
        assert!(id.starts_with("ASIA") && id.len() == 20 && is_key_id(&id));
        assert!(id.bytes().skip(4).all(|byte| ID_ALPHABET.contains(&byte)));
        assert_eq!((secret.len(), secret.capacity()), (SECRET_CHARS, SECRET_CHARS), "the buffer must not have moved");
        assert_eq!((id_of(&sessions, "svp.a"), secret_of(&sessions, "svp.a")), (id.clone(), secret.clone()));
        for (sessions, token) in [(&sessions, "svp.b"), (&others, "svp.a")] {
            assert_ne!(id_of(sessions, token), id);
            assert_ne!(*secret_of(sessions, token), *secret);
        }
    }

    #[test]
    fn s15_a_key_id_is_plain() {
        for good in ["AKIAIOSFODNN7EXAMPLE", &"a".repeat(16), &"Z9".repeat(64)] {
            assert!(is_key_id(good), "{good}");
        }
        for bad in [
            "",
            &"a".repeat(15),
            &"a".repeat(129),
            "AKIA/IOSFODNN7EXAMPLE",
            "AKIAIOSFODNN7EXAMPL ",
            "AKIA_OSFODNN7EXAMPLE",
        ] {
            assert!(!is_key_id(bad), "{bad:?}");
        }
    }
}
