use std::sync::Arc;

use super::{BETTER, GOOD, NOW, SMALL, World, attempt, settings, user, word};
use crate::accounts::{
    AccountSettings, CreateUser, HashParameters, ImportUser, ImportUsers, LoginError, Password,
    PasswordRules,
};
use crate::store::Table;
use crate::store::records::users;

/// A hash of GOOD as passlib makes it, of little cost.
const BCRYPT: &str = "$2b$04$390m5BG5TQKrq4ByMCzrW.ogPuoe/DsnAalhsEMg2BKo91GnuXRea";

async fn import(world: &World, name: &str, hash: &str) {
    let one = ImportUser {
        name: name.to_owned(),
        password_hash: Some(Password::new(hash.to_owned())),
        ..ImportUser::default()
    };
    let batch = ImportUsers { users: vec![one], check: false, by: None };
    let done = world.accounts.import(batch).await.unwrap();
    assert_eq!((done.imported, done.problems), (1, vec![]));
}

#[tokio::test]
async fn whoever_knows_the_password_is_in_by_any_spelling_of_the_name() {
    let world = World::new().await;
    let alice = world.alice().await;
    for name in ["alice", "Alice", "ＡＬＩＣＥ"] {
        let user = world.accounts.login(attempt(name, GOOD, "192.0.2.1")).await.unwrap();
        assert_eq!(user, alice);
    }
    for wrong in ["", "correct horse battery stapl", "Correct horse battery staple", BETTER] {
        let world = World::new().await;
        world.alice().await;
        assert_eq!(world.try_from("alice", wrong, "192.0.2.1").await, "wrong", "{wrong}");
    }
}

#[tokio::test]
async fn who_cannot_log_in_costs_the_same_work_and_has_the_same_answer() {
    let world = World::new().await;
    world.alice().await;
    world.accounts.create(CreateUser { disabled: true, ..user("bob") }).await.unwrap();
    world.accounts.create(CreateUser { password: None, ..user("carol") }).await.unwrap();
    let hashes = || world.metrics.accounts.hashes("verify", "argon2id");
    for (number, name) in ["alice", "bob", "carol", "nobody", "no name at all"].iter().enumerate() {
        let before = hashes();
        let text = if *name == "bob" { GOOD } else { BETTER };
        let address = format!("192.0.{number}.1");
        let error = world.accounts.login(attempt(name, text, &address)).await.unwrap_err();
        assert_eq!(error.to_string(), "the name or the password is wrong", "{name}");
        assert_eq!(hashes() - before, 1, "{name}");
    }
    let reasons = ["password-wrong", "user-disabled", "password-missing", "user-unknown"];
    let counts = reasons.map(|reason| world.metrics.accounts.logins(reason));
    assert_eq!(counts, [1, 1, 1, 2]);
}

#[tokio::test]
async fn every_login_is_audited_and_a_name_that_is_nobodys_is_not_in_it() {
    let world = World::new().await;
    let alice = world.alice().await;
    world.try_from("Alice", GOOD, "192.0.2.1").await;
    world.try_from("alice", "a wrong one", "2001:db8::1").await;
    world.try_from("hunter2", "alice", "192.0.2.1").await;
    world.try_from("hunter2", "alice", "192.0.2.1").await;
    let events = world.events();
    let text = format!("{events:?}");
    for secret in [GOOD, "a wrong one", "hunter2"] {
        assert!(!text.contains(secret), "{text}");
    }
    let [_, good, bad, unknown, again] = &events[..] else { panic!("{events:?}") };
    for event in [good, bad] {
        assert_eq!(
            (&event["subject"], &event["user_name"]),
            (&alice.id.clone().into(), &"alice".into())
        );
        assert_eq!((&event["auth"], &event["issuer"]), (&"password".into(), &super::ISSUER.into()));
    }
    assert_eq!(
        (&good["decision"], &good["source_address"]),
        (&"login".into(), &"192.0.2.1".into())
    );
    assert_eq!(
        (&bad["decision"], &bad["reason"]),
        (&"login-failed".into(), &"password-wrong".into())
    );
    assert_eq!(bad["source_address"], "2001:db8::1");
    assert_eq!((&unknown["reason"], unknown.get("subject")), (&"user-unknown".into(), None));
    assert_eq!(unknown["user_name_digest"], again["user_name_digest"]);
}

#[tokio::test]
async fn a_hash_from_elsewhere_lets_in_and_becomes_one_of_ours() {
    let world = World::new().await;
    import(&world, "alice", BCRYPT).await;
    let hashes = |work, kind| world.metrics.accounts.hashes(work, kind);
    assert_eq!(world.try_from("alice", BETTER, "192.0.2.1").await, "wrong");
    assert_eq!((hashes("verify", "bcrypt"), hashes("improve", "argon2id")), (1, 0));
    assert_eq!(world.try_from("alice", GOOD, "192.0.2.1").await, "in");
    assert_eq!((hashes("verify", "bcrypt"), hashes("improve", "argon2id")), (2, 1));
    assert_eq!(world.try_from("alice", GOOD, "192.0.2.1").await, "in");
    assert_eq!((hashes("verify", "argon2id"), hashes("improve", "argon2id")), (1, 1));
    let set_at = world.accounts.show("alice").await.unwrap().password.unwrap().set_at;
    assert_eq!(set_at, NOW.0, "it is the same password");
}

