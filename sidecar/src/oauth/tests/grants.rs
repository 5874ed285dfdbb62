use serde_json::{Value, json};

use super::{ISSUER, NOW, OWN, World, claims_of, form};
use crate::oauth::CreatedClient;

const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
const EXCHANGE: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");

#[tokio::test]
async fn a_clients_own_token_says_what_is_registered() {
    let world = World::new(json!({})).await;
    let client = world
        .client(json!({
            "client_id": "billing", "scope": "read write", "roles": ["editor"],
            "audiences": ["api", "https://stock.example"], "access_token_lifetime_seconds": 60,
        }))
        .await;
    let answer = world.token(&form(&[OWN]).by_secret(&client)).await;
    assert_eq!(answer["scope"], "read write");
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(60)));
    assert_eq!(answer.get("refresh_token"), None);
    let claims = claims_of(answer["access_token"].as_str().unwrap());
    let expected = json!({
        "iss": ISSUER, "sub": "billing", "client_id": "billing", "scope": "read write",
        "aud": ["api", "https://stock.example"], "roles": ["editor"], "iat": NOW, "exp": NOW + 60,
        "jti": claims["jti"],
    });
    assert_eq!(Value::Object(claims), expected);
    let narrow = form(&[OWN, ("scope", "read"), ("resource", "https://stock.example")]);
    let claims =
        claims_of(world.token(&narrow.by_secret(&client)).await["access_token"].as_str().unwrap());
    assert_eq!(
        (&claims["scope"], &claims["aud"]),
        (&json!("read"), &json!("https://stock.example"))
    );
}

#[tokio::test]
async fn nobody_gets_more_than_is_registered() {
    let world = World::new(json!({})).await;
    let client = world.client(json!({"client_id": "a", "scope": "read"})).await;
    for (parameters, code) in [
        (&[OWN, ("scope", "read write")][..], "invalid_scope"),
        (&[OWN, ("scope", "a\"b")], "invalid_scope"),
        (&[OWN, ("audience", "other")], "invalid_target"),
        (&[OWN, ("audience", "api"), ("audience", "other")], "invalid_target"),
        (&[("grant_type", "password")], "unsupported_grant_type"),
        (&[("grant_type", "refresh_token")], "unauthorized_client"),
        (&[EXCHANGE], "unauthorized_client"),
        (&[], "invalid_request"),
    ] {
        assert_eq!(world.code(&form(parameters).by_secret(&client)).await, code, "{parameters:?}");
    }
    let free = world.client(json!({"client_id": "b"})).await;
    let answer = world.token(&form(&[OWN, ("audience", "api")]).by_secret(&free)).await;
    assert_eq!(answer.get("scope"), None);
    let bound = json!({"client_id": "c", "tls_client_certificate_bound_access_tokens": true});
    let bound = world.client(bound).await;
    assert_eq!(world.code(&form(&[OWN]).by_secret(&bound)).await, "invalid_request");
}

/// A service that may exchange, and a user's token for it.
async fn exchange_world() -> (World, CreatedClient, String) {
    let world = World::new(json!({})).await;
    let orders = world
        .client(json!({
            "client_id": "orders", "may_exchange": {
                "subject_audiences": ["orders"], "added_audiences": ["stock"], "actor": true,
            },
            "grant_types": [EXCHANGE.1, "client_credentials"],
        }))
        .await;
    let asked = serde_json::from_value(json!({
        "subject": "alice", "audiences": ["orders", "billing"], "scope": "read write",
        "roles": ["viewer"], "client_id": "app", "claims": {"sid": "s1"},
    }));
    let token = world.service.desk.issue_token(asked.unwrap()).unwrap().access_token;
    (world, orders, token)
}

#[tokio::test]
async fn a_users_token_is_exchanged_for_a_narrower_one_that_says_who_acts() {
    let (world, orders, token) = exchange_world().await;
    let subject = [EXCHANGE, ("subject_token", &token), ("subject_token_type", ACCESS)];
    let narrow = [&subject[..], &[("audience", "billing"), ("scope", "read")]].concat();
    let request = form(&narrow).by_secret(&orders);
    let answer = world.service.token(&request).await.unwrap();
    let event = Value::Object(answer.event.unwrap().at(1));
    assert_eq!((&event["decision"], &event["actor"]), (&json!("token-exchange"), &json!("orders")));
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&body["issued_token_type"], &body["scope"]), (&json!(ACCESS), &json!("read")));
    let claims = claims_of(body["access_token"].as_str().unwrap());
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("alice"), &json!("billing")));
    assert_eq!((&claims["client_id"], &claims["sid"]), (&json!("orders"), &json!("s1")));
    assert_eq!(claims["act"]["sub"], "orders");
    assert_eq!(claims["roles"], json!(["viewer"]));
}

#[tokio::test]
async fn an_exchange_takes_only_living_tokens_of_this_issuer() {
    let (world, orders, token) = exchange_world().await;
    let ask = |token: &str, kind: &str| {
        form(&[EXCHANGE, ("subject_token", token), ("subject_token_type", kind)]).by_secret(&orders)
    };
    assert_eq!(world.code(&ask(&token, ACCESS)).await, "Bearer");
    let jwt = "urn:ietf:params:oauth:token-type:jwt";
    assert_eq!(world.code(&ask(&token, jwt)).await, "Bearer");
    let other = "urn:ietf:params:oauth:token-type:saml2";
    assert_eq!(world.code(&ask(&token, other)).await, "invalid_request");
    assert_eq!(world.code(&ask("junk", ACCESS)).await, "invalid_request");
    assert_eq!(world.code(&form(&[EXCHANGE]).by_secret(&orders)).await, "invalid_request");
    let untyped = form(&[EXCHANGE, ("subject_token", &token)]).by_secret(&orders);
    assert_eq!(world.code(&untyped).await, "invalid_request");
    let own = world.token(&form(&[OWN]).by_secret(&orders)).await;
    let actor = [
        EXCHANGE,
        ("subject_token", &token),
        ("subject_token_type", ACCESS),
        ("actor_token", own["access_token"].as_str().unwrap()),
        ("actor_token_type", ACCESS),
        ("audience", "stock"),
    ];
    let answer = world.token(&form(&actor).by_secret(&orders)).await;
    assert_eq!(claims_of(answer["access_token"].as_str().unwrap())["aud"], "stock");
    let wanted = [("requested_token_type", other)];
    let wanted = form(&[&actor[..], &wanted].concat()).by_secret(&orders);
    assert_eq!(world.code(&wanted).await, "invalid_request");
    let revoke = json!({"target": {"kind": "session", "issuer": ISSUER, "session": "s1"}});
    let revoke = serde_json::from_value(revoke).unwrap();
    world.service.desk.revoke(revoke, 86_400).await.unwrap();
    assert_eq!(world.code(&ask(&token, ACCESS)).await, "invalid_request");
}

#[tokio::test]
async fn an_exchanged_token_is_over_when_the_first_one_is() {
    let (world, orders, token) = exchange_world().await;
    world.clock.advance(290);
    let ask = |token: &str| {
        form(&[EXCHANGE, ("subject_token", token), ("subject_token_type", ACCESS)])
            .by_secret(&orders)
    };
    let answer = world.token(&ask(&token)).await;
    assert_eq!(answer["expires_in"], 10);
    world.clock.advance(10);
    assert_eq!(world.code(&ask(&token)).await, "invalid_request");
}
