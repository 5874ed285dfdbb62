//! Users who log in, stay logged in, and log out.

use serde_json::{Value, json};

use super::proofs::ProofKey;
use super::{NOW, World, claims_of, form, object};
use crate::accounts::{CreateUser, Password};
use crate::oauth::{CreatedClient, LoginRequest, OAuthError, OAuthRequest, TokenEnded};

pub(super) const PASSWORD: &str = "correct horse battery staple";
pub(super) const REFRESH: (&str, &str) = ("grant_type", "refresh_token");

/// Alice, and a confidential first-party application.
pub(super) async fn world() -> (World, CreatedClient) {
    let world = World::new(json!({})).await;
    let asked = CreateUser {
        name: "alice".to_owned(),
        id: Some("usr_alice".to_owned()),
        password: Some(Password::new(PASSWORD.to_owned())),
        roles: vec!["viewer".to_owned()],
        groups: vec!["finance".to_owned()],
        ..serde_json::from_value(json!({"name": "alice"})).unwrap()
    };
    world.service.accounts.create(asked).await.unwrap();
    let app =
        world.client(json!({"client_id": "app", "first_party": true, "scope": "read write"})).await;
    (world, app)
}

pub(super) async fn try_login(
    world: &World,
    request: OAuthRequest,
    password: &str,
) -> Result<Value, OAuthError> {
    let asked = LoginRequest {
        request,
        name: "alice".to_owned(),
        password: Password::new(password.to_owned()),
        device: Some("a test".to_owned()),
    };
    let answer = world.service.login(asked).await?;
    let event = Value::Object(answer.event.unwrap().at(1));
    assert_eq!(
        (&event["decision"], &event["subject"]),
        (&json!("session-begun"), &json!("usr_alice"))
    );
    Ok(serde_json::from_str(&answer.body).unwrap())
}

pub(super) async fn login(world: &World, app: &CreatedClient) -> Value {
    try_login(world, form(&[]).by_secret(app), PASSWORD).await.unwrap()
}

pub(super) fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap()
}

pub(super) fn refresh(answer: &Value) -> OAuthRequest {
    form(&[REFRESH, ("refresh_token", text(answer, "refresh_token"))])
}

#[tokio::test]
async fn a_login_gives_a_pair_that_a_refresh_renews_with_the_roles_of_then() {
    let (world, app) = world().await;
    let first = login(&world, &app).await;
    assert_eq!(first["scope"], "read write");
    assert_eq!(first["refresh_token_expires_in"], 604_800);
    let claims = claims_of(text(&first, "access_token"));
    let expected = json!({
        "sub": "usr_alice", "client_id": "app", "roles": ["viewer"], "groups": ["finance"],
        "auth_time": NOW, "amr": ["pwd"], "sid": first["session"], "scope": "read write",
    });
    for (name, value) in object(expected) {
        assert_eq!(claims[&name], value, "{name}");
    }
    let update = json!({"roles": ["viewer", "editor"]});
    world.service.accounts.update("alice", serde_json::from_value(update).unwrap()).await.unwrap();
    world.clock.advance(100);
    let second = world.token(&refresh(&first).by_secret(&app)).await;
    let claims = claims_of(text(&second, "access_token"));
    assert_eq!(claims["roles"], json!(["viewer", "editor"]));
    assert_eq!((&claims["sid"], &claims["auth_time"]), (&first["session"], &json!(NOW)));
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    // A narrower wish is for one access token.
    let narrow = [REFRESH, ("refresh_token", text(&second, "refresh_token")), ("scope", "read")];
    let third = world.token(&form(&narrow).by_secret(&app)).await;
    assert_eq!(third["scope"], "read");
    let fourth = world.token(&refresh(&third).by_secret(&app)).await;
    assert_eq!(fourth["scope"], "read write");
    let wide = [REFRESH, ("refresh_token", text(&fourth, "refresh_token")), ("scope", "admin")];
    assert_eq!(world.code(&form(&wide).by_secret(&app)).await, "invalid_scope");
    assert_eq!(world.code(&refresh(&fourth).by_secret(&app)).await, "Bearer");
}

