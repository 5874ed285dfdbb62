#![expect(clippy::arithmetic_side_effects, reason = "tests")]

mod cutting;
mod model;

use std::future::{Ready, ready};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use wardgate_core::config::Bounded;
use wardgate_core::feed::RevocationTarget;
use wardgate_core::time::UnixSeconds;
use zeroize::Zeroizing;

use super::{
    BeginError, Begun, EndCause, Families, Grant, Ground, NewFamily, Presenter, RefreshError,
    Refreshed, Refusal,
};
use crate::clock::Clock;
use crate::config::RefreshTokensSection;
use crate::metrics::Metrics;
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::records::families::Confirmation;
use crate::store::records::{StandingRevocation, StoredRevocation};
use crate::store::{Check, Embedded, LogPage, Store, StoreError, Table, Transaction};

const ISSUER: &str = "https://auth.example.com";

/// What one sidecar, or several on one store, are opened with.
#[derive(Clone)]
pub(super) struct Stand {
    pub(super) store: Arc<dyn Store>,
    pub(super) keys: StoreKeys,
    pub(super) clock: Clock,
}

impl Stand {
    pub(super) fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        let keys = StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap();
        Self { store, keys, clock }
    }

    fn embedded(directory: &Path) -> Self {
        let clock = Clock::manual(UnixSeconds(1_000_000));
        let path = directory.join("store.redb");
        let store = Embedded::open_with(&path, clock.clone(), Random::system()).unwrap();
        Self::new(Arc::new(store), clock)
    }

    pub(super) async fn sidecar(&self) -> Families {
        self.sidecar_over(Arc::clone(&self.store), RefreshTokensSection::default()).await
    }

    pub(super) async fn sidecar_over(
        &self,
        store: Arc<dyn Store>,
        settings: RefreshTokensSection,
    ) -> Families {
        let ground = Ground {
            store,
            store_keys: self.keys.clone(),
            clock: self.clock.clone(),
            random: Random::system(),
            metrics: Arc::new(Metrics::new()),
        };
        Families::open(ground, ISSUER, settings).await.unwrap()
    }
}

pub(super) fn alice() -> NewFamily {
    NewFamily {
        subject: "alice".to_owned(),
        client_id: "app".to_owned(),
        scope: Some("read write".to_owned()),
        ..NewFamily::default()
    }
}

fn key(name: &str) -> Confirmation {
    Confirmation::KeyThumbprint(name.to_owned())
}

pub(super) fn app() -> Presenter {
    Presenter { client_id: "app".to_owned(), shown: None }
}

#[expect(clippy::needless_pass_by_value, reason = "as `refresh` calls it")]
/// An answer as a token endpoint gives it; no two are alike.
pub(super) fn mint(grant: Grant) -> Ready<Result<Zeroizing<String>, ()>> {
    static MINTED: AtomicU64 = AtomicU64::new(0);
    let answer = json!({
        "access_token": MINTED.fetch_add(1, Ordering::SeqCst),
        "refresh_token": grant.refresh_token.as_str(),
        "refresh_expires_in": grant.expires_in,
        "sub": grant.family.stored.subject,
    });
    ready(Ok(Zeroizing::new(answer.to_string())))
}

pub(super) fn next_token(refreshed: &Refreshed) -> String {
    let answer: Value = serde_json::from_str(&refreshed.answer).unwrap();
    answer["refresh_token"].as_str().unwrap().to_owned()
}

type Outcome = Result<Refreshed, RefreshError<()>>;

async fn refresh(families: &Families, token: &str) -> Outcome {
    families.refresh(token, &app(), mint).await
}

