//! A client, a thief and two sidecars that die, against a model of what should become of it.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wardgate_core::time::UnixSeconds;

use super::cutting::{Cutting, Fault};
use super::{Outcome, Stand, alice, is_revoked, key, mint, next_token};
use crate::clock::Clock;
use crate::config::{RefreshTokensSection, StoreSettings, store_settings};
use crate::families::{EndCause, Families, NewFamily, Presenter, RefreshError, Refusal};
use crate::random::Random;
use crate::store::redis_servers::Server;
use crate::store::{Embedded, Redis, Store};

/// Seconds of the grace, as the configuration has it by default.
const GRACE: u64 = 10;

/// One thing that happens. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Act {
    /// The client refreshes, at one of the sidecars; its change goes wrong, or the answer is lost on
    /// the way.
    Refresh { sidecar: usize, fault: Fault, is_lost: bool },
    /// The client refreshes some times at once, at both sidecars.
    AtOnce { times: usize },
    /// The thief copies the token that the client has.
    Steal,
    /// The thief uses one of those, with the client's key or another.
    Theft { sidecar: usize, which: usize, has_key: bool, fault: Fault },
    /// Client and thief at once.
    Race { which: usize },
    /// Somebody who knows the id of the family makes up a token.
    Guess,
    /// Seconds go by.
    Wait { seconds: u64 },
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::FailBefore),
        1 => Just(Fault::FailAfter),
        1 => Just(Fault::CutBefore),
        1 => Just(Fault::CutAfter),
    ]
}

/// What happens to a client that nobody steals from.
fn honest() -> impl Strategy<Value = Act> {
    let wait = prop_oneof![0..3_u64, Just(GRACE - 1), Just(GRACE), Just(GRACE + 1)];
    prop_oneof![
        6 => (0..2_usize, fault(), any::<bool>())
            .prop_map(|(sidecar, fault, is_lost)| Act::Refresh { sidecar, fault, is_lost }),
        2 => (2..6_usize).prop_map(|times| Act::AtOnce { times }),
        1 => Just(Act::Guess),
        2 => wait.prop_map(|seconds| Act::Wait { seconds }),
    ]
}

fn anything() -> impl Strategy<Value = Act> {
    let theft = (0..2_usize, any::<usize>(), prop::bool::weighted(0.8), fault());
    prop_oneof![
        8 => honest(),
        2 => Just(Act::Steal),
        1 => theft.prop_map(|(sidecar, which, has_key, fault)| Act::Theft {
            sidecar, which, has_key, fault
        }),
        1 => any::<usize>().prop_map(|which| Act::Race { which }),
    ]
}

/// What should be. Tokens are in the order in which they were handed out.
#[derive(Debug)]
struct Model {
    is_alive: bool,
    tokens: Vec<String>,
    /// Whether the newest token was handed out to nobody: its answer was never heard.
    is_hidden: bool,
    /// When the token before the newest was used.
    used_at: u64,
    /// What it was answered with, if anybody has heard it.
    answer: Option<String>,
}

/// What should come of a token.
#[derive(Debug, Eq, PartialEq)]
enum Expected {
    Rotate,
    Repeat,
    Refuse,
    End,
}

impl Model {
    fn expects(&self, token: &str, has_key: bool, now: u64) -> Expected {
        let place = self.tokens.iter().position(|it| it == token).unwrap();
        let newest = self.tokens.len() - usize::from(!self.is_hidden);
        match newest - place {
            _ if !self.is_alive => Expected::Refuse,
            0 if has_key => Expected::Rotate,
            0 => Expected::Refuse,
            1 if has_key && now - self.used_at < GRACE => Expected::Repeat,
            _ => Expected::End,
        }
    }

    /// The newest token was used.
    fn used(&mut self, now: u64) {
        self.is_hidden = true;
        self.used_at = now;
        self.answer = None;
    }

    /// Somebody heard an answer.
    fn heard(&mut self, answer: &str, token: String) {
        if let Some(before) = &self.answer {
            assert_eq!(before, answer, "another answer than before");
        }
        assert_eq!(self.is_hidden, self.answer.is_none());
        if self.is_hidden {
            assert!(!self.tokens.contains(&token), "a token that was handed out before");
            self.tokens.push(token);
        }
        self.is_hidden = false;
        self.answer = Some(answer.to_owned());
    }
}

