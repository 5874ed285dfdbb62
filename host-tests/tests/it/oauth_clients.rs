//! Clients of others get, use, refresh, exchange, inspect and revoke tokens, through Envoy.

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use wardgate_core::base64url::decode;
use wardgate_host_tests::{envoy::client::Request, python};

use crate::oauth_support::{AUDIENCE, Service, Variant};
use crate::tls_support::Identity;

#[track_caller]
fn check(variant: Variant, program: &Path, script: &str) {
    let service = Service::start(variant);
    let wrong = service.run(program, script);
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", service.sidecar.log());
    assert_eq!(service.envoy.traps().unwrap(), 0, "{}", service.envoy.log());
}

#[test]
fn openid_client_drives_every_grant() {
    check(Variant::default(), Path::new("node"), "javascript/openid-client.mjs");
}

#[test]
fn oauth4webapi_drives_every_grant() {
    check(Variant::default(), Path::new("node"), "javascript/oauth4webapi.mjs");
}

#[test]
fn authlib_drives_every_grant() {
    check(Variant::default(), &python::interpreter().unwrap(), "python/authlib_client.py");
}

#[test]
fn oauth4webapi_finds_an_issuer_with_a_path_and_drives_every_grant_there() {
    let variant = Variant { issuer_path: "/tenants/one", ..Variant::default() };
    check(variant, Path::new("node"), "javascript/oauth4webapi.mjs");
}

/// What a token says.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&decode(payload.as_bytes()).unwrap()).unwrap()
}

#[test]
fn a_certificate_that_signs_itself_gets_its_client_in_and_binds_its_tokens() {
    let service = Service::start(Variant { takes_any_certificate: true, ..Variant::default() });
    // One name: it is the certificate that counts.
    let (own, other) = (Identity::self_signed("billing"), Identity::self_signed("billing"));
    let whole = BASE64_STANDARD.encode(&own.certificate);
    // RFC 8705 §2.2.2: the certificate itself, or what names it.
    for (client_id, key) in [
        ("by-itself", json!({"kty": "EC", "x5c": [whole]})),
        ("by-name", json!({"x5t#S256": own.thumbprint()})),
    ] {
        let client = json!({
            "client_id": client_id, "token_endpoint_auth_method": "self_signed_tls_client_auth",
            "jwks": {"keys": [key]}, "tls_client_certificate_bound_access_tokens": true,
            "scope": "api:read", "roles": ["viewer"], "audiences": [AUDIENCE],
        });
        service.sidecar.ask("POST", "/admin/v1/clients", &client).unwrap();
        let form = format!("grant_type=client_credentials&client_id={client_id}");
        let kind = "application/x-www-form-urlencoded";
        let ask = Request::new("POST", "/oauth2/token").header("content-type", kind).body(form);
        // What a client writes of itself is not what Envoy says of it.
        let forged = ask.clone().header("x-forwarded-client-cert", forwarded(&own));
        for (request, shown) in
            [(&ask, Some(&other)), (&ask, None), (&forged, Some(&other)), (&forged, None)]
        {
            let refused = service.send(request, shown);
            let said = (refused.status, &refused.json()["error"]);
            assert_eq!(said, (401, &json!("invalid_client")), "{client_id}");
        }
        let given = service.send(&ask, Some(&own));
        assert_eq!(given.status, 200, "{}", String::from_utf8_lossy(&given.body));
        let token = given.json()["access_token"].as_str().unwrap().to_owned();
        let confirmation = json!({"x5t#S256": own.thumbprint()});
        assert_eq!(claims(&token)["cnf"], confirmation, "{client_id}");
        let visit = |shown| service.send(&Request::get("/things/1").bearer(&token), shown).status;
        assert_eq!([visit(Some(&own)), visit(Some(&other)), visit(None)], [200, 401, 401]);
    }
    assert_eq!(service.envoy.traps().unwrap(), 0, "{}", service.envoy.log());
}

/// As Envoy writes it of a client with this certificate.
fn forwarded(identity: &Identity) -> String {
    let digest = decode(identity.thumbprint().as_bytes()).unwrap();
    let hash: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = hash.concat();
    format!("Hash={hash};Subject=\"CN=billing\"")
}