#[track_caller]
fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Err(RefreshError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn ended(outcome: Outcome) -> EndCause {
    match outcome {
        Err(RefreshError::Ended(ended)) => ended.cause,
        other => panic!("{other:?}"),
    }
}

async fn is_revoked(stand: &Stand, session: &str) -> bool {
    let target =
        RevocationTarget::Session { issuer: ISSUER.to_owned(), session: session.to_owned() };
    StandingRevocation::read(&*stand.store, &target).await.unwrap().issued_until().is_some()
}

async fn revoke_subject(stand: &Stand, issued_until: u64) {
    let target =
        RevocationTarget::Subject { issuer: ISSUER.to_owned(), subject: "alice".to_owned() };
    let standing = StandingRevocation::read(&*stand.store, &target).await.unwrap();
    let revocation = StoredRevocation {
        target,
        issued_until: Some(issued_until),
        until: stand.clock.now().0 + 100_000,
        reason: None,
        by: None,
        revoked_at: stand.clock.now().0,
    };
    let transaction = standing.widen(Transaction::new(), revocation, 0).unwrap();
    stand.store.commit(transaction).await.unwrap();
}

#[tokio::test]
async fn a_token_rotates_at_every_use_and_the_answer_has_what_was_begun() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let families = stand.sidecar().await;
    let Begun { family, refresh_token } = families.begin(alice()).await.unwrap();
    let looked = families.look(&refresh_token).await.unwrap().unwrap();
    assert_eq!(looked.family, family);
    assert_eq!(looked.expires_at, stand.clock.now().0 + 604_800);
    let mut token = refresh_token.to_string();
    for number in 1..5 {
        let refreshed = refresh(&families, &token).await.unwrap();
        assert_eq!((refreshed.repeated, refreshed.family.stored.generation), (false, number));
        assert_eq!(refreshed.family.id, family.id);
        let next = next_token(&refreshed);
        assert!(next != token && families.look(&token).await.unwrap().is_none());
        assert!(families.look(&next).await.unwrap().is_some());
        token = next;
        stand.clock.advance(3600);
    }
}

#[tokio::test]
async fn nothing_in_the_store_is_a_token_or_opens_without_one() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let families = stand.sidecar().await;
    let begun = families.begin(alice()).await.unwrap();
    let next = next_token(&refresh(&families, &begun.refresh_token).await.unwrap());
    let stands = stand.store.get(Table::Families, &begun.family.id).await.unwrap().unwrap();
    let text = String::from_utf8(stands).unwrap();
    for token in [begun.refresh_token.as_str(), &next] {
        assert!(!text.contains(&token[4..]) && !text.contains(&token[25..60]));
    }
    // The store keys alone open the outer lock; what is inside is no text.
    let family: crate::store::records::StoredFamily = serde_json::from_str(&text).unwrap();
    let context = format!("refresh-answer {} 0", begun.family.id);
    let inner = stand.keys.open(&context, &family.answer.unwrap()).unwrap();
    assert!(!String::from_utf8_lossy(inner.expose()).contains("refresh_token"));
}

#[tokio::test]
async fn a_lost_answer_is_given_again_byte_for_byte_until_its_token_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let (one, other) = (stand.sidecar().await, stand.sidecar().await);
    let begun = one.begin(alice()).await.unwrap();
    let first = refresh(&one, &begun.refresh_token).await.unwrap();
    stand.clock.advance(9);
    // At another sidecar.
    let again = refresh(&other, &begun.refresh_token).await.unwrap();
    assert_eq!((again.repeated, &again.answer), (true, &first.answer));
    let second = refresh(&one, &next_token(&again)).await.unwrap();
    assert!(!second.repeated);
    // Now the successor was used: whoever has the first token is somebody else.
    assert_eq!(ended(refresh(&other, &begun.refresh_token).await), EndCause::Reuse);
    assert_eq!(refused(refresh(&one, &next_token(&second)).await), Refusal::Ended);
    assert!(is_revoked(&stand, &begun.family.id).await);
}

