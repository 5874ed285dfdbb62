use serde_json::json;
use wardgate_core::feed::RevocationTarget;

use super::{GOOD, NOW, World, password, user};
use crate::accounts::{AccountError, CreateUser, UserFilter, UserState};
use crate::store::{Pages, Table, Transaction};

#[tokio::test]
async fn a_user_is_made_found_and_listed_without_the_password() {
    let world = World::new().await;
    let made = world
        .accounts
        .create(CreateUser { email: Some("a@example.com".to_owned()), ..user("Alice") });
    let made = made.await.unwrap();
    assert!(made.id.starts_with("usr_") && made.id.len() == 26, "{}", made.id);
    assert_eq!((made.name.as_str(), made.state), ("Alice", UserState::Active));
    assert_eq!(made.tokens_not_before, Some(NOW.0));
    for found in ["alice", "ALICE", &made.id] {
        assert_eq!(world.accounts.show(found).await.unwrap(), made);
    }
    assert_eq!(world.accounts.user(&made.id).await.unwrap(), Some(made.clone()));
    assert_eq!(world.accounts.user("alice").await.unwrap(), None, "a name is no id");
    assert!(matches!(world.accounts.show("bob").await, Err(AccountError::Unknown)));
    world.accounts.create(CreateUser { disabled: true, ..user("bob") }).await.unwrap();
    let disabled = UserFilter { state: Some(UserState::Disabled), ..UserFilter::default() };
    let list = world.accounts.list(&disabled).await.unwrap();
    assert_eq!(list.users.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["bob"]);
    let text = serde_json::to_string(&world.accounts.list(&UserFilter::default()).await.unwrap());
    let text = text.unwrap();
    assert!(
        text.contains("set_at") && !text.contains("argon2") && !text.contains("sealed"),
        "{text}"
    );
}

#[tokio::test]
async fn the_store_has_neither_password_nor_hash_in_clear() {
    let world = World::new().await;
    world.alice().await;
    let mut pages = Pages::of(&*world.store, Table::Users);
    let mut seen = 0;
    while let Some(entries) = pages.next().await.unwrap() {
        for entry in entries {
            let text = String::from_utf8(entry.value).unwrap();
            assert!(!text.contains("argon2") && !text.contains(GOOD), "{text}");
            seen += 1;
        }
    }
    assert_eq!(seen, 1);
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let world = World::new().await;
    let wrong = CreateUser {
        name: "al ice".to_owned(),
        id: Some("a b".to_owned()),
        roles: vec!["view er".to_owned()],
        groups: vec![String::new()],
        email: Some("nowhere".to_owned()),
        metadata: [(String::new(), "x".to_owned())].into(),
        password: Some(password("hunter2")),
        disabled: false,
    };
    let Err(AccountError::Invalid(problems)) = world.accounts.create(wrong).await else {
        panic!("it is wrong");
    };
    let named = ["`name`", "`id`", "`roles`", "`groups`", "`email`", "`metadata`"];
    assert_eq!(problems.len(), named.len(), "{problems:?}");
    for (problem, name) in problems.iter().zip(named) {
        assert!(problem.starts_with(name), "{problem}");
    }
    let weak = CreateUser { password: Some(password("alice123")), ..user("alice") };
    let error = world.accounts.create(weak).await.unwrap_err();
    assert!(matches!(error, AccountError::Password(_)), "{error}");
    assert!(!format!("{error} {error:?}").contains("alice123"));
}

#[tokio::test]
async fn no_name_is_the_id_of_another_and_no_user_has_the_id_of_a_client() {
    let world = World::new().await;
    let with_id = |name: &str, id: &str| CreateUser { id: Some(id.to_owned()), ..user(name) };
    world.accounts.create(with_id("alice", "u1")).await.unwrap();
    world.accounts.create(with_id("bob", "bob")).await.unwrap();
    for (asked, name) in [
        (user("ALICE"), true),
        (user("U1"), true),
        (with_id("carol", "u1"), false),
        (with_id("carol", "Alice"), false),
    ] {
        let error = world.accounts.create(asked.clone()).await.unwrap_err();
        let taken = matches!(error, AccountError::NameTaken);
        assert!(
            if name { taken } else { matches!(error, AccountError::IdTaken) },
            "{asked:?} {error}"
        );
    }
    let client = Transaction::new().put(Table::Clients, "service", json!({}).to_string());
    world.store.commit(client).await.unwrap();
    let error = world.accounts.create(with_id("carol", "service")).await.unwrap_err();
    assert!(matches!(error, AccountError::IdTaken), "{error}");
}

#[tokio::test]
async fn a_name_that_was_given_back_may_be_given_again_and_an_id_brings_no_old_tokens() {
    let world = World::new().await;
    let asked = CreateUser { id: Some("u1".to_owned()), ..user("alice") };
    world.accounts.create(asked.clone()).await.unwrap();
    world.clock.advance(100);
    world.accounts.delete("alice").await.unwrap();
    assert!(matches!(world.accounts.delete("alice").await, Err(AccountError::Unknown)));
    let target =
        RevocationTarget::Subject { issuer: super::ISSUER.to_owned(), subject: "u1".to_owned() };
    let stands = world.store.get(Table::Revocations, &target.fingerprint().text()).await.unwrap();
    assert!(stands.is_some());
    world.clock.advance(1);
    let again = world.accounts.create(asked).await.unwrap();
    assert_eq!(again.tokens_not_before, Some(NOW.0 + 101));
}
