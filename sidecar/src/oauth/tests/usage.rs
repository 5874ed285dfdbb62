//! What is counted of access and refresh tokens.

use wardgate_core::time::UnixSeconds;

use super::sessions::{REFRESH, login, refresh, text, world};
use super::{NOW, World, form};
use crate::oauth::OAuthError;
use crate::usage::{TokenCounts, TokenType, TokenUsageBy, token_report};

impl World {
    /// How often it happened to tokens of this type, by this name: issued, used, refreshed, denied.
    async fn counts(&self, by: TokenUsageBy, name: &str, kind: TokenType) -> [u64; 4] {
        self.usage.flush(&*self.store).await.unwrap();
        let from = UnixSeconds(NOW - 86_400);
        let report = token_report(&*self.store, by, from, self.clock.now()).await.unwrap();
        let row = report.rows.iter().find(|row| row.name == name && row.token_type == kind);
        let counts = row.map(|row| row.counts).unwrap_or_default();
        let TokenCounts { issued, used, refreshed, denied } = counts;
        [issued, used, refreshed, denied]
    }

    async fn refresh_counts(&self, by: TokenUsageBy, name: &str) -> [u64; 4] {
        self.counts(by, name, TokenType::Refresh).await
    }
}

#[tokio::test]
async fn a_refresh_counts_once_however_often_its_answer_is_given() {
    let (world, app) = world().await;
    let first = login(&world, &app).await;
    let asked = refresh(&first).by_secret(&app);
    let second = world.token(&asked).await;
    assert_eq!(world.token(&asked).await, second, "the same answer again");
    let third = world.token(&refresh(&second).by_secret(&app)).await;
    assert_eq!(world.refresh_counts(TokenUsageBy::Client, "app").await, [0, 0, 2, 0]);
    assert_eq!(world.refresh_counts(TokenUsageBy::User, "usr_alice").await, [0, 0, 2, 0]);
    let access = world.counts(TokenUsageBy::Client, "app", TokenType::Access).await;
    assert_eq!(access, [3, 0, 0, 0], "one with the login, one with each refresh");
    // Reuse is counted from its event: nothing is counted twice.
    let reused = world.service.token(&asked).await.unwrap_err();
    assert!(matches!(reused, OAuthError::LoginEnded(_)));
    assert_eq!(world.refresh_counts(TokenUsageBy::Client, "app").await, [0, 0, 2, 0]);
    // The family is gone, and with it who its user was; the client shows what it once got.
    assert_eq!(world.code(&refresh(&third).by_secret(&app)).await, "invalid_grant");
    assert_eq!(world.refresh_counts(TokenUsageBy::Client, "app").await, [0, 0, 2, 1]);
    assert_eq!(world.refresh_counts(TokenUsageBy::User, "usr_alice").await, [0, 0, 2, 0]);
    assert_eq!(world.refresh_counts(TokenUsageBy::User, "(none)").await, [0, 0, 0, 1]);
}

#[tokio::test]
async fn a_refresh_token_that_is_refused_counts_for_its_own_client_and_user() {
    let (world, app) = world().await;
    let members = serde_json::json!({"client_id": "other", "grant_types": ["refresh_token"]});
    let other = world.client(members).await;
    let login = login(&world, &app).await;
    let denied = async || {
        let by = TokenUsageBy::Client;
        let [_, _, _, app] = world.refresh_counts(by, "app").await;
        let [_, _, _, other] = world.refresh_counts(by, "other").await;
        let [_, _, _, alice] = world.refresh_counts(TokenUsageBy::User, "usr_alice").await;
        (app, other, alice)
    };
    // In wrong hands: it was issued to the application.
    assert_eq!(world.code(&refresh(&login).by_secret(&other)).await, "invalid_grant");
    assert_eq!(denied().await, (1, 0, 1));
    // Made up: whose it is nobody knows, but who shows it.
    let made_up = form(&[REFRESH, ("refresh_token", "wgr_none")]).by_secret(&other);
    assert_eq!(world.code(&made_up).await, "invalid_grant");
    assert_eq!(denied().await, (1, 1, 1));
    // More than was granted, which the family knows nothing of.
    let wide = [REFRESH, ("refresh_token", text(&login, "refresh_token")), ("scope", "admin")];
    assert_eq!(world.code(&form(&wide).by_secret(&app)).await, "invalid_scope");
    assert_eq!(denied().await, (2, 1, 2));
    world.service.accounts.disable("alice").await.unwrap();
    assert_eq!(world.code(&refresh(&login).by_secret(&app)).await, "invalid_grant");
    assert_eq!(denied().await, (3, 1, 3));
    // A client that is not who it says has shown no token.
    assert_eq!(world.code(&refresh(&login)).await, "invalid_client");
    assert_eq!(denied().await, (3, 1, 3));
}