#[tokio::test]
async fn a_used_token_ends_its_family_after_the_grace() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let families = stand.sidecar().await;
    let head = stand.store.log_head().await.unwrap();
    let begun = families.begin(alice()).await.unwrap();
    let other = families.begin(alice()).await.unwrap();
    let next = next_token(&refresh(&families, &begun.refresh_token).await.unwrap());
    stand.clock.advance(10);
    assert!(!is_revoked(&stand, &begun.family.id).await);
    assert_eq!(ended(refresh(&families, &begun.refresh_token).await), EndCause::Reuse);
    assert_eq!(refused(refresh(&families, &next).await), Refusal::Ended);
    assert!(families.look(&next).await.unwrap().is_none());
    // The filters hear of it once, and of nothing else.
    let LogPage::Entries { entries } = stand.store.log_after(head, 100).await.unwrap() else {
        panic!("the log has its head");
    };
    assert_eq!(entries.len(), 1);
    assert!(is_revoked(&stand, &begun.family.id).await);
    // Another login of the same user goes on.
    assert!(refresh(&families, &other.refresh_token).await.is_ok());
    assert_eq!(families.of_subject("alice").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_made_up_token_has_no_effect_whatever_family_it_names() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let families = stand.sidecar().await;
    let begun = families.begin(alice()).await.unwrap();
    let token = refresh(&families, &begun.refresh_token).await.unwrap();
    let token = next_token(&token);
    // Family and number of a real one, with another secret or another tag.
    for at in [30, 85] {
        let mut forged = begun.refresh_token.as_bytes().to_vec();
        forged[at] = if forged[at] == b'A' { b'Q' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert_eq!(refused(refresh(&families, &forged).await), Refusal::NotGenuine);
        let given_back = families.end_by_token(&forged, "app", EndCause::Returned).await.unwrap();
        assert_eq!(given_back, Err(Refusal::NotGenuine));
    }
    assert!(families.look(&token).await.unwrap().is_some());
}

#[tokio::test]
async fn a_bound_family_needs_its_key_and_stays_when_another_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let families = stand.sidecar().await;
    let new = NewFamily { binding: Some(key("own")), ..alice() };
    let begun = families.begin(new).await.unwrap();
    let token = &begun.refresh_token;
    let by = async |client_id: &str, shown: Option<Confirmation>, token: &str| {
        let presenter = Presenter { client_id: client_id.to_owned(), shown };
        families.refresh(token, &presenter, mint).await
    };
    assert_eq!(refused(by("app", None, token).await), Refusal::OtherKey);
    assert_eq!(refused(by("app", Some(key("other")), token).await), Refusal::OtherKey);
    assert_eq!(refused(by("other", Some(key("own")), token).await), Refusal::OtherClient);
    let certificate = Confirmation::CertificateThumbprint("own".to_owned());
    assert_eq!(refused(by("app", Some(certificate), token).await), Refusal::OtherKey);
    let refreshed = by("app", Some(key("own")), token).await.unwrap();
    assert!(by("app", Some(key("own")), token).await.unwrap().repeated);
    // The used one with another key is no retry.
    assert_eq!(ended(by("app", Some(key("other")), token).await), EndCause::Reuse);
    let next = next_token(&refreshed);
    assert_eq!(refused(by("app", Some(key("own")), &next).await), Refusal::Ended);
}

#[tokio::test]
async fn an_unused_family_ends_and_so_does_one_that_is_always_used() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let families = stand.sidecar().await;
    let lives = |lifetime, idle| NewFamily {
        lifetime_seconds: Some(lifetime),
        idle_seconds: Some(idle),
        ..alice()
    };
    let unused = families.begin(lives(1000, 100)).await.unwrap();
    let used = families.begin(lives(1000, 100)).await.unwrap();
    let mut token = used.refresh_token.to_string();
    for round in 0..11 {
        stand.clock.advance(90);
        let refreshed = refresh(&families, &token).await.unwrap();
        token = next_token(&refreshed);
        let answer: Value = serde_json::from_str(&refreshed.answer).unwrap();
        let left = (1000 - 90 * (round + 1)).min(100);
        assert_eq!(answer["refresh_expires_in"], left);
    }
    assert_eq!(refused(refresh(&families, &unused.refresh_token).await), Refusal::Ended);
    stand.clock.advance(10);
    assert_eq!(refused(refresh(&families, &token).await), Refusal::Ended);
    assert_eq!(families.page(None).await.unwrap().sessions, []);
    let cleaned = stand.store.clean_up(stand.clock.now(), 100).await.unwrap();
    assert_eq!(cleaned.removed, 3, "two families and the list of their subject");
}

