use super::{GOOD, World, user};
use crate::accounts::{AccountError, ImportUser, ImportUsers, ImportedUsers, Password};

const HASH: &str = "$2b$04$390m5BG5TQKrq4ByMCzrW.ogPuoe/DsnAalhsEMg2BKo91GnuXRea";

fn one(name: &str, id: Option<&str>, hash: &str) -> ImportUser {
    ImportUser {
        name: name.to_owned(),
        id: id.map(str::to_owned),
        password_hash: Some(Password::new(hash.to_owned())),
        ..ImportUser::default()
    }
}

async fn import(world: &World, users: Vec<ImportUser>) -> ImportedUsers {
    world
        .accounts
        .import(ImportUsers { users, check: false, by: Some("a test".to_owned()) })
        .await
        .unwrap()
}

fn counts(done: &ImportedUsers) -> (u64, u64, usize) {
    (done.imported, done.unchanged, done.problems.len())
}

#[tokio::test]
async fn users_come_in_with_their_hashes_and_an_import_may_be_repeated() {
    let world = World::new().await;
    let users: Vec<_> = (0..500).map(|n| one(&format!("user{n}"), None, HASH)).collect();
    let check = ImportUsers { users: users.clone(), check: true, by: None };
    assert_eq!(counts(&world.accounts.import(check).await.unwrap()), (500, 0, 0));
    assert!(world.accounts.show("user0").await.is_err(), "it was looked at only");
    assert_eq!(counts(&import(&world, users.clone()).await), (500, 0, 0));
    assert_eq!(world.try_from("USER499", GOOD, "192.0.2.1").await, "in");
    let mut more = users[400..].to_vec();
    more.push(one("another", Some("42"), HASH));
    assert_eq!(counts(&import(&world, more).await), (1, 100, 0));
    assert_eq!(world.accounts.user("42").await.unwrap().unwrap().name, "another");
    assert!(world.accounts.user("42").await.unwrap().unwrap().imported);
    let many = (0..501).map(|n| one(&format!("u{n}"), None, HASH)).collect();
    let many = ImportUsers { users: many, check: true, by: None };
    let many = world.accounts.import(many).await;
    assert!(matches!(many, Err(AccountError::Invalid(_))));
}

#[tokio::test]
async fn of_a_batch_with_a_problem_nothing_is_imported_and_all_problems_are_named() {
    let world = World::new().await;
    world.alice().await;
    import(&world, vec![one("carol", Some("c1"), HASH)]).await;
    let dear = "$argon2id$v=19$m=4194304,t=9,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let users = vec![
        one("good", None, HASH),
        one("Alice", None, HASH),
        one("bad name", Some("bad id"), "hunter2"),
        one("dear", None, dear),
        one("same", Some("s"), HASH),
        one("SAME", None, HASH),
        one("other", Some("s"), HASH),
        one("carol", Some("c2"), HASH),
        one("dave", Some("alice"), HASH),
        one("s", None, HASH),
    ];
    let done = import(&world, users).await;
    let problems: Vec<_> = done.problems.iter().map(|it| (it.index, it.problem.as_str())).collect();
    let pieces = [
        (1, "the id of another user of the batch"),
        (1, "another user has this name"),
        (2, "`name` has something else"),
        (2, "`id` is not"),
        (2, "`password_hash`: the hash is of no kind"),
        (3, "`password_hash`: the hash costs too much"),
        (5, "stands twice"),
        (6, "stands twice"),
        (7, "another user has this name"),
        (8, "has this id"),
        (9, "the id of another user of the batch"),
    ];
    assert_eq!(problems.len(), pieces.len(), "{problems:?}");
    for ((index, problem), (at, piece)) in problems.iter().zip(pieces) {
        assert!(*index == at && problem.contains(piece), "{index} {problem}: {at} {piece}");
        assert!(!problem.contains("hunter2"));
    }
    assert_eq!(done.imported, 0);
    assert!(world.accounts.show("good").await.is_err());
}

#[tokio::test]
async fn a_user_who_was_made_here_is_no_imported_one() {
    let world = World::new().await;
    world.accounts.create(user("alice")).await.unwrap();
    let done = import(&world, vec![one("alice", None, HASH)]).await;
    assert_eq!(counts(&done), (0, 0, 1));
    let none = ImportUser { name: "bob".to_owned(), ..ImportUser::default() };
    assert_eq!(counts(&import(&world, vec![none]).await), (1, 0, 0));
    assert_eq!(world.try_from("bob", GOOD, "192.0.2.1").await, "wrong", "there is no password");
}

#[tokio::test]
async fn an_import_is_one_event_of_the_audit_log_and_one_that_changes_nothing_is_none() {
    let world = World::new().await;
    let users: Vec<_> = (0..5).map(|n| one(&format!("user{n}"), None, HASH)).collect();
    let check = ImportUsers { users: users.clone(), check: true, by: None };
    world.accounts.import(check).await.unwrap();
    import(&world, users[..3].to_vec()).await;
    import(&world, users.clone()).await;
    import(&world, users).await;
    import(&world, vec![one("bad name", None, HASH)]).await;
    let events = world.events();
    let said: Vec<_> = events
        .iter()
        .map(|event| {
            assert_eq!(event["decision"], "users-imported");
            assert_eq!((&event["by"], &event["issuer"]), (&"a test".into(), &super::ISSUER.into()));
            (event["imported"].as_u64(), event["unchanged"].as_u64())
        })
        .collect();
    assert_eq!(said, [(Some(3), Some(0)), (Some(2), Some(3))]);
    assert!(!format!("{events:?}").contains(HASH));
    let long = ImportUsers { users: Vec::new(), check: false, by: Some("x".repeat(1025)) };
    assert!(matches!(world.accounts.import(long).await, Err(AccountError::Invalid(_))));
}
