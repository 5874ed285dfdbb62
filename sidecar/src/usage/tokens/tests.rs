//! What is counted of tokens, from events and by the sidecar itself.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use wardgate_core::time::UnixSeconds;

use super::{
    Names, TokenCounts, TokenEvent, TokenType, TokenUsage, TokenUsageBy, TokenUse, token_report,
};
use crate::clock::Clock;
use crate::config::UsageSection;
use crate::metrics::Metrics;
use crate::store::{Embedded, Store};
use crate::usage::UsageRecorder;
use crate::usage::tally::OTHER;

const DAY: u64 = 86_400;
/// Far in the future: the store goes by the clock of the machine, and shows nothing that has ended.
const NOW: u64 = 100_000 * DAY + 50;
const ISSUER: &str = "https://auth.example.com";

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn permit(client: &str, subject: &str) -> Map<String, Value> {
    object(&json!({
        "decision": "permit", "auth": "jwt", "issuer": ISSUER, "subject": subject,
        "client_id": client, "time": NOW * 1000,
    }))
}

fn issued<'a>(client: &'a str, subject: &'a str, at: u64) -> TokenUse<'a> {
    TokenUse {
        token_type: TokenType::Access,
        event: TokenEvent::Issued,
        client_id: Some(client),
        issuer: Some(ISSUER),
        subject: Some(subject),
        at_milliseconds: at.saturating_mul(1000),
    }
}

struct Stand {
    store: Arc<Embedded>,
    clock: Clock,
    metrics: Metrics,
    _directory: tempfile::TempDir,
}

impl Stand {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(&directory.path().join("store.redb")).unwrap());
        let clock = Clock::manual(UnixSeconds(NOW));
        Self { store, clock, metrics: Metrics::new(), _directory: directory }
    }

    fn recorder(&self) -> UsageRecorder {
        UsageRecorder::new(&UsageSection::default(), self.clock.clone(), &self.metrics)
    }

    async fn report(&self, by: TokenUsageBy) -> TokenUsage {
        let from = UnixSeconds(NOW - 5 * DAY);
        token_report(&*self.store, by, from, UnixSeconds(NOW)).await.unwrap()
    }
}

fn rows(report: &TokenUsage) -> Vec<(String, &'static str, [u64; 4])> {
    let row = |it: &super::TokenUsageRow| {
        let TokenCounts { issued, used, refreshed, denied } = it.counts;
        (it.name.clone(), it.token_type.word(), [issued, used, refreshed, denied])
    };
    report.rows.iter().map(row).collect()
}