struct World<'a> {
    stand: &'a Stand,
    stores: [Arc<Cutting>; 2],
    sidecars: [Families; 2],
    session: String,
    is_bound: bool,
    model: Model,
    /// What the client has.
    token: String,
    /// Whether it knows that this is the newest.
    is_sure: bool,
    stolen: Vec<String>,
}

impl<'a> World<'a> {
    async fn new(stand: &'a Stand, stores: &[Arc<dyn Store>; 2], is_bound: bool) -> Self {
        let cutting = |store: &Arc<dyn Store>| Arc::new(Cutting::new(Arc::clone(store)));
        let stores = [cutting(&stores[0]), cutting(&stores[1])];
        let sidecars = [open(stand, &stores[0]).await, open(stand, &stores[1]).await];
        let binding = is_bound.then(|| key("own"));
        let begun = sidecars[0].begin(NewFamily { binding, ..alice() }).await.unwrap();
        let token = begun.refresh_token.to_string();
        let model = Model {
            is_alive: true,
            tokens: vec![token.clone()],
            is_hidden: false,
            used_at: 0,
            answer: None,
        };
        let session = begun.family.id;
        let stolen = Vec::new();
        Self { stand, stores, sidecars, session, is_bound, model, token, is_sure: true, stolen }
    }

    fn now(&self) -> u64 {
        self.stand.clock.now().0
    }

    fn presenter(&self, has_key: bool) -> Presenter {
        let name = if has_key { "own" } else { "other" };
        Presenter { client_id: "app".to_owned(), shown: self.is_bound.then(|| key(name)) }
    }

    /// Whether a thief has the client's key too: of an unbound family everybody has it.
    fn has_key(&self, has_key: bool) -> bool {
        has_key || !self.is_bound
    }

    /// One use; `None` if the sidecar died, which is then started again.
    async fn present(
        &mut self,
        sidecar: usize,
        token: &str,
        has_key: bool,
        fault: Fault,
    ) -> Option<Outcome> {
        let dead = self.stores[sidecar].next(fault);
        let presenter = self.presenter(has_key);
        let outcome = tokio::select! {
            outcome = self.sidecars[sidecar].refresh(token, &presenter, mint) => Some(outcome),
            () = dead.notified() => None,
        };
        self.stores[sidecar].next(Fault::None);
        if outcome.is_none() {
            self.sidecars[sidecar] = open(self.stand, &self.stores[sidecar]).await;
        }
        outcome
    }

