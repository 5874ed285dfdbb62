//! Users who change their own password.

use serde_json::json;

use super::sessions::{PASSWORD, login, refresh, try_login, world};
use super::{ClientKey, World, form};
use crate::accounts::Password;
use crate::oauth::{OAuthError, OAuthRequest, PasswordRequest};

const BETTER: &str = "purple monkey dishwasher lamp";

/// Tries to change a password; the `reason` of the answer, or `done`.
async fn change(world: &World, request: OAuthRequest, name: &str, passwords: [&str; 2]) -> String {
    let outcome = try_change(world, request, name, passwords).await;
    outcome.map_or_else(|error| error.reason().to_owned(), |()| "done".to_owned())
}

async fn try_change(
    world: &World,
    request: OAuthRequest,
    name: &str,
    [old, new]: [&str; 2],
) -> Result<(), OAuthError> {
    let asked = PasswordRequest {
        request,
        name: name.to_owned(),
        old_password: Password::new(old.to_owned()),
        new_password: Password::new(new.to_owned()),
    };
    world.service.change_password(asked).await
}

#[tokio::test]
async fn who_knows_the_password_changes_it_and_nothing_of_before_is_accepted() {
    let (world, app) = world().await;
    let before = login(&world, &app).await;
    world.clock.advance(5);
    let app_asks = || form(&[]).by_secret(&app);
    assert_eq!(change(&world, app_asks(), "Alice", [PASSWORD, BETTER]).await, "done");
    world.clock.advance(1);
    assert_eq!(world.code(&refresh(&before).by_secret(&app)).await, "invalid_grant");
    let old = try_login(&world, app_asks(), PASSWORD).await.unwrap_err();
    assert_eq!(old.code(), "invalid_grant");
    let after = try_login(&world, app_asks(), BETTER).await.unwrap();
    assert_eq!(world.code(&refresh(&after).by_secret(&app)).await, "Bearer");
}

#[tokio::test]
async fn what_is_wrong_with_a_new_password_is_told_to_who_knows_the_old_one_only() {
    let (world, app) = world().await;
    let app_asks = || form(&[]).by_secret(&app);
    let weak = ["wrong", "alice1234"];
    let wrong = try_change(&world, app_asks(), "alice", weak).await.unwrap_err();
    let unknown = try_change(&world, app_asks(), "nobody", weak).await.unwrap_err();
    for error in [&wrong, &unknown] {
        assert_eq!((error.reason(), error.status()), ("invalid-grant", 400));
        assert_eq!(error.to_string(), "the name or the password is wrong");
    }
    let told = try_change(&world, app_asks(), "alice", [PASSWORD, "alice1234"]).await.unwrap_err();
    assert_eq!(
        (told.reason(), told.code(), told.status()),
        ("password-refused", "invalid_request", 400)
    );
    assert!(told.to_string().contains("too easily guessed"), "{told}");
    let same = try_change(&world, app_asks(), "alice", [PASSWORD, PASSWORD]).await.unwrap_err();
    assert_eq!(same.reason(), "password-refused");
    assert_eq!(same.to_string(), "the password is the old one");
    assert!(try_login(&world, app_asks(), PASSWORD).await.is_ok(), "nothing was changed");
}

#[tokio::test]
async fn guesses_at_the_change_of_a_password_and_at_the_login_count_together() {
    for name in ["alice", "nobody"] {
        let (world, app) = world().await;
        let app_asks = || form(&[]).by_secret(&app);
        let guess = ["wrong", BETTER];
        assert_eq!(change(&world, app_asks(), name, guess).await, "invalid-grant");
        if name == "alice" {
            let failed = try_login(&world, app_asks(), "wrong").await.unwrap_err();
            assert_eq!(failed.reason(), "invalid-grant");
        } else {
            assert_eq!(change(&world, app_asks(), name, guess).await, "invalid-grant");
        }
        assert_eq!(change(&world, app_asks(), name, guess).await, "invalid-grant");
        // Not even with the password, at neither of the two.
        let waits = try_change(&world, app_asks(), name, [PASSWORD, BETTER]).await.unwrap_err();
        assert_eq!((waits.status(), waits.retry_after_seconds()), (429, Some(1)), "{name}");
        let login = try_login(&world, app_asks(), PASSWORD).await;
        let status = login.err().map(|error| error.status());
        assert_eq!(status, (name == "alice").then_some(429), "{name}");
    }
}

#[tokio::test]
async fn only_clients_that_may_ask_for_passwords_change_them() {
    let (world, _) = world().await;
    let other = world.client(json!({"client_id": "other"})).await;
    let right = [PASSWORD, BETTER];
    let asked = form(&[]).by_secret(&other);
    assert_eq!(change(&world, asked, "alice", right).await, "unauthorized-client");
    assert_eq!(change(&world, form(&[]), "alice", right).await, "invalid-client");
    // An assertion may be for this very address (RFC 7523 §3).
    let key = ClientKey::new();
    let members = json!({
        "client_id": "desk", "first_party": true, "jwks": key.jwks(),
        "token_endpoint_auth_method": "private_key_jwt",
    });
    world.client(members).await;
    let assertion = key.assertion_for("desk", "1", "https://auth.example.com/auth/password");
    let asked = form(&[
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &assertion),
    ]);
    assert_eq!(change(&world, asked, "alice", right).await, "done");
}
