//! Bound tokens through a real Envoy: all workers of it, and connections with certificates.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use aws_lc_rs::digest;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use wardgate_core::base64url::encode;
use wardgate_host_tests::{
    envoy::{
        Envoy,
        bootstrap::{Listener, bootstrap, cluster, wardgate},
        client::Request,
        client_key::ClientKey,
        issuer::{Algorithm, Issuer, now},
        wasm_file,
    },
    upstream::Upstream,
};

use crate::envoy_support;

/// Requests that are sent at the same moment.
const AT_ONCE: usize = 8;

struct Stand {
    envoy: Envoy,
    _upstream: Upstream,
    issuer: Issuer,
}

impl Stand {
    /// An Envoy of four workers that knows itself as `https://api.example.com`; with TLS if there
    /// is a socket for it.
    fn start(transport_socket: Option<Value>) -> Self {
        let issuer = Issuer::generate("https://login.example.com").unwrap();
        let mut configuration = envoy_support::configuration(&issuer);
        configuration["policy"]["dpop"] = json!({"origins": ["https://api.example.com"]});
        let upstream = Upstream::start().unwrap();
        let filters = vec![wardgate(&wasm_file().unwrap(), &configuration, &[])];
        let listener = Listener {
            name: "gate",
            filters,
            cluster: "upstream",
            access_log: None,
            hardened: true,
        };
        let mut listener = listener.to_json();
        if let Some(socket) = transport_socket {
            listener["filter_chains"][0]["transport_socket"] = socket;
        }
        let clusters = [cluster("upstream", upstream.address())];
        let builder = Envoy::builder(&bootstrap(&[listener], &clusters));
        Self { envoy: builder.concurrency(4).start().unwrap(), _upstream: upstream, issuer }
    }

    fn address(&self) -> SocketAddr {
        self.envoy.listener("gate").unwrap()
    }

    fn token(&self, confirmation: &Value) -> String {
        let claims = json!({"roles": ["viewer"], "cnf": confirmation});
        self.issuer.token(Algorithm::Es256, "alice", &claims).unwrap()
    }
}

fn get() -> Request {
    Request::get("/things/1").header("host", "api.example.com")
}

#[test]
fn of_all_workers_of_an_envoy_one_takes_a_proof() {
    let stand = Stand::start(None);
    let key = ClientKey::p256().unwrap();
    let token = stand.token(&json!({"jkt": key.thumbprint}));
    let uri = "https://api.example.com/things/1";
    for round in 0..10 {
        let claims = json!({"jti": format!("id-{round}"), "htm": "GET", "htu": uri, "iat": now()});
        let request = get()
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", key.proof(Some(&token), claims.as_object().unwrap().clone()).unwrap());
        let (barrier, address) = (Barrier::new(AT_ONCE), stand.address());
        let statuses: Vec<u16> = thread::scope(|scope| {
            let senders: Vec<_> = (0..AT_ONCE)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        request.send(address).unwrap().status
                    })
                })
                .collect();
            senders.into_iter().map(|sender| sender.join().unwrap()).collect()
        });
        let passed = statuses.iter().filter(|status| **status == 200).count();
        let refused = statuses.iter().filter(|status| **status == 401).count();
        assert_eq!((passed, refused), (1, AT_ONCE - 1), "{statuses:?}");
    }
    assert_eq!(stand.envoy.traps().unwrap(), 0, "{}", stand.envoy.log());
}

/// A certificate and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: rcgen::KeyPair,
}

/// The authority's certificate, that of the server, and those of two clients.
fn identities() -> (String, CertificateDer<'static>, [Identity; 3]) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name.push(rcgen::DnType::CommonName, "authority of the tests");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let identities = [(); 3].map(|()| {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["api.example.com".to_owned()]);
        let certificate = parameters.unwrap().signed_by(&key, &issuer).unwrap();
        let certificate_pem = certificate.pem();
        Identity { certificate: certificate.der().clone(), certificate_pem, key }
    });
    (certificate.pem(), certificate.der().clone(), identities)
}

fn transport_socket(authority_pem: &str, server: &Identity) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": {"inline_string": server.certificate_pem},
                    "private_key": {"inline_string": server.key.serialize_pem()},
                }],
                "validation_context": {"trusted_ca": {"inline_string": authority_pem}},
            },
        },
    })
}

/// The status of the answer to a request over TLS, with the certificate of `client`.
fn status(
    address: SocketAddr,
    request: &Request,
    authority: &CertificateDer<'static>,
    client: Option<&Identity>,
) -> u16 {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let key = PrivateKeyDer::try_from(client.key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![client.certificate.clone()], key).unwrap()
        }
    };
    let name = ServerName::try_from("api.example.com").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(&request.clone().header("connection", "close").to_bytes()).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    let head = String::from_utf8(head.to_vec()).unwrap();
    head.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_token_that_is_bound_to_a_certificate_passes_on_its_connection_only() {
    let (authority_pem, authority, [server, client, other]) = identities();
    let stand = Stand::start(Some(transport_socket(&authority_pem, &server)));
    let hash = digest::digest(&digest::SHA256, &client.certificate);
    let bound = stand.token(&json!({"x5t#S256": encode(hash.as_ref())}));
    let claims = json!({"roles": ["viewer"]});
    let unbound = stand.issuer.token(Algorithm::Es256, "alice", &claims).unwrap();
    let status =
        |token: &str, shown| status(stand.address(), &get().bearer(token), &authority, shown);
    assert_eq!(status(&bound, Some(&client)), 200);
    assert_eq!(status(&bound, Some(&other)), 401);
    assert_eq!(status(&bound, None), 401);
    assert_eq!(status(&unbound, None), 200);
    assert_eq!(stand.envoy.traps().unwrap(), 0, "{}", stand.envoy.log());
}
