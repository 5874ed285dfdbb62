use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use wardgate_core::base64url;

use super::{ISSUER, NOW, OWN, World, claims_of, form};
use crate::oauth::{OAuthError, OAuthRequest};

/// A key that a client proves to have.
pub(super) struct ProofKey(EcdsaKeyPair);

impl ProofKey {
    pub(super) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// A proof for `POST` to this path of the issuer, with these claims besides.
    pub(super) fn proof(&self, path: &str, jti: &str, more: Value) -> String {
        let point = self.0.public_key().as_ref();
        let (x, y) = (base64url::encode(&point[1..33]), base64url::encode(&point[33..]));
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk});
        let mut claims = json!({
            "jti": jti, "htm": "POST", "htu": format!("{ISSUER}{path}"), "iat": NOW,
        });
        claims.as_object_mut().unwrap().extend(super::object(more));
        let encode = |value: &Value| base64url::encode(value.to_string().as_bytes());
        let input = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", base64url::encode(signature.as_ref()))
    }

    pub(super) fn thumbprint(&self) -> String {
        let point = self.0.public_key().as_ref();
        let (x, y) = (base64url::encode(&point[1..33]), base64url::encode(&point[33..]));
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        base64url::encode(hash.as_ref())
    }
}

impl OAuthRequest {
    pub(super) fn with_proof(self, proof: &str) -> Self {
        self.header("dpop", proof)
    }
}

async fn world(nonce: &str) -> (World, super::CreatedClient) {
    let world = World::new(json!({"dpop_nonce": nonce})).await;
    let client = world.client(json!({"client_id": "a"})).await;
    (world, client)
}

#[tokio::test]
async fn a_token_is_bound_to_the_key_that_was_proved() {
    let (world, client) = world("ignored").await;
    let key = ProofKey::new();
    let proof = key.proof("/oauth2/token", "1", json!({}));
    let answer = world.token(&form(&[OWN]).by_secret(&client).with_proof(&proof)).await;
    assert_eq!(answer["token_type"], "DPoP");
    let claims = claims_of(answer["access_token"].as_str().unwrap());
    assert_eq!(claims["cnf"], json!({"jkt": key.thumbprint()}));
    assert_eq!(world.service.dpop_nonce(), None);
}

#[tokio::test]
async fn a_proof_is_taken_once_even_when_it_comes_twice_at_once() {
    let (world, client) = world("optional").await;
    let proof = ProofKey::new().proof("/oauth2/token", "1", json!({}));
    let asked = form(&[OWN]).by_secret(&client).with_proof(&proof);
    let (one, other) = tokio::join!(world.code(&asked), world.code(&asked));
    let mut both = [one, other];
    both.sort();
    assert_eq!(both, ["DPoP", "invalid_dpop_proof"]);
    assert_eq!(world.code(&asked).await, "invalid_dpop_proof");
    // The same id under another key is another proof.
    let other = ProofKey::new().proof("/oauth2/token", "1", json!({}));
    assert_eq!(world.code(&form(&[OWN]).by_secret(&client).with_proof(&other)).await, "DPoP");
}

#[tokio::test]
async fn a_proof_for_something_else_is_refused() {
    let (world, client) = world("optional").await;
    let key = ProofKey::new();
    for (path, more) in [
        ("/oauth2/revoke", json!({})),
        ("/oauth2/token", json!({"htm": "GET"})),
        ("/oauth2/token", json!({"htu": "https://other.example/oauth2/token"})),
        ("/oauth2/token", json!({"iat": NOW - 301})),
        ("/oauth2/token", json!({"iat": NOW + 61})),
    ] {
        let proof = key.proof(path, "1", more.clone());
        let asked = form(&[OWN]).by_secret(&client).with_proof(&proof);
        let error = world.service.token(&asked).await.unwrap_err();
        assert_eq!((error.code(), error.status()), ("invalid_dpop_proof", 400), "{path} {more}");
    }
    let twice = form(&[OWN]).by_secret(&client).with_proof("x").with_proof("y");
    assert_eq!(world.code(&twice).await, "invalid_dpop_proof");
}

#[tokio::test]
async fn a_client_whose_tokens_are_bound_gets_none_without_a_proof() {
    let (world, _) = world("optional").await;
    let members = json!({"client_id": "bound", "dpop_bound_access_tokens": true});
    let bound = world.client(members).await;
    assert_eq!(world.code(&form(&[OWN]).by_secret(&bound)).await, "invalid_dpop_proof");
    let proof = ProofKey::new().proof("/oauth2/token", "1", json!({}));
    assert_eq!(world.code(&form(&[OWN]).by_secret(&bound).with_proof(&proof)).await, "DPoP");
}

#[tokio::test]
async fn a_nonce_that_is_demanded_is_one_that_was_given_out_lately() {
    let (world, client) = world("required").await;
    let key = ProofKey::new();
    let ask = async |jti: &str, nonce: Option<&str>| {
        let more = nonce.map_or(json!({}), |nonce| json!({"nonce": nonce}));
        let proof = key.proof("/oauth2/token", jti, more);
        world.service.token(&form(&[OWN]).by_secret(&client).with_proof(&proof)).await
    };
    assert!(matches!(ask("1", None).await, Err(OAuthError::UseDpopNonce)));
    assert!(matches!(ask("1", Some("made-up")).await, Err(OAuthError::UseDpopNonce)));
    let nonce = world.service.dpop_nonce().unwrap();
    assert!(ask("1", Some(&nonce)).await.is_ok());
    world.clock.advance(250);
    assert!(matches!(ask("2", Some(&nonce)).await, Err(OAuthError::UseDpopNonce)));
}