#[tokio::test]
async fn a_lost_answer_is_given_again_and_a_token_that_comes_back_later_ends_the_login() {
    let (world, app) = world().await;
    let first = login(&world, &app).await;
    let asked = refresh(&first).by_secret(&app);
    let (one, other) = tokio::join!(world.token(&asked), world.token(&asked));
    assert_eq!(one, other);
    world.clock.advance(11);
    let error = world.service.token(&asked).await.unwrap_err();
    assert!(matches!(&error, OAuthError::LoginEnded(ended) if ended.is_alarming()));
    assert_eq!((error.code(), error.status()), ("invalid_grant", 400));
    assert_eq!(world.code(&refresh(&one).by_secret(&app)).await, "invalid_grant");
}

#[tokio::test]
async fn a_public_client_stays_logged_in_with_its_key_only() {
    let (world, _) = world().await;
    let members = json!({
        "client_id": "shop", "token_endpoint_auth_method": "none", "first_party": true,
    });
    world.client(members).await;
    let (key, other) = (ProofKey::new(), ProofKey::new());
    let named = || form(&[("client_id", "shop")]);
    let refused = try_login(&world, named(), PASSWORD).await.unwrap_err();
    assert_eq!(refused.code(), "invalid_dpop_proof");
    let proof = key.proof("/auth/login", "1", json!({}));
    let first = try_login(&world, named().with_proof(&proof), PASSWORD).await.unwrap();
    assert_eq!(first["token_type"], "DPoP");
    let claims = claims_of(text(&first, "access_token"));
    assert_eq!(claims["cnf"]["jkt"], key.thumbprint());
    let ask = async |key: &ProofKey, jti: &str| {
        let proof = key.proof("/oauth2/token", jti, json!({}));
        let token = text(&first, "refresh_token");
        let parameters = [REFRESH, ("refresh_token", token), ("client_id", "shop")];
        world.code(&form(&parameters).with_proof(&proof)).await
    };
    // Who has stolen the token gets nothing, and the login stands.
    assert_eq!(ask(&other, "2").await, "invalid_grant");
    assert_eq!(ask(&key, "3").await, "DPoP");
    // The same answer again, to another proof of the same key.
    assert_eq!(ask(&key, "4").await, "DPoP");
}

#[tokio::test]
async fn nobody_logs_in_who_may_not() {
    let (world, app) = world().await;
    let wrong = try_login(&world, form(&[]).by_secret(&app), "wrong").await.unwrap_err();
    assert_eq!((wrong.code(), wrong.reason()), ("invalid_grant", "invalid-grant"));
    let other = world.client(json!({"client_id": "other"})).await;
    let refused = try_login(&world, form(&[]).by_secret(&other), PASSWORD).await.unwrap_err();
    assert_eq!(refused.code(), "unauthorized_client");
    let nobody = try_login(&world, form(&[]), PASSWORD).await.unwrap_err();
    assert_eq!(nobody.code(), "invalid_client");
    let wide = form(&[("scope", "admin")]).by_secret(&app);
    assert_eq!(try_login(&world, wide, PASSWORD).await.unwrap_err().code(), "invalid_scope");
    world.service.accounts.disable("alice").await.unwrap();
    let disabled = try_login(&world, form(&[]).by_secret(&app), PASSWORD).await.unwrap_err();
    assert_eq!(disabled.to_string(), wrong.to_string());
}

#[tokio::test]
async fn a_user_who_is_disabled_gets_no_new_tokens() {
    let (world, app) = world().await;
    let first = login(&world, &app).await;
    world.service.accounts.disable("alice").await.unwrap();
    assert_eq!(world.code(&refresh(&first).by_secret(&app)).await, "invalid_grant");
    world.service.accounts.enable("alice").await.unwrap();
    // What was ended stays ended.
    assert_eq!(world.code(&refresh(&first).by_secret(&app)).await, "invalid_grant");
}

#[tokio::test]
async fn what_a_client_may_no_longer_ask_for_is_left_out_at_the_next_refresh() {
    let (world, app) = world().await;
    let first = login(&world, &app).await;
    let clients = world.service.clients();
    clients.update("app", object(json!({"scope": "read"}))).await.unwrap();
    let second = world.token(&refresh(&first).by_secret(&app)).await;
    assert_eq!(second["scope"], "read");
    clients.update("app", object(json!({"scope": "other"}))).await.unwrap();
    assert_eq!(world.code(&refresh(&second).by_secret(&app)).await, "invalid_scope");
    clients.update("app", object(json!({"scope": "read", "audiences": ["other"]}))).await.unwrap();
    assert_eq!(world.code(&refresh(&second).by_secret(&app)).await, "invalid_target");
}

