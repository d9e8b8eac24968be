//! Issuers' private keys, for making tokens good and bad.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};

const RSA_KEY: &[u8] = include_bytes!("../jwt/testdata/rsa-2048.pk8");

/// A signing key and the id its public half is published under.
pub(in crate::identity) struct Forge {
    kid: String,
    algorithm: &'static str,
    signer: Signer,
}

enum Signer {
    Ec(Box<EcdsaKeyPair>),
    Ed(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl Forge {
    pub(in crate::identity) fn es256(kid: &str) -> Self {
        Self::ec(kid, "ES256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    pub(in crate::identity) fn es384(kid: &str) -> Self {
        Self::ec(kid, "ES384", &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    pub(in crate::identity) fn ed25519(kid: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let signer = Signer::Ed(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap());
        Self { kid: kid.into(), algorithm: "EdDSA", signer }
    }

    /// The one RSA key there is, signing with `algorithm`.
    pub(in crate::identity) fn rsa(kid: &str, algorithm: &'static str) -> Self {
        let signer = Signer::Rsa(Box::new(RsaKeyPair::from_pkcs8(RSA_KEY).unwrap()));
        Self { kid: kid.into(), algorithm, signer }
    }

    fn ec(kid: &str, algorithm: &'static str, curve: &'static EcdsaSigningAlgorithm) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(curve, document.as_ref(), &random).unwrap();
        let signer = Signer::Ec(Box::new(pair));
        Self { kid: kid.into(), algorithm, signer }
    }

    /// The public half as a JWK without `use` and `alg`.
    pub(in crate::identity) fn jwk(&self) -> String {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let kid = &self.kid;
        match &self.signer {
            Signer::Ec(pair) => {
                let (_, point) = pair.public_key().as_ref().split_first().unwrap();
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                format!(r#"{{"kty":"EC","kid":"{kid}","crv":"{curve}","x":"{}","y":"{}"}}"#, b64(x), b64(y))
            }
            Signer::Ed(pair) => {
                let x = b64(pair.public_key().as_ref());
                format!(r#"{{"kty":"OKP","kid":"{kid}","crv":"Ed25519","x":"{x}"}}"#)
            }
            Signer::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                format!(r#"{{"kty":"RSA","kid":"{kid}","n":"{}","e":"{}"}}"#, b64(&public.n), b64(&public.e))
            }
        }
    }

    /// A token with a plain header.
    pub(in crate::identity) fn sign(&self, claims: &str) -> String {
        self.sign_with(&format!(r#"{{"alg":"{}","kid":"{}"}}"#, self.algorithm, self.kid), claims)
    }

    /// A token with any header.
    pub(in crate::identity) fn sign_with(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.signature(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Signer::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Signer::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match self.algorithm {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    other => unreachable!("{other}"),
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// A JWKS of these keys.
pub(in crate::identity) fn set(entries: &[String]) -> String {
    format!(r#"{{"keys":[{}]}}"#, entries.join(","))
}