#[tokio::test]
async fn what_is_revoked_is_not_refreshed_and_a_later_login_is() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let families = stand.sidecar().await;
    let before = families.begin(alice()).await.unwrap();
    revoke_subject(&stand, stand.clock.now().0).await;
    assert_eq!(refused(refresh(&families, &before.refresh_token).await), Refusal::Revoked);
    assert!(families.look(&before.refresh_token).await.unwrap().is_none());
    // In the same second.
    let after = families.begin(alice()).await.unwrap();
    let next = next_token(&refresh(&families, &after.refresh_token).await.unwrap());
    stand.clock.advance(2);
    revoke_subject(&stand, stand.clock.now().0).await;
    assert_eq!(refused(refresh(&families, &next).await), Refusal::Revoked);
    // Also what was asked before, however soon it is asked again.
    assert_eq!(refused(refresh(&families, &after.refresh_token).await), Refusal::Revoked);
    revoke_subject(&stand, u64::MAX - 1).await;
    assert!(matches!(families.begin(alice()).await, Err(BeginError::Revoked)));
}

#[tokio::test]
async fn a_revocation_while_an_answer_is_made_wins() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let families = stand.sidecar().await;
    let begun = families.begin(alice()).await.unwrap();
    let slow = async |grant: Grant| {
        stand.clock.advance(5);
        revoke_subject(&stand, stand.clock.now().0 - 2).await;
        mint(grant).await
    };
    let outcome = families.refresh(&begun.refresh_token, &app(), slow).await;
    assert_eq!(refused(outcome), Refusal::Revoked);
}

#[tokio::test]
async fn a_family_is_not_begun_when_what_the_login_was_judged_by_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let families = stand.sidecar().await;
    let put = async |value: &str| {
        let put = Transaction::new().put(Table::Users, "alice", value);
        stand.store.commit(put).await.unwrap();
    };
    put("enabled").await;
    let expected = Some(b"enabled".to_vec());
    let check = Check { table: Table::Users, key: "alice".to_owned(), expected };
    let new = || NewFamily { unless_changed: vec![check.clone()], ..alice() };
    assert!(families.begin(new()).await.is_ok());
    put("disabled").await;
    assert!(matches!(families.begin(new()).await, Err(BeginError::Changed)));
}

#[tokio::test]
async fn a_failed_answer_leaves_everything_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let families = stand.sidecar().await;
    let begun = families.begin(alice()).await.unwrap();
    let fails = |_| ready(Err::<Zeroizing<String>, _>("disabled"));
    let outcome = families.refresh(&begun.refresh_token, &app(), fails).await;
    assert!(matches!(outcome, Err(RefreshError::Mint("disabled"))));
    assert!(!refresh(&families, &begun.refresh_token).await.unwrap().repeated);
}

#[tokio::test]
async fn a_client_ends_what_is_its_own_by_any_token_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let families = stand.sidecar().await;
    let begun = families.begin(alice()).await.unwrap();
    let next = next_token(&refresh(&families, &begun.refresh_token).await.unwrap());
    let end = async |token: &str, client: &str| {
        families.end_by_token(token, client, EndCause::Returned).await.unwrap()
    };
    assert_eq!(end(&next, "other").await, Err(Refusal::OtherClient));
    let ended = end(&begun.refresh_token, "app").await.unwrap().unwrap();
    assert_eq!((ended.family.id.as_str(), ended.cause), (&*begun.family.id, EndCause::Returned));
    assert_eq!(end(&next, "app").await, Ok(None));
    assert!(is_revoked(&stand, &begun.family.id).await);
    assert_eq!(refused(refresh(&families, &next).await), Refusal::Ended);
}

#[tokio::test]
async fn all_families_of_a_subject_end_and_nobody_elses() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let settings = RefreshTokensSection {
        logins_per_subject: Bounded(300),
        ..RefreshTokensSection::default()
    };
    let families = stand.sidecar_over(Arc::clone(&stand.store), settings).await;
    let bob = NewFamily { subject: "bob".to_owned(), ..alice() };
    let bob = families.begin(bob).await.unwrap();
    for _ in 0..150 {
        families.begin(alice()).await.unwrap();
    }
    let ended = families.end_all("alice", EndCause::LoggedOut, Some("alice")).await.unwrap();
    assert_eq!(ended.len(), 150);
    for one in &ended {
        assert!(is_revoked(&stand, &one.family.id).await);
    }
    assert_eq!(families.of_subject("alice").await.unwrap(), []);
    assert_eq!(families.end_all("alice", EndCause::LoggedOut, None).await.unwrap(), []);
    assert!(refresh(&families, &bob.refresh_token).await.is_ok());
    let page = families.page(None).await.unwrap();
    assert_eq!((page.sessions.len(), page.sessions[0].subject.as_str()), (1, "bob"));
}

