//! Bound tokens through a real Envoy: all workers of it, and connections with certificates.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
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
use crate::tls_support::{self, Identity};

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
        Identity::new(&parameters.unwrap().signed_by(&key, &issuer).unwrap(), key)
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

#[test]
fn a_token_that_is_bound_to_a_certificate_passes_on_its_connection_only() {
    let (authority_pem, authority, [gate, client, other]) = identities();
    let stand = Stand::start(Some(transport_socket(&authority_pem, &gate)));
    let bound = stand.token(&json!({"x5t#S256": client.thumbprint()}));
    let claims = json!({"roles": ["viewer"]});
    let unbound = stand.issuer.token(Algorithm::Es256, "alice", &claims).unwrap();
    let server = (stand.address(), "api.example.com");
    let status = |token: &str, shown| {
        tls_support::send(server, &get().bearer(token), &authority, shown).unwrap().status
    };
    assert_eq!(status(&bound, Some(&client)), 200);
    assert_eq!(status(&bound, Some(&other)), 401);
    assert_eq!(status(&bound, None), 401);
    assert_eq!(status(&unbound, None), 200);
    assert_eq!(stand.envoy.traps().unwrap(), 0, "{}", stand.envoy.log());
}