#[tokio::test]
async fn a_logout_ends_the_login_of_the_token_or_all_of_its_user() {
    let (world, app) = world().await;
    let logins = [login(&world, &app).await, login(&world, &app).await, login(&world, &app).await];
    let works = async |login: &Value| world.code(&refresh(login).by_secret(&app)).await == "Bearer";
    let logout = async |request: &OAuthRequest, everywhere| {
        world.service.logout(request, everywhere).await.map(|ended| ended.len())
    };
    let by_refresh_token = form(&[("refresh_token", text(&logins[0], "refresh_token"))]);
    assert_eq!(logout(&by_refresh_token, false).await.unwrap(), 1);
    assert_eq!(logout(&by_refresh_token, false).await.unwrap(), 0);
    assert!(!works(&logins[0]).await);
    let bearer = format!("Bearer {}", text(&logins[1], "access_token"));
    let by_access_token = form(&[]).header("authorization", &bearer);
    assert_eq!(logout(&by_access_token, false).await.unwrap(), 1);
    let introspect = |token: &str| form(&[("token", token)]);
    assert_eq!(logout(&introspect("x"), false).await.unwrap_err().code(), "invalid_request");
    let third = form(&[("refresh_token", text(&logins[2], "refresh_token"))]);
    assert_eq!(logout(&third, true).await.unwrap(), 1);
    assert!(!works(&logins[2]).await);
    // A new login stands.
    let again = login(&world, &app).await;
    assert!(works(&again).await);
}

#[tokio::test]
async fn a_bound_token_alone_logs_nobody_out() {
    let (world, app) = world().await;
    let key = ProofKey::new();
    let proof = key.proof("/auth/login", "1", json!({}));
    let request = form(&[]).by_secret(&app).with_proof(&proof);
    let answer = try_login(&world, request, PASSWORD).await.unwrap();
    let token = text(&answer, "access_token");
    let with = |scheme: &str| form(&[]).header("authorization", &format!("{scheme} {token}"));
    for wrong in [with("Bearer"), with("DPoP"), with("Basic")] {
        assert!(world.service.logout(&wrong, false).await.is_err());
    }
    let other = ProofKey::new().proof("/auth/logout", "2", json!({"ath": hash(token)}));
    assert!(world.service.logout(&with("DPoP").with_proof(&other), false).await.is_err());
    let plain = key.proof("/auth/logout", "3", json!({}));
    assert!(world.service.logout(&with("DPoP").with_proof(&plain), false).await.is_err());
    let right = key.proof("/auth/logout", "4", json!({"ath": hash(token)}));
    let ended = world.service.logout(&with("DPoP").with_proof(&right), false).await.unwrap();
    assert_eq!(ended.len(), 1);
}

fn hash(token: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    wardgate_core::base64url::encode(hash.as_ref())
}

#[tokio::test]
async fn refresh_tokens_are_introspected_and_revoked_as_well() {
    let (world, app) = world().await;
    let asker = world.client(json!({"client_id": "gateway", "may_introspect": true})).await;
    let answer = login(&world, &app).await;
    let token = text(&answer, "refresh_token");
    let introspect = async || {
        let request = form(&[("token", token)]).by_secret(&asker);
        Value::Object(world.service.introspect(&request).await.unwrap())
    };
    let said = introspect().await;
    let expected = json!({
        "active": true, "token_type": "refresh_token", "sub": "usr_alice", "client_id": "app",
        "sid": answer["session"], "scope": "read write", "iat": NOW, "exp": NOW + 604_800,
        "iss": super::ISSUER,
    });
    assert_eq!(said, expected);
    let revoke = async |client: &CreatedClient| {
        world.service.revoke(&form(&[("token", token)]).by_secret(client)).await
    };
    assert_eq!(revoke(&asker).await.unwrap_err().code(), "unauthorized_client");
    assert!(matches!(revoke(&app).await.unwrap(), TokenEnded::Login(_)));
    assert!(matches!(revoke(&app).await.unwrap(), TokenEnded::Nothing));
    assert_eq!(introspect().await, json!({"active": false}));
    // The access tokens of the login are over too.
    let access = form(&[("token", text(&answer, "access_token"))]).by_secret(&asker);
    assert_eq!(world.service.introspect(&access).await.unwrap()["active"], false);
}