    /// One use, judged by the model; the next token, if it was heard.
    async fn use_token(
        &mut self,
        sidecar: usize,
        token: &str,
        has_key: bool,
        fault: Fault,
    ) -> Option<String> {
        let now = self.now();
        let has_key = self.has_key(has_key);
        let expected = self.model.expects(token, has_key, now);
        let outcome = self.present(sidecar, token, has_key, fault).await;
        // What changes nothing does not fail when changes do.
        let fault = match expected {
            Expected::Rotate | Expected::End => fault,
            Expected::Repeat | Expected::Refuse => Fault::None,
        };
        match expected {
            Expected::Rotate if fault.is_made() => self.model.used(now),
            Expected::End if fault.is_made() => self.model.is_alive = false,
            Expected::Rotate | Expected::End | Expected::Repeat | Expected::Refuse => {}
        }
        match (expected, outcome) {
            (_, None) => assert!(matches!(fault, Fault::CutBefore | Fault::CutAfter)),
            (_, Some(Err(RefreshError::Store(_)))) => {
                assert!(matches!(fault, Fault::FailBefore | Fault::FailAfter));
            }
            (Expected::Refuse, Some(Err(RefreshError::Refused(_)))) => {}
            (Expected::End, Some(Err(RefreshError::Ended(ended)))) => {
                assert!(fault.is_heard());
                assert_eq!(ended.cause, EndCause::Reuse);
            }
            (expected @ (Expected::Rotate | Expected::Repeat), Some(Ok(refreshed))) => {
                assert_eq!(refreshed.repeated, expected == Expected::Repeat);
                let next = next_token(&refreshed);
                self.model.heard(&refreshed.answer, next.clone());
                return Some(next);
            }
            (expected, outcome) => panic!("{expected:?}, but {outcome:?}"),
        }
        None
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Refresh { sidecar, fault, is_lost } => {
                let token = self.token.clone();
                let heard = self.use_token(sidecar, &token, true, fault).await;
                match heard {
                    Some(next) if !is_lost => (self.token, self.is_sure) = (next, true),
                    Some(_) | None => self.is_sure = false,
                }
            }
            Act::AtOnce { times } => self.at_once(times).await,
            Act::Steal => self.stolen.push(self.token.clone()),
            Act::Theft { sidecar, which, has_key, fault } => {
                if let Some(token) = pick(&self.stolen, which) {
                    let heard = self.use_token(sidecar, &token, has_key, fault).await;
                    self.stolen.extend(heard);
                }
            }
            Act::Race { which } => self.race(which).await,
            Act::Guess => {
                let mut guess = self.token.clone().into_bytes();
                guess[40] = if guess[40] == b'A' { b'B' } else { b'A' };
                let guess = String::from_utf8(guess).unwrap();
                let outcome = self.present(0, &guess, true, Fault::None).await;
                let refusal = RefreshError::Refused(Refusal::NotGenuine);
                let refusal: Option<Outcome> = Some(Err(refusal));
                assert_eq!(format!("{outcome:?}"), format!("{refusal:?}"));
            }
            Act::Wait { seconds } => self.stand.clock.advance(seconds),
        }
    }

    /// All of them get one answer, or none gets any.
    async fn at_once(&mut self, times: usize) {
        let (token, now) = (self.token.clone(), self.now());
        let expected = self.model.expects(&token, true, now);
        let presenter = self.presenter(true);
        let uses =
            (0..times).map(|number| self.sidecars[number % 2].refresh(&token, &presenter, mint));
        let outcomes = join_all(uses).await;
        let rotated = outcomes.iter().filter(|it| matches!(it, Ok(it) if !it.repeated)).count();
        assert_eq!(rotated, usize::from(expected == Expected::Rotate));
        match expected {
            Expected::Rotate => self.model.used(now),
            Expected::End => self.model.is_alive = false,
            Expected::Repeat | Expected::Refuse => {}
        }
        for outcome in outcomes {
            match (&expected, outcome) {
                (Expected::Rotate | Expected::Repeat, Ok(refreshed)) => {
                    let next = next_token(&refreshed);
                    self.model.heard(&refreshed.answer, next.clone());
                    (self.token, self.is_sure) = (next, true);
                }
                (Expected::Refuse | Expected::End, Err(RefreshError::Refused(_)))
                | (Expected::End, Err(RefreshError::Ended(_))) => self.is_sure = false,
                (expected, outcome) => panic!("{expected:?}, but {outcome:?}"),
            }
        }
    }

    /// Whoever comes first: the thief has what the client has and both get one answer, or the thief
    /// has an older one and the family ends.
    async fn race(&mut self, which: usize) {
        let Some(stolen) = pick(&self.stolen, which) else { return };
        let (token, now) = (self.token.clone(), self.now());
        let honest = self.model.expects(&token, true, now);
        let thief = self.model.expects(&stolen, true, now);
        let presenter = self.presenter(true);
        let (one, other) = tokio::join!(
            self.sidecars[0].refresh(&token, &presenter, mint),
            self.sidecars[1].refresh(&stolen, &presenter, mint),
        );
        let is_rotated = [&one, &other].into_iter().any(|it| matches!(it, Ok(it) if !it.repeated));
        if is_rotated {
            self.model.used(now);
        }
        for (outcome, is_honest) in [(one, true), (other, false)] {
            match outcome {
                Ok(refreshed) => {
                    let next = next_token(&refreshed);
                    // The other may have used it meanwhile.
                    if !self.model.tokens.contains(&next) {
                        self.model.heard(&refreshed.answer, next.clone());
                    }
                    if is_honest {
                        (self.token, self.is_sure) = (next, true);
                    } else {
                        self.stolen.push(next);
                    }
                }
                Err(RefreshError::Ended(_)) => self.model.is_alive = false,
                Err(RefreshError::Refused(_)) => self.is_sure &= !is_honest,
                Err(error) => panic!("{error:?}"),
            }
        }
        if honest == Expected::End || thief == Expected::End {
            assert!(!self.model.is_alive, "{honest:?} {thief:?}");
        }
        if stolen == token && self.model.is_alive {
            assert!(matches!(honest, Expected::Rotate | Expected::Repeat));
            assert_eq!(self.stolen.last(), Some(&self.token), "one branch");
        }
    }

    /// What must be so at any time.
    async fn check(&self) {
        let mut alive = Vec::new();
        for token in &self.model.tokens {
            if self.sidecars[0].look(token).await.unwrap().is_some() {
                alive.push(token);
            }
        }
        let newest = self.model.tokens.last().filter(|_| self.model.is_alive);
        let expected: Vec<_> = newest.into_iter().filter(|_| !self.model.is_hidden).collect();
        assert_eq!(alive, expected, "one live branch");
        assert_eq!(is_revoked(self.stand, &self.session).await, !self.model.is_alive);
    }

    /// The client asks until it has an answer.
    async fn settle(&mut self) {
        while !self.is_sure {
            self.act(Act::Refresh { sidecar: 0, fault: Fault::None, is_lost: false }).await;
            assert!(self.model.is_alive && self.is_sure, "an honest client is out");
        }
    }
}