#[tokio::test]
async fn one_login_too_many_ends_the_one_that_was_not_used_for_longest() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let settings =
        RefreshTokensSection { logins_per_subject: Bounded(3), ..RefreshTokensSection::default() };
    let families = stand.sidecar_over(Arc::clone(&stand.store), settings).await;
    let mut begun = Vec::new();
    for _ in 0..3 {
        begun.push(families.begin(alice()).await.unwrap());
        stand.clock.advance(10);
    }
    let used = next_token(&refresh(&families, &begun[0].refresh_token).await.unwrap());
    let fourth = families.begin(alice()).await.unwrap();
    assert_eq!(refused(refresh(&families, &begun[1].refresh_token).await), Refusal::Ended);
    assert!(is_revoked(&stand, &begun[1].family.id).await);
    for token in [&used, &*begun[2].refresh_token, &*fourth.refresh_token] {
        assert!(refresh(&families, token).await.is_ok());
    }
}

#[tokio::test]
async fn the_id_of_a_family_finds_nothing_else_in_the_table() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let families = stand.sidecar().await;
    families.begin(alice()).await.unwrap();
    for id in ["subject:alice", "", "alice", "AAAAAAAAAAAAAAAA"] {
        assert_eq!(families.family(id).await.unwrap(), None, "{id}");
        assert_eq!(families.end(id, EndCause::Administrator, None).await.unwrap(), None, "{id}");
    }
    assert_eq!(families.page(None).await.unwrap().sessions.len(), 1);
}

/// Many at once at two sidecars: one uses the token, all get its answer.
pub(super) async fn of_many_that_refresh_at_once_all_get_one_answer(stand: &Stand) {
    let sidecars = [Arc::new(stand.sidecar().await), Arc::new(stand.sidecar().await)];
    let mut token = sidecars[0].begin(alice()).await.unwrap().refresh_token.to_string();
    for _ in 0..3 {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..40 {
            let (families, token) = (Arc::clone(&sidecars[number % 2]), token.clone());
            tasks.spawn(async move { refresh(&families, &token).await.unwrap() });
        }
        let answers = tasks.join_all().await;
        assert_eq!(answers.iter().filter(|it| !it.repeated).count(), 1);
        assert!(answers.iter().all(|it| it.answer == answers[0].answer));
        token = next_token(&answers[0]);
    }
}

/// Fifty logins of one subject at once keep its list.
pub(super) async fn logins_at_once_are_all_listed(stand: &Stand) {
    let sidecars = [Arc::new(stand.sidecar().await), Arc::new(stand.sidecar().await)];
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..50 {
        let families = Arc::clone(&sidecars[number % 2]);
        let new = NewFamily { subject: "carol".to_owned(), ..alice() };
        tasks.spawn(async move { families.begin(new).await.unwrap() });
    }
    tasks.join_all().await;
    assert_eq!(sidecars[0].of_subject("carol").await.unwrap().len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn races_have_one_outcome_on_the_embedded_store() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    of_many_that_refresh_at_once_all_get_one_answer(&stand).await;
    logins_at_once_are_all_listed(&stand).await;
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_and_no_refusal() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path());
    let cutting = Arc::new(cutting::Cutting::new(Arc::clone(&stand.store)));
    let settings = RefreshTokensSection::default();
    let store: Arc<dyn Store> = Arc::clone(&cutting) as Arc<dyn Store>;
    let families = stand.sidecar_over(store, settings).await;
    let begun = families.begin(alice()).await.unwrap();
    cutting.next(cutting::Fault::FailAfter);
    let outcome = refresh(&families, &begun.refresh_token).await;
    assert!(matches!(outcome, Err(RefreshError::Store(StoreError::Failed(_)))));
    // It was used all the same: asked again, the answer is there.
    assert!(refresh(&families, &begun.refresh_token).await.unwrap().repeated);
}
