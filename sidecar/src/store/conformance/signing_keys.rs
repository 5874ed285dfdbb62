//! The signing keys of sidecars on one store.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use wardgate_core::config::{At, Problems, Read as _};
use wardgate_core::time::UnixSeconds;

use super::Two;
use crate::clock::Clock;
use crate::config::IssuerSection;
use crate::desk::{Desk, RotateSigningKeys, TokenRequest};
use crate::keys::RETIRED_SECONDS;
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::records::signing_keys;
use crate::store::{LogPage, Store, Table};

const DAY: u64 = 86_400;
const ISSUER: &str = "https://auth.example.com";

/// Sidecars with the same configuration and the same time.
struct Sidecars {
    store_keys: StoreKeys,
    clock: Clock,
}

impl Sidecars {
    fn new() -> Self {
        let store_keys = StoreKeys::generate(Random::system()).unwrap();
        let store_keys = StoreKeys::parse(&store_keys).unwrap();
        Self { store_keys, clock: Clock::manual(Clock::system().now()) }
    }

    async fn open(&self, store: Arc<dyn Store>) -> Desk {
        let section = json!({"issuer": ISSUER, "audiences": ["api"], "algorithms": ["ES256"]});
        let issuer = IssuerSection::read(&section, &At::ROOT, &mut Problems::new()).unwrap();
        let clock = self.clock.clone();
        Desk::open(store, &self.store_keys, issuer, clock, Random::system()).await.unwrap()
    }

    /// One sidecar on each side.
    async fn both(&self, two: &Two) -> [Arc<Desk>; 2] {
        let one = self.open(Arc::clone(&two.one)).await;
        [Arc::new(one), Arc::new(self.open(Arc::clone(&two.other)).await)]
    }
}

fn token(desk: &Desk) -> String {
    let asked = TokenRequest { subject: "alice".to_owned(), ..TokenRequest::default() };
    desk.issue_token(asked).unwrap().access_token
}

fn kids(set: &Map<String, Value>) -> Vec<&str> {
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect()
}

pub(in crate::store) async fn two_that_start_at_once_have_the_same_keys(two: &Two) {
    let sidecars = Arc::new(Sidecars::new());
    let sets = two.at_once(8, |_, store| {
        let sidecars = Arc::clone(&sidecars);
        async move { sidecars.open(store).await.own_key_set().jwks }
    });
    let sets = sets.await;
    assert!(sets.iter().all(|other| other == &sets[0] && kids(other).len() == 1), "{sets:?}");
    assert_eq!(signing_keys::all(&*two.other).await.unwrap().len(), 1);
}

pub(in crate::store) async fn of_many_that_look_after_a_key_at_once_one_makes_the_next(two: &Two) {
    let sidecars = Sidecars::new();
    let desks = sidecars.both(two).await;
    sidecars.clock.advance(90 * DAY);
    let head = two.one.log_head().await.unwrap();
    let made = two.at_once(8, |number, _| {
        let desk = Arc::clone(&desks[number % 2]);
        async move { desk.keep_signing_keys().await.unwrap().len() }
    });
    assert_eq!(made.await.into_iter().sum::<usize>(), 1);
    let LogPage::Entries { entries } = two.other.log_after(head, 100).await.unwrap() else {
        panic!("the log has its head");
    };
    assert_eq!(entries.len(), 1, "filters hear of it once");
    for desk in &desks {
        desk.refresh_signing_keys().await.unwrap();
    }
    assert_eq!(desks[0].own_key_set().jwks, desks[1].own_key_set().jwks);
    // Both sign with the same one, before and after it begins, and know the tokens of each other.
    for seconds in [0, 3600] {
        sidecars.clock.advance(seconds);
        for (one, other) in [(&desks[0], &desks[1]), (&desks[1], &desks[0])] {
            let verified = other.verify_own_token(&token(one)).unwrap();
            let set = other.own_key_set().jwks;
            let expected = kids(&set)[usize::from(seconds > 0)];
            assert_eq!(verified.key_id(), Some(expected));
        }
    }
    sidecars.clock.advance(RETIRED_SECONDS);
    let removed = two.at_once(8, |number, _| {
        let desk = Arc::clone(&desks[number % 2]);
        async move { desk.keep_signing_keys().await.unwrap().len() }
    });
    assert_eq!(removed.await.into_iter().sum::<usize>(), 1);
    assert_eq!(signing_keys::all(&*two.other).await.unwrap().len(), 1);
}

pub(in crate::store) async fn of_many_that_rotate_at_the_same_time_one_makes_the_next(two: &Two) {
    let sidecars = Sidecars::new();
    let desks = sidecars.both(two).await;
    for (at_once, expected) in [(false, 2), (true, 3)] {
        let rotated = two.at_once(8, |number, _| {
            let desk = Arc::clone(&desks[number % 2]);
            let asked = RotateSigningKeys { at_once, ..RotateSigningKeys::default() };
            async move { desk.rotate_signing_keys(&asked).await.unwrap() }
        });
        let rotated = rotated.await;
        if !at_once {
            let made: usize = rotated.iter().map(|it| it.made.len()).sum();
            let waiting: usize = rotated.iter().map(|it| it.waiting.len()).sum();
            assert_eq!((made, waiting), (1, 7));
        }
        let keys = signing_keys::all(&*two.other).await.unwrap();
        assert!(keys.len() >= expected, "{}", keys.len());
        let signing = keys.iter().filter(|key| key.retires_at.is_none()).count();
        assert_eq!(signing, 1, "the chain has one end");
    }
}

pub(in crate::store) async fn a_stolen_key_is_replaced_and_revoked_in_one_step(two: &Two) {
    let sidecars = Sidecars::new();
    let [one, other] = sidecars.both(two).await;
    let stolen = token(&one);
    let head = two.one.log_head().await.unwrap();
    let asked = RotateSigningKeys { at_once: true, revoke_old: true, ..Default::default() };
    let rotated = one.rotate_signing_keys(&asked).await.unwrap();
    assert_eq!((rotated.made.len(), rotated.revoked.len()), (1, 1));
    let LogPage::Entries { entries } = two.other.log_after(head, 100).await.unwrap() else {
        panic!("the log has its head");
    };
    assert_eq!(entries.len(), 2, "the settings and the revocation");
    let until = UnixSeconds(rotated.revoked[0].stored.until);
    assert_eq!(until, sidecars.clock.now().plus(RETIRED_SECONDS));
    let id = &rotated.revoked[0].id;
    assert!(two.other.get(Table::Revocations, id).await.unwrap().is_some());
    other.refresh_signing_keys().await.unwrap();
    for desk in [&one, &other] {
        assert!(desk.verify_own_token(&stolen).is_err());
        assert!(desk.verify_own_token(&token(&one)).is_ok());
        assert_eq!(kids(&desk.signing_keys().jwks(sidecars.clock.now())).len(), 1);
        assert_eq!(kids(&desk.own_key_set().jwks).len(), 2, "filters say why");
    }
}
