use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Embedded, NUMBERS};
use crate::store::Store as _;
use crate::store::conformance::{Two, api_key, store_tests};

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
        store
            .insert_api_key(&api_key(&format!("id{number}"), &format!("name{number}")))
            .await
            .unwrap();
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
    assert_eq!(store.api_keys().await.unwrap().len(), 200);
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
    transaction.open_table(NUMBERS).unwrap().insert("format", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    refused_and_untouched(&path, "has format 2, this version knows 1");
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
            assert_eq!(store.api_keys().await.unwrap().len(), 200, "page {page}");
        }
    }
}
