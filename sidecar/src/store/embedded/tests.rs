use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{ReadableTableMetadata as _, TableDefinition};
use wardgate_core::time::UnixSeconds;

use super::Embedded;
use super::layout::NUMBERS;
use crate::clock::Clock;
use crate::random::Random;
use crate::store::conformance::{Two, api_key, known, store_tests};
use crate::store::records::api_keys;
use crate::store::{LogPage, Store as _, StoreError, Table, Transaction};

fn new() -> (tempfile::TempDir, Embedded) {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(&directory.path().join("store.redb")).unwrap();
    (directory, store)
}

fn two() -> (tempfile::TempDir, Two) {
    let (directory, store) = new();
    // One process has the file: the two are tasks in it.
    let (one, other) = (Arc::new(store.clone()), Arc::new(store));
    (directory, Two { one, other })
}

store_tests!(two());

/// A closed store with some keys.
async fn filled() -> (tempfile::TempDir, PathBuf) {
    let (directory, store) = new();
    for number in 0..200 {
        let key = api_key(&format!("id{number}"), &format!("name{number}"));
        api_keys::insert(&store, &key).await.unwrap();
    }
    let path = directory.path().join("store.redb");
    (directory, path)
}

#[track_caller]
fn refused_and_untouched(path: &Path, expected: &str) {
    let before = fs::read(path).unwrap();
    let error = Embedded::open(path).expect_err("opened").to_string();
    assert!(error.contains(expected), "{error}");
    assert!(fs::read(path).unwrap() == before, "the file was changed; {error}");
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let (_directory, path) = filled().await;
    let store = Embedded::open(&path).unwrap();
    assert_eq!(api_keys::all(&store).await.unwrap().len(), 200);
}

#[tokio::test]
async fn a_second_opening_is_refused() {
    let (directory, _store) = new();
    let error = Embedded::open(&directory.path().join("store.redb")).expect_err("opened");
    assert!(error.is_in_use());
    assert!(error.to_string().contains("in use by another process"), "{error}");
}

#[tokio::test]
async fn a_cut_file_is_refused_and_left_alone() {
    let (_directory, path) = filled().await;
    let length = fs::metadata(&path).unwrap().len();
    for part in [10, 300, 4096, length / 4, length / 2, length - 4096, length - 1] {
        let cut = path.with_extension(format!("cut{part}"));
        let bytes = fs::read(&path).unwrap();
        fs::write(&cut, &bytes[..usize::try_from(part).unwrap()]).unwrap();
        refused_and_untouched(&cut, "the store ");
    }
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    fs::write(&path, "shopping list\n".repeat(1000)).unwrap();
    refused_and_untouched(&path, "is not a store");
}

#[tokio::test]
async fn a_file_of_a_newer_format_is_refused_and_left_alone() {
    let (_directory, path) = filled().await;
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(NUMBERS).unwrap().insert("format", 3).unwrap();
    transaction.commit().unwrap();
    drop(database);
    refused_and_untouched(&path, "has format 3, this version knows 2");
}

#[tokio::test]
async fn damage_in_a_page_never_panics_and_is_never_trusted_silently() {
    let (_directory, path) = filled().await;
    let good = fs::read(&path).unwrap();
    for page in (0..good.len()).step_by(4096) {
        let mut bytes = good.clone();
        for byte in &mut bytes[page..page + 64] {
            *byte ^= 0xff;
        }
        let damaged = path.with_extension("damaged");
        fs::write(&damaged, &bytes).unwrap();
        // A free page may be damaged without harm; then everything must still be there.
        if let Ok(store) = Embedded::open(&damaged) {
            assert_eq!(api_keys::all(&store).await.unwrap().len(), 200, "page {page}");
        }
    }
}

/// A file as the release before made it.
fn file_of_format_1(path: &Path) {
    let database = redb::Database::create(path).unwrap();
    let file = database.begin_write().unwrap();
    {
        let bytes = |name| -> TableDefinition<'static, &str, &[u8]> { TableDefinition::new(name) };
        let names: TableDefinition<'_, &str, &str> = TableDefinition::new("api_key_names");
        let mut numbers = file.open_table(NUMBERS).unwrap();
        numbers.insert("format", 1).unwrap();
        numbers.insert("api_key_revision", 77).unwrap();
        let mut keys = file.open_table(bytes("api_keys")).unwrap();
        let mut names = file.open_table(names).unwrap();
        for number in 0..1500 {
            let (id, name) = (format!("id{number}"), format!("name{number}"));
            let record = serde_json::to_vec(&api_key(&id, &name)).unwrap();
            keys.insert(id.as_str(), record.as_slice()).unwrap();
            names.insert(name.as_str(), id.as_str()).unwrap();
        }
        let mut secrets = file.open_table(bytes("secrets")).unwrap();
        secrets.insert("api_key_digest_key", b"\"sealed\"".as_slice()).unwrap();
        file.open_table(bytes("signing_keys")).unwrap();
    }
    file.commit().unwrap();
}

