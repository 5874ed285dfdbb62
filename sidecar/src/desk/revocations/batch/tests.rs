use serde_json::{Value, json};
use wardgate_core::base64url;

use super::super::super::tests::open;
use super::{MAX_REVOKE_BATCH, RevokedBatch};
use crate::desk::{Desk, RevocationView, RevokeError, revocation_of_line};
use crate::store::LogPage;

const KEEP: u64 = 1_000_000;
const ISSUER: &str = "https://auth.example.com";

async fn batch(desk: &Desk, revocations: &[Value]) -> Result<RevokedBatch, RevokeError> {
    let asked = json!({"revocations": revocations, "reason": "leaked", "by": "me"});
    desk.revoke_batch(serde_json::from_value(asked).unwrap(), KEEP).await
}

fn token(token_id: &str) -> Value {
    json!({"target": {"kind": "token", "issuer": ISSUER, "token_id": token_id}})
}

async fn all(desk: &Desk) -> Vec<RevocationView> {
    desk.revocations(None).await.unwrap().revocations
}

#[tokio::test]
async fn a_batch_is_one_step_and_done_again_it_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let head = desk.store().log_head().await.unwrap();
    let revocations: Vec<Value> =
        (0..MAX_REVOKE_BATCH).map(|number| token(&number.to_string())).collect();
    let first = batch(&desk, &revocations).await.unwrap();
    assert_eq!(first, RevokedBatch { revoked: 1000, ..RevokedBatch::default() });
    let LogPage::Entries { entries } = desk.store().log_after(head, 1000).await.unwrap() else {
        panic!("the log has its head");
    };
    assert_eq!(entries.len(), 1000, "filters hear of each");
    desk.clock.advance(3600);
    let again = batch(&desk, &revocations).await.unwrap();
    assert_eq!(again, RevokedBatch { unchanged: 1000, ..RevokedBatch::default() });
    let half: Vec<Value> = (500..1500).map(|number| token(&number.to_string())).collect();
    let more = batch(&desk, &half).await.unwrap();
    assert_eq!((more.revoked, more.unchanged), (500, 500));
    let view = &all(&desk).await[0];
    assert_eq!(view.stored.reason.as_deref(), Some("leaked"));
    assert_eq!(view.stored.by.as_deref(), Some("me"));
}

#[tokio::test]
async fn what_stands_is_widened_and_never_narrowed() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let now = desk.clock.now().0;
    let until = |until: u64| json!({"target": token("a")["target"], "until": now + until});
    assert_eq!(batch(&desk, &[until(1000)]).await.unwrap().revoked, 1);
    assert_eq!(batch(&desk, &[until(500)]).await.unwrap().unchanged, 1);
    assert_eq!(batch(&desk, &[until(1001)]).await.unwrap().revoked, 1);
    // Where the end is reckoned from now, a day earlier is as good.
    assert_eq!(batch(&desk, &[token("a")]).await.unwrap().revoked, 1);
    desk.clock.advance(86_400);
    assert_eq!(batch(&desk, &[token("a")]).await.unwrap().unchanged, 1);
    desk.clock.advance(1);
    assert_eq!(batch(&desk, &[token("a")]).await.unwrap().revoked, 1);
    let subject = json!({"target": {"kind": "subject", "issuer": ISSUER, "subject": "alice"}});
    assert_eq!(batch(&desk, std::slice::from_ref(&subject)).await.unwrap().revoked, 1);
    desk.clock.advance(1);
    // What was issued in between is revoked too.
    assert_eq!(batch(&desk, &[subject]).await.unwrap().revoked, 1);
}

#[tokio::test]
async fn what_is_wrong_is_named_by_its_place_and_the_rest_is_revoked() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let wrong = [
        token("good"),
        json!({"target": {"kind": "token", "token": "secret"}}),
        json!({"target": {"kind": "api_key", "name_or_id": "secret"}}),
        token("good"),
        json!({"target": {"kind": "token_digest", "digest": "secret"}}),
    ];
    let done = batch(&desk, &wrong).await.unwrap();
    assert_eq!((done.revoked, done.unchanged), (1, 1));
    let places: Vec<_> = done.problems.iter().map(|problem| problem.index).collect();
    assert_eq!(places, [1, 2, 4]);
    assert!(!format!("{done:?}").contains("secret"));
    let many: Vec<Value> =
        (0..=MAX_REVOKE_BATCH).map(|number| token(&number.to_string())).collect();
    assert!(matches!(batch(&desk, &many).await, Err(RevokeError::Invalid(_))));
    assert_eq!(all(&desk).await.len(), 1);
}

#[tokio::test]
async fn a_line_is_a_token_a_digest_or_with_an_issuer_a_jti() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let asked = json!({"subject": "alice"});
    let issued = desk.issue_token(serde_json::from_value(asked).unwrap()).unwrap();
    let target = |line: &str, issuer: Option<&str>| {
        let read = revocation_of_line(line, issuer, None).ok()?;
        Some((json!(read.target), read.until))
    };
    let named = json!({"kind": "token", "issuer": ISSUER, "token_id": issued.jti});
    let expected = Some((named, Some(desk.clock.now().0 + 300 + 300)));
    for issuer in [None, Some(ISSUER)] {
        assert_eq!(target(&format!(" {} ", issued.access_token), issuer), expected);
        let token = issued.access_token.as_str();
        let header = token.split('.').next().unwrap();
        // A signature has 86 letters: of 85 none is base64url, whatever the last one is.
        for damaged in [&token[..token.len() - 1], &token[..header.len() + 9], header, &token[..41]]
        {
            assert_eq!(target(damaged, issuer), None, "{}", damaged.len());
        }
    }
    let digest = base64url::encode(&[7; 32]);
    let expected = json!({"kind": "token_digest", "digest": digest});
    assert_eq!(target(&digest, None), Some((expected, None)));
    let expected = json!({"kind": "token", "issuer": ISSUER, "token_id": digest});
    assert_eq!(target(&digest, Some(ISSUER)), Some((expected, None)));
    assert!(target("4f5c.x", Some(ISSUER)).is_some(), "a `jti` is any text");
    for wrong in ["", "secret", "a.b.c", "wgr_secret"] {
        let error = revocation_of_line(wrong, None, None).err().unwrap().to_string();
        assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
    }
    let later = revocation_of_line(&issued.access_token, None, Some(9_999_999)).unwrap();
    assert_eq!(later.until, Some(9_999_999));
}
