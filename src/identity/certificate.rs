//! The names in a client certificate.
//!
//! The TLS listener has verified the chain; here only the subject alternative names are read, and compared as whole
//! texts: no wildcards, no common name, no subject.

use std::net::IpAddr;

use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::error::ErrorKind;

const MAX_SAN_BYTES: usize = 2048;
const KINDS: [&str; 4] = ["dns", "uri", "ip", "email"];

/// A certificate whose names cannot be read without doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the client certificate cannot be read: {0}")]
pub struct CertificateError(&'static str);

impl CertificateError {
    /// The kind wires, metrics and audit see.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Unauthenticated
    }
}

/// The subject alternative names of a verified client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// `dns:` (lower case), `uri:`, `ip:` and `email:` names, in the order of the certificate.
    pub sans: Vec<String>,
}

impl PeerCertificate {
    /// Reads the names of a DER certificate. A certificate without any yields an empty list.
    ///
    /// # Errors
    /// When it does not parse, has trailing bytes, has the extension twice, or a name that is not printable ASCII.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| CertificateError("it is not an X.509 certificate"))?;
        if !rest.is_empty() {
            return Err(CertificateError("bytes follow it"));
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| CertificateError("its alternative names are malformed or given twice"))?;
        let Some(names) = names else { return Ok(Self::default()) };
        let mut sans = Vec::with_capacity(names.value.general_names.len());
        for name in &names.value.general_names {
            match name {
                GeneralName::DNSName(text) => sans.push(text_name("dns", &text.to_ascii_lowercase())?),
                GeneralName::URI(text) => sans.push(text_name("uri", text)?),
                GeneralName::RFC822Name(text) => sans.push(text_name("email", text)?),
                GeneralName::IPAddress(bytes) => sans.push(ip_name(bytes)?),
                GeneralName::Invalid(..) => return Err(CertificateError("one of its alternative names is malformed")),
                _ => {}
            }
        }
        Ok(Self { sans })
    }
}

fn text_name(kind: &str, text: &str) -> Result<String, CertificateError> {
    if is_plain(text) {
        Ok(format!("{kind}:{text}"))
    } else {
        Err(CertificateError("one of its alternative names is empty, too long or not visible ASCII"))
    }
}

fn ip_name(bytes: &[u8]) -> Result<String, CertificateError> {
    let address = <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .map_err(|_| CertificateError("one of its addresses is neither IPv4 nor IPv6"))?;
    Ok(format!("ip:{address}"))
}

fn is_plain(text: &str) -> bool {
    (1..=MAX_SAN_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A configured name in the spelling [`PeerCertificate::sans`] uses.
pub(super) fn canonical_san(text: &str) -> Result<String, &'static str> {
    const FORM: &str = "must be `dns:NAME`, `uri:URI`, `ip:ADDRESS` or `email:ADDRESS`";
    let (kind, name) = text.split_once(':').ok_or(FORM)?;
    if !KINDS.contains(&kind) || !is_plain(name) {
        return Err(FORM);
    }
    match kind {
        _ if name.contains('*') => Err("must not hold `*`: certificates are compared with one whole name"),
        "dns" => Ok(format!("dns:{}", name.to_ascii_lowercase())),
        "ip" => name.parse::<IpAddr>().map(|address| format!("ip:{address}")).map_err(|_| FORM),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn der(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn every_kind_of_name_is_read() {
        let der = der(vec![
            SanType::DnsName("Orders.Example.com".try_into().unwrap()),
            SanType::URI("spiffe://cluster/ns/payments/sa/Orders".try_into().unwrap()),
            SanType::IpAddress("10.0.0.7".parse().unwrap()),
            SanType::IpAddress("::1".parse().unwrap()),
            SanType::Rfc822Name("Ci@example.com".try_into().unwrap()),
        ]);
        let read = PeerCertificate::from_der(&der).unwrap();
        assert_eq!(
            read.sans,
            [
                "dns:orders.example.com",
                "uri:spiffe://cluster/ns/payments/sa/Orders",
                "ip:10.0.0.7",
                "ip:::1",
                "email:Ci@example.com"
            ]
        );
    }

    #[test]
    fn what_is_not_one_certificate_is_refused() {
        let good = der(vec![SanType::DnsName("a".try_into().unwrap())]);
        let mut longer = good.clone();
        longer.push(0);
        assert!(PeerCertificate::from_der(&longer).is_err());
        assert!(PeerCertificate::from_der(&good[..good.len() - 1]).is_err());
        assert!(PeerCertificate::from_der(b"").is_err());
        assert_eq!(PeerCertificate::from_der(&der(vec![])).unwrap().sans, Vec::<String>::new());
    }

    #[test]
    fn names_that_are_not_visible_ascii_are_refused() {
        let der = der(vec![SanType::URI("spiffe://a/b\0c".try_into().unwrap())]);
        assert!(PeerCertificate::from_der(&der).is_err());
    }

    #[test]
    fn configured_names_need_a_kind() {
        assert_eq!(canonical_san("dns:A.example").as_deref(), Ok("dns:a.example"));
        assert_eq!(canonical_san("ip:0:0:0:0:0:0:0:1").as_deref(), Ok("ip:::1"));
        assert_eq!(canonical_san("uri:spiffe://a/B").as_deref(), Ok("uri:spiffe://a/B"));
        for bad in ["", "a.example", "spiffe://a/b", "dns:", "dns:*.example", "ip:localhost", "cn:a", "dns:a b"] {
            assert!(canonical_san(bad).is_err(), "{bad}");
        }
    }
}