#[tokio::test]
async fn a_file_of_the_release_before_opens_with_everything_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    file_of_format_1(&path);
    let mut links = Vec::new();
    for _ in 0..2 {
        let store = Embedded::open(&path).unwrap();
        assert_eq!(api_keys::all(&store).await.unwrap().len(), 1500);
        let id = api_keys::id_of_name(&store, "name7").await.unwrap();
        assert_eq!(id.as_deref(), Some("id7"));
        let secret = store.get(Table::Secrets, "api_key_digest_key").await.unwrap();
        assert_eq!(secret.as_deref(), Some(&b"\"sealed\""[..]));
        assert_eq!(store.log_head().await.unwrap().sequence, 77);
        links.push(store.log_head().await.unwrap().link);
    }
    assert_eq!(links[0], links[1]);
    let store = Embedded::open(&path).unwrap();
    let key = api_key("new", "name7");
    let refused = api_keys::insert(&store, &key).await;
    assert!(matches!(refused, Err(StoreError::NameTaken)), "{refused:?}");
    drop(store);
    // Nothing of the format before is left to be taken for something.
    let database = redb::Database::open(&path).unwrap();
    let file = redb::ReadableDatabase::begin_read(&database).unwrap();
    assert_eq!(file.open_table(NUMBERS).unwrap().len().unwrap(), 1);
}

#[tokio::test]
async fn a_copy_that_is_put_back_does_not_know_what_came_after_it() {
    let (directory, store) = new();
    let path = directory.path().join("store.redb");
    let before = store.commit(Transaction::new().append("before")).await.unwrap();
    drop(store);
    fs::copy(&path, path.with_extension("copy")).unwrap();
    let after = {
        let store = Embedded::open(&path).unwrap();
        store.commit(Transaction::new().append("after")).await.unwrap()
    };
    fs::copy(path.with_extension("copy"), &path).unwrap();
    let store = Embedded::open(&path).unwrap();
    assert_eq!(store.log_after(after, 9).await.unwrap(), LogPage::Unknown);
    assert!(known(store.log_after(before, 9).await.unwrap()).is_empty());
    // Not even when the same is done again: what stood beside it may have been something else.
    let again = store.commit(Transaction::new().append("after")).await.unwrap();
    assert_eq!(again.sequence, after.sequence);
    assert_eq!(store.log_after(after, 9).await.unwrap(), LogPage::Unknown);
    assert_eq!(known(store.log_after(before, 9).await.unwrap()).len(), 1);
}

#[tokio::test]
async fn entries_end_by_the_clock_of_the_sidecar() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(UnixSeconds(1000));
    let path = directory.path().join("store.redb");
    let store = Embedded::open_with(&path, clock.clone(), Random::system()).unwrap();
    let put = Transaction::new().put_until(Table::Usage, "k", "v", Some(UnixSeconds(1010)));
    store.commit(put).await.unwrap();
    clock.advance(9);
    assert!(store.get(Table::Usage, "k").await.unwrap().is_some());
    clock.advance(1);
    assert!(store.get(Table::Usage, "k").await.unwrap().is_none());
}

#[tokio::test]
async fn a_change_whose_maker_went_away_is_made_before_the_next_one_or_not_at_all() {
    let (_directory, store) = new();
    for number in 0..50 {
        let gone = store.commit(Transaction::new().add(Table::Usage, "gone", 1, None));
        // Polled once or not, then dropped.
        let _ = tokio::time::timeout(std::time::Duration::ZERO, gone).await;
        store.commit(Transaction::new().add(Table::Usage, "there", 1, None)).await.unwrap();
        let there = store.get(Table::Usage, "there").await.unwrap().unwrap();
        assert_eq!(there, (number + 1).to_string().into_bytes());
    }
    let settled = store.get(Table::Usage, "gone").await.unwrap();
    for _ in 0..10 {
        store.commit(Transaction::new().put(Table::Roles, "r", "v")).await.unwrap();
    }
    assert_eq!(store.get(Table::Usage, "gone").await.unwrap(), settled);
}
