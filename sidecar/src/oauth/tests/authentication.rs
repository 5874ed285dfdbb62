use serde_json::json;

use super::{ClientKey, NOW, OWN, World, form, reason};
use crate::oauth::OAuthError;
use crate::oauth::request::JWT_BEARER;

#[tokio::test]
async fn a_client_gets_in_by_the_method_that_is_registered_and_by_no_other() {
    let world = World::new(json!({})).await;
    let basic = world.client(json!({"client_id": "basic"})).await;
    let post = json!({"client_id": "post", "token_endpoint_auth_method": "client_secret_post"});
    let post = world.client(post).await;
    let secret = |client: &super::CreatedClient| client.client_secret.clone().unwrap();
    assert_eq!(world.code(&form(&[OWN]).by_secret(&basic)).await, "Bearer");
    let by_post = |id, secret: &str| form(&[OWN, ("client_id", id), ("client_secret", secret)]);
    assert_eq!(world.code(&by_post("post", &secret(&post))).await, "Bearer");
    for (wrong, why) in [
        (by_post("basic", &secret(&basic)), "method-not-registered"),
        (form(&[OWN]).by_secret(&post), "method-not-registered"),
        (by_post("post", &secret(&basic)), "secret-wrong"),
        (by_post("post", ""), "credentials-missing"),
        (by_post("nobody", "x"), "client-unknown"),
        (by_post("", "x"), "client-not-named"),
        (by_post("a b", "x"), "client-not-named"),
        (form(&[OWN, ("client_id", "basic")]), "credentials-missing"),
        (form(&[OWN]), "client-not-named"),
    ] {
        let error = world.service.token(&wrong).await.unwrap_err();
        assert_eq!(reason(&error), why);
        // Whatever it was, the client is told one thing.
        assert_eq!(
            (error.status(), error.to_string().as_str()),
            (401, "client authentication failed")
        );
    }
}

#[tokio::test]
async fn two_secrets_work_while_one_replaces_the_other() {
    let world = World::new(json!({})).await;
    let first = world.client(json!({"client_id": "a"})).await;
    let rotate = async |grace: u64| {
        let asked = serde_json::from_value(json!({"grace_seconds": grace})).unwrap();
        world.service.clients().rotate_secret("a", &asked).await.unwrap()
    };
    let works = async |client: &_| world.code(&form(&[OWN]).by_secret(client)).await == "Bearer";
    let second = rotate(100).await;
    assert!(works(&first).await && works(&second).await);
    world.clock.advance(99);
    assert!(works(&first).await);
    world.clock.advance(1);
    assert!(!works(&first).await && works(&second).await);
    let third = rotate(100).await;
    let fourth = rotate(100).await;
    assert!(!works(&second).await && works(&third).await && works(&fourth).await);
    let fifth = rotate(0).await;
    assert!(!works(&fourth).await && works(&fifth).await);
    assert_eq!(fifth.view.secrets.len(), 1);
}

#[tokio::test]
async fn an_assertion_gets_its_client_in_once_even_when_it_comes_twice_at_once() {
    let world = World::new(json!({})).await;
    let key = ClientKey::new();
    let method = "private_key_jwt";
    let members =
        json!({"client_id": "job", "token_endpoint_auth_method": method, "jwks": key.jwks()});
    world.client(members).await;
    let with = |assertion: &str| {
        let kind = ("client_assertion_type", JWT_BEARER);
        form(&[OWN, kind, ("client_assertion", assertion)])
    };
    let asked = with(&key.assertion("job", "1"));
    let (one, other) = tokio::join!(world.code(&asked), world.code(&asked));
    let mut both = [one, other];
    both.sort();
    assert_eq!(both, ["Bearer", "invalid_client"]);
    let again = world.service.token(&asked).await.unwrap_err();
    assert_eq!(reason(&again), "assertion-replayed");
    assert_eq!(world.code(&with(&key.assertion("job", "2"))).await, "Bearer");
    let other = with(&ClientKey::new().assertion("job", "3"));
    assert_eq!(reason(&world.service.token(&other).await.unwrap_err()), "assertion-refused");
    let unknown = with(&key.assertion("nobody", "4"));
    assert_eq!(reason(&world.service.token(&unknown).await.unwrap_err()), "client-unknown");
    let junk = world.service.token(&with("junk")).await.unwrap_err();
    assert_eq!(reason(&junk), "client-not-named");
}

#[tokio::test]
async fn of_two_sidecars_one_takes_an_assertion_and_one_a_proof() {
    let world = World::new(json!({})).await;
    let other = world.other_sidecar().await;
    let key = ClientKey::new();
    let method = "private_key_jwt";
    let job = json!({"client_id": "job", "token_endpoint_auth_method": method, "jwks": key.jwks()});
    world.client(job).await;
    let kind = ("client_assertion_type", JWT_BEARER);
    let assertion = key.assertion("job", "1");
    let asked = form(&[OWN, kind, ("client_assertion", &assertion)]);
    let secret = world.client(json!({"client_id": "a"})).await;
    let proof = super::proofs::ProofKey::new().proof("/oauth2/token", "1", json!({}));
    let bound = form(&[OWN]).by_secret(&secret).with_proof(&proof);
    for asked in [asked, bound] {
        let (one, two) = tokio::join!(world.service.token(&asked), other.token(&asked));
        assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|taken| **taken).count(), 1);
    }
}

