//! TLS of the listeners: certificates and client CAs that can be replaced while connections live.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::listeners::TlsAccept;
use pingora_core::listeners::tls::{Acceptor, TlsSettings};
use pingora_core::protocols::ALPN;
use pingora_core::protocols::tls::TlsRef;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use thiserror::Error;

use crate::identity::PeerCertificate;

/// Which files a listener's TLS is made of.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// CA of client certificates, PEM; clients without a certificate are let in and have none.
    pub client_ca: Option<PathBuf>,
}

/// A TLS file cannot be used.
#[derive(Debug, Error)]
#[error("{file}: {problem}")]
pub struct TlsError {
    file: String,
    problem: String,
}

fn failed(file: &std::path::Path, problem: impl std::fmt::Display) -> TlsError {
    TlsError { file: file.display().to_string(), problem: problem.to_string() }
}

/// A verified client certificate, as far as identity needs it.
pub(super) struct ClientCertificate(pub(super) Arc<PeerCertificate>);

/// One listener's TLS, replaceable as a whole.
pub struct TlsReloader {
    files: TlsFiles,
    certificate: Arc<Certificate>,
    clients: Option<Arc<Clients>>,
}

impl TlsReloader {
    /// Reads the files.
    ///
    /// # Errors
    /// Which file is unusable and why.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let certificate = Arc::new(Certificate(ArcSwap::new(certified_key(&files)?)));
        let clients = match &files.client_ca {
            None => None,
            Some(path) => Some(Arc::new(Clients(ArcSwap::from_pointee(client_verifier(path)?)))),
        };
        Ok(Self { files, certificate, clients })
    }

    /// Reads the files again, changing nothing yet.
    ///
    /// # Errors
    /// Which file is unusable and why.
    pub fn stage(&self) -> Result<StagedTls, TlsError> {
        let clients = self.files.client_ca.as_deref().map(client_verifier).transpose()?;
        Ok(StagedTls { key: certified_key(&self.files)?, clients })
    }

    /// New connections use what was staged from now on.
    pub fn commit(&self, staged: StagedTls) {
        if let (Some(clients), Some(verifier)) = (&self.clients, staged.clients) {
            clients.0.store(Arc::new(verifier));
        }
        self.certificate.0.store(staged.key);
    }

    /// What shakes hands for this listener: HTTP/2 and HTTP/1.1 by ALPN.
    ///
    /// # Errors
    /// When pingora does not take the settings.
    pub fn acceptor(&self) -> Result<Acceptor, TlsError> {
        let mut settings = TlsSettings::with_callbacks(Box::new(Handshakes))
            .map_err(|_| failed(&self.files.certificate, "TLS cannot be set up"))?;
        settings.set_cert_resolver(self.certificate.clone());
        if let Some(clients) = &self.clients {
            settings.set_client_cert_verifier(clients.clone());
        }
        settings.set_alpn(ALPN::H2H1);
        Ok(settings.build())
    }
}

/// What a listener's files hold now.
pub struct StagedTls {
    key: Arc<CertifiedKey>,
    clients: Option<Verifier>,
}

fn certified_key(files: &TlsFiles) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&files.certificate).map_err(|error| failed(&files.certificate, error))?.collect();
    let chain = chain.map_err(|error| failed(&files.certificate, error))?;
    if chain.is_empty() {
        return Err(failed(&files.certificate, "holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| failed(&files.key, error))?;
    let key = any_supported_type(&key).map_err(|error| failed(&files.key, error))?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| failed(&files.key, "is not the key of the certificate"))?;
    Ok(Arc::new(certified))
}

type Verifier = Arc<dyn ClientCertVerifier>;

fn client_verifier(path: &std::path::Path) -> Result<Verifier, TlsError> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| failed(path, error))?.collect();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates.map_err(|error| failed(path, error))?);
    if added == 0 {
        return Err(failed(path, "holds no usable CA certificate"));
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .allow_unauthenticated()
        .build()
        .map_err(|error| failed(path, error))
}

#[derive(Debug)]
struct Certificate(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[derive(Debug)]
struct Clients(ArcSwap<Verifier>);

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // the hints would have to outlive a reload; clients choose without them
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.load().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.load().verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.load().verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().supported_verify_schemes()
    }
}

/// Keeps what identity needs of a client certificate beside the connection.
struct Handshakes;

#[async_trait]
impl TlsAccept for Handshakes {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        let der = tls.peer_certificate_der()?;
        let certificate = PeerCertificate::from_der(der).ok()?;
        Some(Arc::new(ClientCertificate(Arc::new(certificate))))
    }
}