async fn open(stand: &Stand, store: &Arc<Cutting>) -> Families {
    let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
    stand.sidecar_over(store, RefreshTokensSection::default()).await
}

fn pick(tokens: &[String], which: usize) -> Option<String> {
    tokens.get(which.checked_rem(tokens.len())?).cloned()
}

/// At once, on one thread: they meet at each step.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|it| (Box::pin(it), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut futures {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        let all = futures.iter().all(|(_, output)| output.is_some());
        if all { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}

/// How many cases; a long run asks for more.
fn cases() -> u32 {
    let asked = std::env::var("WARDGATE_MODEL_CASES").ok();
    asked.map_or(24, |text| text.parse().expect("WARDGATE_MODEL_CASES is a number"))
}

fn run(stand: &Stand, stores: &[Arc<dyn Store>; 2], runtime: &tokio::runtime::Runtime) {
    let config = || Config {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    TestRunner::new(config())
        .run(&(any::<bool>(), vec(honest(), 1..24)), |(is_bound, acts)| {
            runtime.block_on(async {
                let mut world = World::new(stand, stores, is_bound).await;
                for act in acts {
                    // A client that retries only within the grace does so before it waits.
                    if matches!(act, Act::Wait { .. }) {
                        world.settle().await;
                    }
                    world.act(act).await;
                    world.check().await;
                    assert!(world.model.is_alive, "an honest client is out");
                }
                world.settle().await;
                world.check().await;
            });
            Ok(())
        })
        .unwrap();
    TestRunner::new(config())
        .run(&(any::<bool>(), vec(anything(), 1..32)), |(is_bound, acts)| {
            runtime.block_on(async {
                let mut world = World::new(stand, stores, is_bound).await;
                for act in acts {
                    world.act(act).await;
                    world.check().await;
                }
            });
            Ok(())
        })
        .unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn the_embedded_store_does_what_the_model_says() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(UnixSeconds(1_000_000));
    let path = directory.path().join("store.redb");
    let store = Embedded::open_with(&path, clock.clone(), Random::system()).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let stand = Stand::new(Arc::clone(&store), clock);
    run(&stand, &[Arc::clone(&store), store], &runtime());
}

#[test]
fn a_redis_does_what_the_model_says() {
    let server = Server::start(&[]);
    let runtime = runtime();
    let store = || {
        let section = serde_json::json!({"store": {"redis": {"urls": [server.url()]}}});
        let root = std::path::Path::new("/");
        let settings = store_settings(&section, root, &mut wardgate_core::config::Problems::new());
        let Some(StoreSettings::Redis(settings)) = settings else { panic!("{section}") };
        let opened = runtime.block_on(Redis::open(&settings, Random::system()));
        Arc::new(opened.unwrap()) as Arc<dyn Store>
    };
    let stores = [store(), store()];
    // The server removes entries by its own clock, so the steered one begins there.
    let clock = Clock::manual(Clock::system().now());
    let stand = Stand::new(Arc::clone(&stores[0]), clock);
    run(&stand, &stores, &runtime);
    runtime.block_on(super::of_many_that_refresh_at_once_all_get_one_answer(&stand));
    runtime.block_on(super::logins_at_once_are_all_listed(&stand));
}
