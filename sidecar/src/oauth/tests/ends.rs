use serde_json::{Value, json};

use super::{ISSUER, OWN, World, form};
use crate::oauth::{CreatedClient, OAuthError, TokenEnded};

async fn two(world: &World) -> (CreatedClient, CreatedClient) {
    let one = world.client(json!({"client_id": "one", "scope": "read"})).await;
    let other = world.client(json!({"client_id": "other", "may_introspect": true})).await;
    (one, other)
}

async fn token_of(world: &World, client: &CreatedClient) -> String {
    let answer = world.token(&form(&[OWN]).by_secret(client)).await;
    answer["access_token"].as_str().unwrap().to_owned()
}

async fn introspected(world: &World, asker: &CreatedClient, token: &str) -> Value {
    let request = form(&[("token", token), ("token_type_hint", "access_token")]).by_secret(asker);
    Value::Object(world.service.introspect(&request).await.unwrap())
}

#[tokio::test]
async fn introspection_says_what_a_token_says_as_long_as_it_stands() {
    let world = World::new(json!({})).await;
    let (one, other) = two(&world).await;
    let token = token_of(&world, &one).await;
    let said = introspected(&world, &other, &token).await;
    assert_eq!((&said["active"], &said["token_type"]), (&json!(true), &json!("Bearer")));
    for (name, value) in [("iss", ISSUER), ("sub", "one"), ("client_id", "one"), ("scope", "read")]
    {
        assert_eq!(said[name], value, "{name}");
    }
    world.clock.advance(300);
    let inactive = json!({"active": false});
    assert_eq!(introspected(&world, &other, &token).await, inactive);
    assert_eq!(introspected(&world, &other, "junk").await, inactive);
    // Another key, and a token of another kind.
    let foreign = super::ClientKey::new().assertion("one", "1");
    assert_eq!(introspected(&world, &other, &foreign).await, inactive);
}

#[tokio::test]
async fn only_clients_that_may_are_told_what_tokens_say() {
    let world = World::new(json!({})).await;
    let (one, other) = two(&world).await;
    let token = token_of(&world, &one).await;
    let refused = world.service.introspect(&form(&[("token", &token)]).by_secret(&one)).await;
    assert!(matches!(refused, Err(OAuthError::UnauthorizedClient(_))));
    let empty = world.service.introspect(&form(&[]).by_secret(&other)).await;
    assert!(matches!(empty, Err(OAuthError::InvalidRequest(_))));
    let nobody = world.service.introspect(&form(&[("token", &token)])).await;
    assert!(matches!(nobody, Err(OAuthError::InvalidClient(_))));
}

#[tokio::test]
async fn a_client_revokes_its_own_tokens_and_no_others() {
    let world = World::new(json!({})).await;
    let (one, other) = two(&world).await;
    let token = token_of(&world, &one).await;
    let revoke = async |client: &CreatedClient, token: &str| {
        world.service.revoke(&form(&[("token", token)]).by_secret(client)).await
    };
    let refused = revoke(&other, &token).await.unwrap_err();
    assert_eq!((refused.code(), refused.status()), ("unauthorized_client", 400));
    assert_eq!(introspected(&world, &other, &token).await["active"], true);
    assert!(matches!(revoke(&one, &token).await.unwrap(), TokenEnded::Token(_)));
    assert_eq!(introspected(&world, &other, &token).await, json!({"active": false}));
    // What is none, or over, is as good as revoked.
    assert!(matches!(revoke(&one, &token).await.unwrap(), TokenEnded::Nothing));
    assert!(matches!(revoke(&one, "junk").await.unwrap(), TokenEnded::Nothing));
    let second = token_of(&world, &one).await;
    assert_eq!(introspected(&world, &other, &second).await["active"], true);
}

#[tokio::test]
async fn what_is_revoked_of_client_subject_and_key_is_not_active() {
    for target in [
        json!({"kind": "client", "issuer": ISSUER, "client_id": "one"}),
        json!({"kind": "subject", "issuer": ISSUER, "subject": "one"}),
    ] {
        let world = World::new(json!({})).await;
        let (one, other) = two(&world).await;
        let token = token_of(&world, &one).await;
        let asked = serde_json::from_value(json!({"target": target})).unwrap();
        world.service.desk.revoke(asked, 86_400).await.unwrap();
        assert_eq!(introspected(&world, &other, &token).await["active"], false);
        world.clock.advance(1);
        let later = token_of(&world, &one).await;
        assert_eq!(introspected(&world, &other, &later).await["active"], true);
    }
    let world = World::new(json!({})).await;
    let (one, other) = two(&world).await;
    let token = token_of(&world, &one).await;
    let key_id = world.service.desk.signing_key_list().keys[0].kid.clone();
    let target = json!({"kind": "signing_key", "issuer": ISSUER, "key_id": key_id});
    let asked = serde_json::from_value(json!({"target": target})).unwrap();
    world.service.desk.revoke(asked, 86_400).await.unwrap();
    assert_eq!(introspected(&world, &other, &token).await["active"], false);
}

#[tokio::test]
async fn metadata_names_what_is_really_there() {
    let metadata = async |section: Value| {
        let world = World::new(section).await;
        serde_json::to_value(world.service.metadata()).unwrap()
    };
    let off = metadata(json!({})).await;
    assert_eq!(off["issuer"], ISSUER);
    assert_eq!(off["token_endpoint"], format!("{ISSUER}/oauth2/token"));
    assert_eq!(off["tls_client_certificate_bound_access_tokens"], false);
    let methods = |metadata: &Value, name: &str| metadata[name].as_array().unwrap().len();
    let name = "token_endpoint_auth_methods_supported";
    assert_eq!(methods(&off, name), 4);
    assert_eq!(methods(&off, "introspection_endpoint_auth_methods_supported"), 3);
    let on = metadata(json!({"forwarded_client_certificate": true})).await;
    assert_eq!(methods(&on, name), 6);
    assert_eq!(on["tls_client_certificate_bound_access_tokens"], true);
}
