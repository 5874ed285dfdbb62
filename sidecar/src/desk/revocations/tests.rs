use std::sync::Arc;

use serde_json::{Value, json};
use wardgate_core::base64url;
use wardgate_core::time::UnixSeconds;

use super::super::tests::open;
use super::{MAX_SKEW_SECONDS, RevocationView, RevokeError, Revoked};
use crate::desk::Desk;
use crate::store::{LogPage, MAX_EXPIRES_AT, Table};

const KEEP: u64 = 1000;

async fn revoke(desk: &Desk, asked: Value) -> Result<RevocationView, RevokeError> {
    match desk.revoke(serde_json::from_value(asked).unwrap(), KEEP).await? {
        Revoked::Revocation(view) => Ok(view),
        Revoked::ApiKey(_) => panic!("it is no API key"),
    }
}

fn alice(more: &Value) -> Value {
    let target = json!({"kind": "subject", "issuer": "i", "subject": "alice"});
    let mut asked = json!({"target": target});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    asked
}

#[tokio::test]
async fn a_later_revocation_widens_and_never_narrows() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let now = desk.clock.now().0;
    let first = revoke(&desk, alice(&json!({"until": now + 5000, "reason": "one"}))).await.unwrap();
    assert_eq!((first.stored.until, first.stored.issued_until), (now + 5000, Some(now)));
    let narrow = alice(&json!({"until": now + 100, "issued_until": now - 50}));
    let second = revoke(&desk, narrow).await.unwrap();
    assert_eq!((second.stored.until, second.stored.issued_until), (now + 5000, Some(now)));
    assert_eq!((second.id, second.stored.reason.as_deref()), (first.id, Some("one")));
    let wide = alice(&json!({"until": u64::MAX, "issued_until": now + 50}));
    let third = revoke(&desk, wide).await.unwrap();
    assert_eq!((third.stored.until, third.stored.issued_until), (MAX_EXPIRES_AT.0, Some(now + 50)));
    assert_eq!(desk.revocations(None).await.unwrap().revocations, [third]);
}

#[tokio::test]
async fn revocations_of_one_target_at_once_come_to_the_widest() {
    let directory = tempfile::tempdir().unwrap();
    let desk = Arc::new(open(directory.path()).await);
    let now = desk.clock.now().0;
    let begun = desk.store.log_head().await.unwrap();
    let tasks: Vec<_> = (0..20_u64)
        .map(|n| {
            let desk = Arc::clone(&desk);
            let until = now + 1000 + (n * 7) % 20;
            tokio::spawn(async move { revoke(&desk, alice(&json!({"until": until}))).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let all = desk.revocations(None).await.unwrap().revocations;
    assert_eq!((all.len(), all[0].stored.until), (1, now + 1019));
    let LogPage::Entries { entries } = desk.store.log_after(begun, 100).await.unwrap() else {
        panic!("the log has its head");
    };
    assert_eq!(entries.len(), 20, "filters hear of each");
    let last: Value = serde_json::from_slice(&entries[19].1).unwrap();
    assert_eq!(last["revocation"]["until"], now + 1019);
}

#[tokio::test]
async fn a_revocation_outlives_what_it_revokes() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let now = desk.clock.now().0;
    let token = |exp: u64, jti: Option<&str>| {
        let header = json!({"alg": "ES256"});
        let claims = json!({"iss": "i", "sub": "s", "aud": "a", "exp": exp, "jti": jti});
        let mut claims = claims.as_object().unwrap().clone();
        claims.retain(|_, value| !value.is_null());
        let part = |text: String| base64url::encode(text.as_bytes());
        let (header, claims) = (part(header.to_string()), part(Value::Object(claims).to_string()));
        format!("{header}.{claims}.{}", base64url::encode(&[0; 64]))
    };
    let of = |token: &str| json!({"target": {"kind": "token", "token": token}});
    let named = revoke(&desk, of(&token(now + 600, Some("j")))).await.unwrap();
    assert_eq!(named.stored.until, now + 600 + MAX_SKEW_SECONDS);
    let asked = json!({"target": {"kind": "token", "issuer": "i", "token_id": "j"}});
    assert_eq!(revoke(&desk, asked).await.unwrap().id, named.id);
    let unnamed = revoke(&desk, of(&token(now + 600, None))).await.unwrap();
    assert_eq!(json!(unnamed.stored.target)["kind"], "token_digest");
    let over = revoke(&desk, of(&token(1, Some("old")))).await.unwrap();
    assert!(over.stored.until > now);
    let key = json!({"target": {"kind": "signing_key", "issuer": "i", "key_id": "k"}});
    let key = revoke(&desk, key).await.unwrap();
    assert_eq!((key.stored.until, key.stored.issued_until), (now + KEEP, None));
    let stands = desk.store.page(Table::Revocations, None).await.unwrap().entries;
    let ends: Vec<_> = stands.iter().map(|entry| entry.expires_at).collect();
    assert!(ends.contains(&Some(UnixSeconds(now + KEEP))) && ends.iter().all(Option::is_some));
}

#[tokio::test]
async fn what_names_nothing_is_refused_without_being_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    for target in [
        json!({"kind": "token", "token": "secret"}),
        json!({"kind": "token", "token": "secret.secret.secret"}),
        json!({"kind": "session", "issuer": "", "session": "secret"}),
        json!({"kind": "token", "issuer": "i", "token_id": "secret".repeat(1000)}),
        json!({"kind": "token_digest", "digest": "secret"}),
    ] {
        let error = revoke(&desk, json!({"target": target})).await.unwrap_err();
        assert!(matches!(error, RevokeError::Invalid(_)) && !error.to_string().contains("secret"));
    }
    for target in [
        json!({"kind": "token", "token": "secret", "issuer": "i"}),
        json!({"kind": "session", "token": "secret"}),
        json!({"kind": "other", "issuer": "secret"}),
        json!("secret"),
    ] {
        let read: Result<super::RevokeRequest, _> =
            serde_json::from_value(json!({"target": target}));
        let error = read.err().unwrap().to_string();
        assert!(error.contains("signing_key") && !error.contains("secret"), "{error}");
    }
}
