//! HTTPS, with certificates that may be replaced while the service runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use arc_swap::ArcSwap;
use common::ServiceContext;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto};
use x509_parser::error::X509Error;
use x509_parser::parse_x509_certificate;

/// Why a certificate and its key are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds no PEM of the kind that is wanted.
    #[error("no certificate or no key in PEM form")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// The key does not belong to the certificate, or is of a kind that is not known.
    #[error("certificate and key do not go together")]
    Pair(#[from] rustls::Error),
    /// What is in PEM form is no certificate.
    #[error("not a certificate in X.509 form")]
    Certificate(#[from] x509_parser::nom::Err<X509Error>),
    /// The file of certificates holds none.
    #[error("no certificate in the file")]
    Empty,
}

/// The files of a certificate chain and its key, in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate first, then those that signed it.
    pub certificates: PathBuf,
    /// The key of the first certificate.
    pub key: PathBuf,
}

impl Files {
    /// Whether a server could use them.
    ///
    /// # Errors
    /// Why it could not.
    pub fn check(&self) -> Result<(), TlsError> {
        parse(&self.read()?).map(drop)
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.certificates.clone(), self.key.clone()]
    }

    fn read(&self) -> Result<Vec<Vec<u8>>, TlsError> {
        let read =
            |path: PathBuf| fs::read(&path).map_err(|source| TlsError::Read { path, source });
        self.paths().into_iter().map(read).collect()
    }
}

/// The pair that a certificate chain and its key are.
fn parse(contents: &[Vec<u8>]) -> Result<Pair, TlsError> {
    let [certificates, key] = contents else { return Err(TlsError::Empty) };
    let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, _>>()?;
    let expiries = chain.iter().map(|certificate| expiry(certificate));
    let expiries = expiries.collect::<Result<Vec<_>, _>>()?;
    let expiry = expiries.into_iter().min().ok_or(TlsError::Empty)?;
    let key = PrivateKeyDer::from_pem_slice(key)?;
    let key = CertifiedKey::from_der(chain, key, &crypto::ring::default_provider())?;
    Ok(Pair { key: Arc::new(key), expiry })
}

/// A certificate chain and its key.
struct Pair {
    key: Arc<CertifiedKey>,
    /// When the first certificate of the chain expires, in seconds since 1970: from then on clients
    /// refuse it.
    expiry: i64,
}

fn expiry(certificate: &[u8]) -> Result<i64, TlsError> {
    Ok(parse_x509_certificate(certificate)?.1.validity().not_after.timestamp())
}

/// Hands out the pair that was last read and found good.
#[derive(Debug)]
struct Current {
    key: ArcSwap<CertifiedKey>,
    expiry: Gauge,
}

impl Current {
    fn new(pair: Pair) -> Self {
        let expiry = Gauge::default();
        expiry.set(pair.expiry);
        Self { key: ArcSwap::new(pair.key), expiry }
    }

    fn replace(&self, pair: Pair) {
        self.key.store(pair.key);
        self.expiry.set(pair.expiry);
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}

/// A server's side of TLS 1.2 and 1.3, which reads its files again when they change, and the metric
/// of when the certificate expires.
///
/// # Errors
/// When the files are of no use.
pub fn server_config(
    files: &Files,
    context: &ServiceContext,
) -> Result<Arc<ServerConfig>, TlsError> {
    let contents = files.read()?;
    let current = Arc::new(Current::new(parse(&contents)?));
    context.metrics.register(|registry| {
        registry.register_with_unit(
            "tls_certificate_expiry_timestamp",
            "When the first certificate of the chain that is served expires, since 1970",
            Unit::Seconds,
            current.expiry.clone(),
        );
    });
    let provider = Arc::new(crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    context.secrets.follow_files("TLS_CERT_FILE", files.paths(), &contents, move |contents| {
        current.replace(parse(contents)?);
        Ok(())
    });
    Ok(Arc::new(config))
}