#[tokio::test]
async fn a_hash_is_made_anew_when_the_parameters_rise() {
    let world = World::new().await;
    world.alice().await;
    let parameters = HashParameters::Argon2id { memory_kib: 128, passes: 1, lanes: 1 };
    let risen = world.again(AccountSettings { parameters, ..settings() }).await;
    for (accounts, expected) in [(&risen, 1), (&risen, 1), (&world.accounts, 1)] {
        accounts.login(attempt("alice", GOOD, "192.0.2.1")).await.unwrap();
        assert_eq!(world.metrics.accounts.hashes("improve", "argon2id"), expected);
    }
}

#[tokio::test]
async fn bcrypt_by_choice_takes_72_bytes_and_says_so() {
    let rules = PasswordRules { for_bcrypt: true, ..settings().rules };
    let parameters = HashParameters::Bcrypt { cost: 4 };
    let world = World::with(AccountSettings { parameters, rules, ..settings() }).await;
    let with = |name: &str, text: &str| CreateUser {
        password: Some(Password::new(text.to_owned())),
        ..user(name)
    };
    let long = "correct horse battery staple ".repeat(3);
    world.accounts.create(with("alice", &long[..72])).await.unwrap();
    assert_eq!(world.try_from("alice", &long[..72], "192.0.2.1").await, "in");
    assert_eq!(world.try_from("alice", &long[..71], "192.0.2.1").await, "wrong");
    let error = world.accounts.create(with("bob", &long[..73])).await.unwrap_err();
    assert!(error.to_string().contains("72 bytes"), "{error}");
}

#[tokio::test]
async fn the_hash_of_one_user_is_no_hash_of_another() {
    let world = World::new().await;
    let (alice, bob) = (world.alice().await, world.accounts.create(user("bob")).await.unwrap());
    let of = async |id: &str| users::get(&*world.store, id).await.unwrap().unwrap();
    let (mut moved, from) = (of(&bob.id).await, of(&alice.id).await);
    moved.user.password = from.user.password;
    let value = serde_json::to_vec(&moved.user).unwrap();
    let change = crate::store::Transaction::new().put(Table::Users, &*bob.id, value);
    world.store.commit(change).await.unwrap();
    let error = world.accounts.login(attempt("bob", GOOD, "192.0.2.1")).await.unwrap_err();
    assert!(matches!(error, LoginError::Failed(_)), "{error}");
}

#[tokio::test]
async fn a_flood_of_logins_is_told_to_come_again_and_counts_for_nothing() {
    let world = World::with(AccountSettings { at_once: 1, waiting: 0, ..settings() }).await;
    world.alice().await;
    let held = world.accounts.pool.enter(1).await.unwrap();
    for _ in 0..20 {
        let refused = world.accounts.login(attempt("alice", GOOD, "192.0.2.1")).await;
        assert!(matches!(refused, Err(LoginError::Busy { retry_after_seconds: 1.. })));
    }
    assert_eq!(world.metrics.accounts.logins("busy"), 20);
    drop(held);
    assert_eq!(world.try_from("alice", GOOD, "192.0.2.1").await, "in");
}

#[tokio::test]
async fn what_is_no_password_costs_no_hash() {
    let world = World::new().await;
    world.alice().await;
    let before = world.metrics.accounts.hashes("verify", "argon2id");
    for (name, text) in [
        ("alice", String::new()),
        ("alice", "x".repeat(1025)),
        (&*"a".repeat(2000), GOOD.to_owned()),
    ] {
        assert_eq!(world.try_from(name, &text, "192.0.2.1").await, "wrong");
    }
    assert_eq!(world.metrics.accounts.hashes("verify", "argon2id"), before);
}

#[tokio::test]
async fn a_login_with_a_password_that_was_changed_meanwhile_fails() {
    let world = World::new().await;
    let alice = world.alice().await;
    let stale = users::get(&*world.store, &alice.id).await.unwrap().unwrap().user;
    let judged = async |right| {
        let (_, outcome) = world.accounts.judged(Some(stale.clone()), None, right).await.unwrap();
        format!("{outcome:?}")
    };
    assert_eq!(
        (judged(true).await, judged(false).await),
        ("Success".into(), "PasswordWrong".into())
    );
    // In the same second, so that no time tells.
    world.accounts.set_password("alice", Password::new(BETTER.to_owned())).await.unwrap();
    assert_eq!(judged(true).await, "PasswordWrong");
    world.accounts.disable("alice").await.unwrap();
    assert_eq!(judged(true).await, "UserDisabled");
    world.accounts.delete("alice").await.unwrap();
    assert_eq!(judged(true).await, "UserUnknown");
}

#[tokio::test]
async fn two_logins_at_once_that_hash_anew_are_both_in() {
    let world = Arc::new(World::new().await);
    import(&world, "alice", BCRYPT).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                word(&world.accounts.login(attempt("alice", GOOD, "192.0.2.1")).await)
            })
        })
        .collect();
    for task in tasks {
        let outcome = task.await.unwrap();
        // Those that come while others are being looked at may have to wait.
        assert!(outcome == "in" || outcome.starts_with("wait"), "{outcome}");
    }
    assert_eq!(SMALL.memory_kib(), 64);
}