fn expected(rows: &[(&str, &'static str, [u64; 4])]) -> Vec<(String, &'static str, [u64; 4])> {
    rows.iter().map(|(name, kind, counts)| ((*name).to_owned(), *kind, *counts)).collect()
}

#[test]
fn an_event_of_a_filter_says_which_token_was_used_or_denied() {
    let of = |changes: Value| {
        let mut event = permit("web", "alice");
        event.extend(object(&changes));
        event.retain(|_, value| !value.is_null());
        TokenUse::of(&event).map(|it| (it.token_type, it.event, it.client(), it.user()))
    };
    let (access, api) = (TokenType::Access, TokenType::Api);
    let (web, alice) = ("web".to_owned(), format!("{ISSUER} alice"));
    let nobody = || "(none)".to_owned();
    for (changes, expected) in [
        (json!({}), (access, TokenEvent::Used, web.clone(), alice.clone())),
        (
            json!({"decision": "deny", "reason": "forbidden"}),
            (access, TokenEvent::Denied, web, alice.clone()),
        ),
        (json!({"auth": "api_key", "client_id": null}), (api, TokenEvent::Used, nobody(), alice)),
        // A client that acts for itself is no user.
        (json!({"subject": "web"}), (access, TokenEvent::Used, "web".to_owned(), nobody())),
        (
            json!({
                "decision": "deny", "reason": "token-expired", "auth": "none", "issuer": null,
                "subject": null, "client_id": null,
            }),
            (access, TokenEvent::Denied, nobody(), nobody()),
        ),
        (
            json!({
                "decision": "deny", "reason": "api-key-unknown", "auth": "none", "issuer": null,
                "subject": null, "client_id": null,
            }),
            (api, TokenEvent::Denied, nobody(), nobody()),
        ),
    ] {
        assert_eq!(of(changes.clone()), Some(expected), "{changes}");
    }
    for (decision, expected) in [
        ("session-begun", (TokenType::Refresh, TokenEvent::Issued)),
        ("refresh-token-reuse", (TokenType::Refresh, TokenEvent::Denied)),
        ("social-token-given", (TokenType::Social, TokenEvent::Used)),
        ("social-token-refused", (TokenType::Social, TokenEvent::Denied)),
    ] {
        let found = of(json!({"decision": decision, "auth": null, "session": "one"}));
        assert_eq!(found.map(|(kind, event, ..)| (kind, event)), Some(expected), "{decision}");
    }
    for nothing in [
        json!({"auth": "none"}),
        json!({"decision": "gap"}),
        json!({"decision": "deny", "auth": "none", "reason": "credential-missing"}),
        json!({"auth": "session"}),
        // Of a client that gets no refresh tokens.
        json!({"decision": "session-begun", "auth": null}),
    ] {
        assert_eq!(of(nothing.clone()), None, "{nothing}");
    }
}

#[tokio::test]
async fn counts_of_two_sidecars_add_up_by_client_user_type_and_day() {
    let stand = Stand::new();
    let (one, other) = (stand.recorder(), stand.recorder());
    for recorder in [&one, &other] {
        recorder.count_token(&issued("web", "alice", NOW));
        recorder.observe(&permit("web", "alice"));
        recorder.observe(&permit("web", "bob"));
        recorder.count_token(&TokenUse {
            token_type: TokenType::Refresh,
            event: TokenEvent::Refreshed,
            ..issued("app", "bob", NOW - DAY)
        });
        recorder.flush(&*stand.store).await.unwrap();
    }
    let by_client = stand.report(TokenUsageBy::Client).await;
    assert_eq!(
        rows(&by_client),
        expected(&[("web", "access", [2, 4, 0, 0]), ("app", "refresh", [0, 0, 2, 0])])
    );
    assert_eq!(by_client.total, TokenCounts { issued: 2, used: 4, refreshed: 2, denied: 0 });
    let by_user = stand.report(TokenUsageBy::User).await;
    assert_eq!(
        rows(&by_user),
        expected(&[
            ("alice", "access", [2, 2, 0, 0]),
            ("bob", "access", [0, 2, 0, 0]),
            ("bob", "refresh", [0, 0, 2, 0])
        ])
    );
    assert!(by_user.rows.iter().all(|row| row.issuer.as_deref() == Some(ISSUER)));
    let by_type = stand.report(TokenUsageBy::Type).await;
    assert_eq!(
        rows(&by_type),
        expected(&[("access", "access", [2, 4, 0, 0]), ("refresh", "refresh", [0, 0, 2, 0])])
    );
    let by_day = stand.report(TokenUsageBy::Day).await;
    let days: Vec<&str> = by_day.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(days, ["2243-10-16", "2243-10-17"]);
    assert_eq!((by_day.total, by_user.total), (by_client.total, by_client.total));
}

#[tokio::test]
async fn a_day_holds_so_many_users_and_loses_no_count() {
    let stand = Stand::new();
    let recorder = stand.recorder();
    for number in 0..1000_u64 {
        for _ in 0..if number < 3 { 50 } else { 1 } {
            recorder.count_token(&issued("web", &format!("user {number}"), NOW));
        }
    }
    recorder.flush(&*stand.store).await.unwrap();
    recorder.count_token(&issued("web", "late", NOW));
    recorder.flush(&*stand.store).await.unwrap();
    let report = stand.report(TokenUsageBy::User).await;
    assert_eq!(report.rows.len(), 257);
    assert_eq!(report.total.issued, 997 + 150 + 1);
    let names: Vec<&str> = report.rows.iter().map(|row| row.name.as_str()).take(4).collect();
    assert_eq!(names, [OTHER, "user 0", "user 1", "user 2"]);
    let stands = stand.store.stat().await.unwrap().records;
    assert_eq!(stands["usage"], 2, "one entry by client, one by user");
}

#[test]
fn beyond_its_room_in_memory_a_name_is_counted_with_the_others() {
    let mut names = Names::default();
    for number in 0..10 {
        names.count(number.to_string(), TokenType::Api, TokenEvent::Used, 5);
    }
    let counts: Vec<(String, u64)> =
        names.into_rows().map(|(name, _, counts)| (name, counts.used)).collect();
    assert_eq!(counts[0], (OTHER.to_owned(), 5));
    assert_eq!(counts.len(), 6);
}
