//! Clients with TLS, with and without a certificate of their own.

use std::{
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use aws_lc_rs::digest;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use wardgate_core::base64url::encode;
use wardgate_host_tests::envoy::client::{Answer, Connection, Request};

/// No answer within this time means that none will come.
const PATIENCE: Duration = Duration::from_mins(1);

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) certificate_pem: String,
    pub(crate) key: rcgen::KeyPair,
}

impl Identity {
    /// One that nobody has signed but itself; two of one name have keys of their own.
    pub(crate) fn self_signed(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self::new(&parameters.self_signed(&key).unwrap(), key)
    }

    /// One with this certificate.
    pub(crate) fn new(certificate: &rcgen::Certificate, key: rcgen::KeyPair) -> Self {
        let certificate_pem = certificate.pem();
        Self { certificate: certificate.der().clone(), certificate_pem, key }
    }

    /// SHA-256 of the certificate: `x5t#S256` (RFC 8705 §3.1).
    pub(crate) fn thumbprint(&self) -> String {
        encode(digest::digest(&digest::SHA256, &self.certificate).as_ref())
    }
}

/// The answer to a request over TLS to the server of this name, with the certificate of `client`.
pub(crate) fn send(
    (address, name): (SocketAddr, &'static str),
    request: &Request,
    authority: &CertificateDer<'static>,
    client: Option<&Identity>,
) -> Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let key = PrivateKeyDer::try_from(client.key.serialize_der());
            let key = key.map_err(anyhow::Error::msg)?;
            builder.with_client_auth_cert(vec![client.certificate.clone()], key)?
        }
    };
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from(name)?)?;
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Connection::through(StreamOwned::new(connection, socket)).exchange(request)
}
