//! An https server on loopback with a certificate authority of its own, which speaks git.

use super::loopback::Loopback;
use super::{http_backend, need};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A running server.
pub struct Https {
    server: Loopback,
    ca: String,
}

impl Https {
    /// Serves the repositories below `root`. None, and a word on stderr, where git lacks `http-backend`.
    pub fn start(root: &Path) -> Option<Self> {
        need::http_backend()?;
        let (ca, config) = certificates();
        let root: PathBuf = root.to_owned();
        let server = Loopback::start(move |stream| {
            if let Ok(connection) = ServerConnection::new(config.clone()) {
                let _ = http_backend::serve(StreamOwned::new(connection, stream), &root);
            }
        });
        Some(Self { server, ca })
    }

    /// The URL of a repository below its directory.
    pub fn url(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/{name}", self.server.port())
    }

    /// The certificate authority's certificate, as PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The connections.
    pub fn server(&self) -> &Loopback {
        &self.server
    }
}

/// An authority, and a certificate of it for 127.0.0.1 and a name of the tests.
fn certificates() -> (String, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "gwg test authority");
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);

    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "git.gwg.test".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "gwg test server");
    let certificate = params.signed_by(&key, &issuer).unwrap();

    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key.into()).unwrap();
    (ca.pem(), Arc::new(config))
}
