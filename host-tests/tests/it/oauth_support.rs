//! A token service with clients and a user, behind an Envoy with TLS: what clients of others are run
//! against.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use aws_lc_rs::{
    encoding::{AsBigEndian as _, EcPrivateKeyBin},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use wardgate_host_tests::{
    envoy::{
        Envoy,
        bootstrap::type_url,
        client::{Answer, Request},
        issuer::base64url,
        repository,
        sidecar::{FEED_SECRET, Sidecar},
    },
    network::Place,
    upstream::Upstream,
};

use crate::tls_support::{self, Identity};

/// The audience of the gate.
pub(crate) const AUDIENCE: &str = "api";
const USER: &str = "alice";
const PASSWORD: &str = "correct horse battery staple 42";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Everything that runs, until it is dropped.
pub(crate) struct Service {
    pub(crate) envoy: Envoy,
    pub(crate) sidecar: Sidecar,
    pub(crate) settings: Value,
    certificates: Certificates,
    _upstream: Upstream,
    directory: TempDir,
}

/// What is not as usual.
#[derive(Clone, Copy, Default)]
pub(crate) struct Variant {
    /// The path of the issuer.
    pub(crate) issuer_path: &'static str,
    /// Whether Envoy takes certificates that nobody has signed that it knows.
    pub(crate) takes_any_certificate: bool,
}

impl Service {
    pub(crate) fn start(variant: Variant) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let upstream = Upstream::start().unwrap();
        let certificates = Certificates::make(directory.path());
        let listen = Place::LOOPBACK.free_address().unwrap();
        let origin = format!("https://localhost:{}", listen.port());
        let issuer = format!("{origin}{}", variant.issuer_path);
        let home = directory.path().join("sidecar");
        let mut sidecar = Sidecar::init_as(&home, None, &issuer).unwrap();
        configure(&sidecar, &origin);
        sidecar.start().unwrap();
        let socket = transport_socket(&certificates, variant.takes_any_certificate);
        let envoy = envoy(&sidecar, listen, upstream.address(), &socket);
        let clients = clients(&sidecar, &certificates);
        let user = json!({"name": USER, "password": PASSWORD, "roles": ["editor"]});
        let made = sidecar.ask("POST", "/admin/v1/users", &user).unwrap();
        let settings = json!({
            "issuer": issuer, "resource": format!("{origin}/things/1"), "audience": AUDIENCE,
            "ca": certificates.authority, "clients": clients,
            "user": {"id": made["id"], "name": USER, "password": PASSWORD},
        });
        Self { envoy, sidecar, settings, certificates, _upstream: upstream, directory }
    }

    /// The answer to a request over TLS, with the certificate of `client`.
    #[track_caller]
    pub(crate) fn send(&self, request: &Request, client: Option<&Identity>) -> Answer {
        let authority = CertificateDer::from_pem_file(&self.certificates.authority).unwrap();
        let server = (self.envoy.listener("gate").unwrap(), "localhost");
        tls_support::send(server, request, &authority, client).unwrap()
    }

    /// Runs a script of a client and gives its steps that did not come out as expected; all of them
    /// are printed.
    #[track_caller]
    pub(crate) fn run(&self, program: &Path, script: &str) -> Vec<Value> {
        let mut process = Command::new(program)
            .arg(repository().join("host-tests").join(script))
            .env("NODE_EXTRA_CA_CERTS", self.directory.path().join("authority.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let settings = self.settings.to_string();
        process.stdin.take().unwrap().write_all(settings.as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{script}: {}", self.sidecar.log());
        let steps: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        println!("{script}");
        for step in &steps {
            let mark = if step["passed"] == true { "ok" } else { "NOT AS EXPECTED" };
            println!(
                "  {}: expected {}, got {}: {mark}",
                step["step"], step["expected"], step["got"]
            );
        }
        assert!(steps.len() > 20, "{script} took {} steps only", steps.len());
        steps.into_iter().filter(|step| step["passed"] != true).collect()
    }
}

/// Lets the sidecar believe Envoy about certificates, and the gate know under which name clients
/// reach it.
fn configure(sidecar: &Sidecar, origin: &str) {
    sidecar.append("oauth:\n  forwarded_client_certificate: true").unwrap();
    let policy = sidecar.directory().join("policy.yaml");
    let text = fs::read_to_string(&policy).unwrap();
    // Proofs of possession need to know how clients reach the gate; each with a nonce of this Envoy.
    let dpop = format!("\ndpop:\n  origins: [\"{origin}\"]\n  nonce: required\n");
    fs::write(&policy, text + &dpop).unwrap();
}

/// TLS that asks clients for a certificate and takes none but those of our authority, or any.
fn transport_socket(certificates: &Certificates, takes_any_certificate: bool) -> Value {
    let trust = if takes_any_certificate { "ACCEPT_UNTRUSTED" } else { "VERIFY_TRUST_CHAIN" };
    json!({"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": type_url("extensions.transport_sockets.tls.v3.DownstreamTlsContext"),
        "common_tls_context": {
            "tls_certificates": [{
                "certificate_chain": {"filename": certificates.path("server.pem")},
                "private_key": {"filename": certificates.path("server.key")},
            }],
            "validation_context": {
                "trusted_ca": {"filename": certificates.authority},
                "trust_chain_verification": trust,
            },
        },
        "require_client_certificate": false,
    }})
}

/// An Envoy as `wardgate envoy config` describes it, with TLS, which tells the sidecar which
/// certificate a client has shown.
fn envoy(
    sidecar: &Sidecar,
    listen: SocketAddr,
    upstream: SocketAddr,
    transport_socket: &Value,
) -> Envoy {
    let admin = SocketAddr::from(([127, 0, 0, 1], 0));
    let yaml = sidecar.envoy_config(listen, admin, upstream).unwrap();
    let yaml = with(
        &yaml,
        "    - filters:\n",
        &format!("    - transport_socket: {transport_socket}\n      filters:\n"),
    );
    let details = "          stat_prefix: gate\n";
    let yaml = with(
        &yaml,
        details,
        &format!(
            "{details}          forward_client_cert_details: SANITIZE_SET\n          \
             set_current_client_cert_details: {{subject: true}}\n"
        ),
    );
    let builder = Envoy::of_yaml(yaml).environment(FEED_SECRET, &sidecar.feed_secret().unwrap());
    builder.start().unwrap()
}

#[track_caller]
fn with(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
    text.replace(from, to)
}

/// A client for each way to authenticate, and for each thing that a client may do.
fn clients(sidecar: &Sidecar, certificates: &Certificates) -> Map<String, Value> {
    let (jwk, private_jwk) = key_pair();
    let jwks = json!({"keys": [jwk]});
    let basic = json!({"token_endpoint_auth_method": "client_secret_basic"});
    let tls = json!({"token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_subject_dn": certificates.subject});
    let bound = merged(&tls, &json!({"tls_client_certificate_bound_access_tokens": true}));
    let exchange = json!({"subject_audiences": [AUDIENCE], "actor": true});
    let all = [
        ("client_secret_basic", basic.clone()),
        ("client_secret_post", json!({"token_endpoint_auth_method": "client_secret_post"})),
        ("private_key_jwt", json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks})),
        ("tls_client_auth", tls),
        ("certificate_bound", bound),
        ("introspector", merged(&basic, &json!({"may_introspect": true}))),
        (
            "first_party",
            json!({"token_endpoint_auth_method": "client_secret_post",
            "first_party": true, "grant_types": ["refresh_token"]}),
        ),
        (
            "exchanger",
            merged(
                &basic,
                &json!({"may_exchange": exchange,
            "grant_types": ["client_credentials", EXCHANGE]}),
            ),
        ),
        (
            "public",
            json!({"token_endpoint_auth_method": "none", "first_party": true,
            "grant_types": ["refresh_token"]}),
        ),
    ];
    let mut clients = Map::new();
    for (name, members) in all {
        let common = json!({"client_id": format!("test.{name}"), "scope": "api:read api:write",
            "audiences": [AUDIENCE]});
        let mut asked = merged(&common, &members);
        if members.get("first_party").is_none() {
            asked["roles"] = json!(["viewer"]);
        }
        let mut made = sidecar.ask("POST", "/admin/v1/clients", &asked).unwrap();
        if name == "private_key_jwt" {
            made["private_jwk"] = private_jwk.clone();
        }
        if members.get("tls_client_auth_subject_dn").is_some() {
            for (member, file) in [("certificate", "client.pem"), ("key", "client.key")] {
                made[member] = fs::read_to_string(certificates.path(file)).unwrap().into();
                made[format!("{member}_file")] = json!(certificates.path(file));
            }
        }
        clients.insert(name.to_owned(), made);
    }
    clients
}

