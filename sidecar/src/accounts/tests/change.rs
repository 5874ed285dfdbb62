use std::collections::BTreeMap;

use wardgate_core::feed::RevocationTarget;
use wardgate_core::wire::feed::{ChangeKind, LogEntry};

use super::{BETTER, GOOD, ISSUER, NOW, World, attempt, password, user, word};
use crate::accounts::{
    AccountError, ChangePassword, CreateUser, LoginError, UpdateUser, User, UserState,
};
use crate::store::records::{StoredRevocation, social_tokens};
use crate::store::{LogPage, LogPosition, Table, Transaction};

impl World {
    /// The revocation of everything that was issued to a user.
    async fn ended(&self, user: &User) -> Option<StoredRevocation> {
        let (issuer, subject) = (ISSUER.to_owned(), user.id.clone());
        let key = RevocationTarget::Subject { issuer, subject }.fingerprint().text();
        let stands = self.store.get(Table::Revocations, &key).await.unwrap();
        stands.map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    /// How many revocations filters heard of since then.
    async fn heard_since(&self, position: LogPosition) -> usize {
        let LogPage::Entries { entries } = self.store.log_after(position, 100).await.unwrap()
        else {
            panic!("the log has its head");
        };
        let revoked = |bytes: &[u8]| {
            let entry: LogEntry = serde_json::from_slice(bytes).unwrap();
            matches!(entry.kind, ChangeKind::Revoked { .. })
        };
        entries.iter().filter(|(_, bytes)| revoked(bytes)).count()
    }
}

#[tokio::test]
async fn what_is_named_changes_and_the_rest_stays() {
    let world = World::new().await;
    let email = Some("a@example.com".to_owned());
    let metadata = BTreeMap::from([("team".to_owned(), "red".to_owned())]);
    let asked = CreateUser { email, metadata, groups: vec!["x".to_owned()], ..user("alice") };
    let before = world.accounts.create(asked).await.unwrap();
    world.clock.advance(10);
    let change = UpdateUser {
        roles: Some(vec!["editor".to_owned()]),
        email: Some(None),
        metadata: Some(BTreeMap::from([
            ("team".to_owned(), None),
            ("desk".to_owned(), Some("7".to_owned())),
        ])),
        ..UpdateUser::default()
    };
    let after = world.accounts.update("alice", change.clone()).await.unwrap();
    let expected = User {
        roles: vec!["editor".to_owned()],
        email: None,
        metadata: BTreeMap::from([("desk".to_owned(), "7".to_owned())]),
        changed_at: NOW.0 + 10,
        ..before
    };
    assert_eq!(after, expected);
    world.clock.advance(10);
    assert_eq!(world.accounts.update("alice", change).await.unwrap(), expected, "nothing changed");
    assert_eq!(world.ended(&after).await, None, "tokens live on");
    let wrong = UpdateUser { roles: Some(vec![" ".to_owned()]), ..UpdateUser::default() };
    assert!(matches!(world.accounts.update("alice", wrong).await, Err(AccountError::Invalid(_))));
}

#[tokio::test]
async fn a_user_is_renamed_unless_the_name_is_taken() {
    let world = World::new().await;
    let alice = world.alice().await;
    world.accounts.create(user("bob")).await.unwrap();
    let to = |name: &str| UpdateUser { name: Some(name.to_owned()), ..UpdateUser::default() };
    for taken in ["Bob", "BOB"] {
        let error = world.accounts.update("alice", to(taken)).await.unwrap_err();
        assert!(matches!(error, AccountError::NameTaken), "{error}");
    }
    assert_eq!(world.accounts.update("alice", to("ALICE")).await.unwrap().name, "ALICE");
    let renamed = world.accounts.update("alice", to("carol")).await.unwrap();
    assert_eq!((renamed.id.as_str(), renamed.name.as_str()), (alice.id.as_str(), "carol"));
    assert!(matches!(world.accounts.show("alice").await, Err(AccountError::Unknown)));
    assert_eq!(world.try_from("carol", GOOD, "192.0.2.1").await, "in");
    assert!(world.accounts.create(user("alice")).await.is_ok());
}

#[tokio::test]
async fn what_ends_a_user_ends_their_tokens_in_the_same_step() {
    let world = World::new().await;
    let alice = world.alice().await;
    let mut begun = world.store.log_head().await.unwrap();
    for step in 0..4_u64 {
        world.clock.advance(10);
        let now = NOW.0 + (step + 1) * 10;
        match step {
            0 => drop(world.accounts.disable("alice").await.unwrap()),
            1 => drop(world.accounts.log_out("alice").await.unwrap()),
            2 => drop(world.accounts.set_password("alice", password(BETTER)).await.unwrap()),
            _ => world.accounts.delete("alice").await.unwrap(),
        }
        let stands = world.ended(&alice).await.unwrap();
        assert_eq!((stands.issued_until, stands.until), (Some(now), now + 1000), "{step}");
        if step < 3 {
            let user = world.accounts.show("alice").await.unwrap();
            assert_eq!(user.tokens_not_before, Some(now + 1), "{step}");
        }
        assert_eq!(world.heard_since(begun).await, 1, "{step}");
        begun = world.store.log_head().await.unwrap();
    }
    let reasons: Vec<String> =
        world.events().iter().map(|event| event["decision"].as_str().unwrap().to_owned()).collect();
    let expected =
        ["user-created", "user-disabled", "user-logged-out", "user-password-set", "user-deleted"];
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn what_a_deleted_user_had_at_providers_is_gone_with_them() {
    let world = World::new().await;
    let alice = world.alice().await;
    let keep = |user: &str| {
        let key = social_tokens::key(user, "github");
        world.store.commit(Transaction::new().put(Table::SocialTokens, key, "{}"))
    };
    keep(&alice.id).await.unwrap();
    keep("usr_bob").await.unwrap();
    world.accounts.delete("alice").await.unwrap();
    let left = world.store.page(Table::SocialTokens, None).await.unwrap().entries;
    let left: Vec<_> = left.into_iter().map(|entry| entry.key).collect();
    assert_eq!(left, ["usr_bob/github"]);
}

#[tokio::test]
async fn a_disabled_user_comes_back_with_the_same_password() {
    let world = World::new().await;
    world.alice().await;
    assert_eq!(world.accounts.disable("alice").await.unwrap().state, UserState::Disabled);
    assert_eq!(world.try_from("alice", GOOD, "192.0.2.1").await, "wrong");
    assert_eq!(world.accounts.enable("alice").await.unwrap().state, UserState::Active);
    world.clock.advance(1);
    assert_eq!(world.try_from("alice", GOOD, "192.0.2.1").await, "in");
}

#[tokio::test]
async fn a_password_is_changed_by_whoever_knows_the_old_one() {
    let world = World::new().await;
    let alice = world.alice().await;
    let change = |old: &str, new: &str| ChangePassword {
        attempt: attempt("alice", old, "192.0.2.1"),
        new: password(new),
    };
    let wrong = world.accounts.change_password(change("nonsense", BETTER)).await;
    assert_eq!(word(&wrong), "wrong");
    let weak = world.accounts.change_password(change(GOOD, "alice1234")).await;
    assert!(matches!(weak, Err(LoginError::NewPassword(_))), "{weak:?}");
    assert_eq!(world.ended(&alice).await, None);
    world.clock.advance(5);
    world.accounts.change_password(change(GOOD, BETTER)).await.unwrap();
    assert_eq!(world.ended(&alice).await.unwrap().issued_until, Some(NOW.0 + 5));
    world.clock.advance(1);
    assert_eq!(world.try_from("alice", GOOD, "192.0.2.1").await, "wrong");
    assert_eq!(world.try_from("alice", BETTER, "192.0.2.1").await, "in");
}