#[tokio::test]
async fn certificates_are_believed_only_where_the_configuration_says_so() {
    let hash = "ab".repeat(32);
    let thumbprint = wardgate_core::base64url::encode(&[0xab; 32]);
    let by_subject = json!({
        "client_id": "subject", "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_subject_dn": "CN=billing, O=Example",
        "tls_client_certificate_bound_access_tokens": true,
    });
    let by_hash = json!({
        "client_id": "hash", "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "jwks": {"keys": [{"kty": "EC", "x5t#S256": thumbprint}]},
    });
    let header = format!("Hash={hash};Subject=\"CN=billing,O=Example\"");
    let ask = |id, header: &str| {
        form(&[OWN, ("client_id", id)]).header("x-forwarded-client-cert", header)
    };
    let off = World::new(json!({})).await;
    off.client(by_subject.clone()).await;
    let error = off.service.token(&ask("subject", &header)).await.unwrap_err();
    assert_eq!(reason(&error), "certificate-missing");
    let world = World::new(json!({"forwarded_client_certificate": true})).await;
    world.client(by_subject).await;
    world.client(by_hash).await;
    let token = world.token(&ask("subject", &header)).await;
    let claims = super::claims_of(token["access_token"].as_str().unwrap());
    assert_eq!(claims["cnf"], json!({"x5t#S256": thumbprint}));
    assert_eq!(world.code(&ask("hash", &format!("Hash={hash}"))).await, "Bearer");
    for (id, header, why) in [
        ("subject", format!("Hash={hash}"), "certificate-wrong"),
        ("subject", format!("Hash={hash};Subject=\"CN=billing\""), "certificate-wrong"),
        ("subject", format!("{header},{header}"), "certificate-missing"),
        ("hash", format!("Hash={}", "cd".repeat(32)), "certificate-wrong"),
        ("hash", String::new(), "certificate-missing"),
    ] {
        let error = world.service.token(&ask(id, &header)).await.unwrap_err();
        assert_eq!(reason(&error), why, "{header}");
    }
    let twice = ask("hash", &header).header("x-forwarded-client-cert", &header);
    assert_eq!(reason(&world.service.token(&twice).await.unwrap_err()), "certificate-missing");
}

#[tokio::test]
async fn an_address_that_fails_too_often_is_not_looked_at_any_more() {
    let world = World::new(json!({"failures_per_minute_per_address": 3})).await;
    let client = world.client(json!({"client_id": "a"})).await;
    let right = form(&[OWN]).by_secret(&client);
    let wrong = form(&[OWN, ("client_id", "nobody"), ("client_secret", "x")]);
    for _ in 0..3 {
        assert_eq!(world.code(&right).await, "Bearer");
        assert_eq!(world.code(&wrong).await, "invalid_client");
    }
    let error = world.service.token(&right).await.unwrap_err();
    assert!(matches!(error, OAuthError::TooManyFailures(_)));
    assert_eq!((error.status(), error.retry_after_seconds()), (429, Some(10)));
    let mut elsewhere = form(&[OWN]).by_secret(&client);
    elsewhere.address = Some("192.0.2.2".parse().unwrap());
    assert_eq!(world.code(&elsewhere).await, "Bearer");
    world.clock.advance(20);
    assert_eq!(world.code(&right).await, "Bearer");
}

#[tokio::test]
async fn a_disabled_client_gets_nothing_and_a_deleted_one_is_unknown() {
    let world = World::new(json!({})).await;
    let client = world.client(json!({"client_id": "a", "may_introspect": true})).await;
    let asked = form(&[OWN]).by_secret(&client);
    let token = world.token(&asked).await["access_token"].as_str().unwrap().to_owned();
    let clients = world.service.clients();
    clients.update("a", super::object(json!({"disabled": true}))).await.unwrap();
    let error = world.service.token(&asked).await.unwrap_err();
    assert_eq!(reason(&error), "client-disabled");
    clients.update("a", super::object(json!({"disabled": null}))).await.unwrap();
    assert_eq!(world.code(&asked).await, "Bearer");
    clients.delete("a", &world.service.desk, 86_400).await.unwrap();
    let error = world.service.token(&asked).await.unwrap_err();
    assert_eq!(reason(&error), "client-unknown");
    // What it had is revoked.
    let other = world.client(json!({"client_id": "b", "may_introspect": true})).await;
    let ask = form(&[("token", &token)]).by_secret(&other);
    assert_eq!(world.service.introspect(&ask).await.unwrap()["active"], false);
    assert!(clients.delete("a", &world.service.desk, NOW).await.is_err());
}