fn merged(one: &Value, other: &Value) -> Value {
    let mut members = one.as_object().unwrap().clone();
    members.extend(other.as_object().unwrap().clone());
    members.into()
}

/// A key for ES256, public and private (RFC 7518 §6.2).
fn key_pair() -> (Value, Value) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let public = json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y),
        "kid": "client-key", "alg": "ES256", "use": "sig"});
    let private: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().unwrap();
    let mut both = public.clone();
    both["d"] = base64url(private.as_ref()).into();
    (public, both)
}

/// An authority, and certificates of a server and of a client.
struct Certificates {
    directory: PathBuf,
    authority: PathBuf,
    /// The subject of the client, with what needs escapes (RFC 4514).
    subject: &'static str,
}

impl Certificates {
    fn make(directory: &Path) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.distinguished_name.push(rcgen::DnType::CommonName, "authority of the tests");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&key).unwrap();
        fs::write(directory.join("authority.pem"), certificate.pem()).unwrap();
        let authority = rcgen::Issuer::new(authority, key);
        for name in ["server", "client"] {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut parameters =
                rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            let mut subject = rcgen::DistinguishedName::new();
            subject.push(rcgen::DnType::OrganizationName, "Tests, Inc");
            subject.push(rcgen::DnType::CommonName, name);
            parameters.distinguished_name = subject;
            let certificate = parameters.signed_by(&key, &authority).unwrap();
            fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
            fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self {
            authority: directory.join("authority.pem"),
            directory: directory.to_owned(),
            // The last of the certificate comes first.
            subject: "CN=client,O=Tests\\, Inc",
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}
