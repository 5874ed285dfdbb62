//! What every store must do. Each test takes a new, empty store, opened by two sidecars where the
//! store allows that.

#![expect(clippy::arithmetic_side_effects, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::{ApiKeyRecord, ApiKeyState};

use super::records::StoredApiKey;
use super::records::api_keys::ApiKeyDetails;
use super::shared::at_once;
use super::{Entry, LogPage, LogPosition, Pages, Store, Table};
use crate::clock::Clock;
use crate::random::Random;
use crate::seal::{Sealed, StoreKeys};

pub(in crate::store) mod ends;
pub(in crate::store) mod limits;
pub(in crate::store) mod logs;
pub(in crate::store) mod races;
pub(in crate::store) mod records;
pub(in crate::store) mod signing_keys;
pub(in crate::store) mod tables;

/// Longest wait for what takes milliseconds, on a machine with much else to do.
const DEADLINE: Duration = Duration::from_mins(1);

pub(in crate::store) fn api_key(id: &str, name: &str) -> StoredApiKey {
    StoredApiKey {
        record: ApiKeyRecord {
            id: id.to_owned(),
            environment: "test".to_owned(),
            name: name.to_owned(),
            digest: "d".to_owned(),
            issuer: None,
            subject: None,
            roles: vec!["viewer".to_owned()],
            scopes: None,
            expires_at: None,
            state: ApiKeyState::Active,
            previous: None,
            networks: Vec::new(),
            rate_limit: None,
        },
        created_at: 7,
        details: ApiKeyDetails::default(),
    }
}

pub(in crate::store) fn sealed(text: &str) -> Sealed {
    let keys = StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap();
    keys.seal("test", &Secret::new(text.as_bytes().to_vec()), UnixSeconds(1)).unwrap()
}

pub(in crate::store) fn in_state(key: &StoredApiKey, state: ApiKeyState) -> StoredApiKey {
    let mut changed = key.clone();
    changed.record.state = state;
    changed
}

/// The store as two sidecars see it.
pub(in crate::store) struct Two {
    pub(in crate::store) one: Arc<dyn Store>,
    pub(in crate::store) other: Arc<dyn Store>,
}

impl Two {
    /// Runs `task` some times at once, from either sidecar in turn.
    pub(in crate::store) async fn at_once<T, F>(
        &self,
        times: usize,
        task: impl Fn(usize, Arc<dyn Store>) -> F,
    ) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        at_once(&[Arc::clone(&self.one), Arc::clone(&self.other)], times, task).await
    }
}

/// Everything in a table; no entry may be shown with two values.
pub(in crate::store) async fn everything(
    store: &dyn Store,
    table: Table,
) -> BTreeMap<String, Entry> {
    let (mut found, mut pages) = (BTreeMap::new(), Pages::of(store, table));
    while let Some(entries) = pages.next().await.unwrap() {
        for entry in entries {
            if let Some(before) = found.insert(entry.key.clone(), entry.clone()) {
                assert_eq!(before, entry);
            }
        }
    }
    found
}

/// The entries after a position that is known.
#[track_caller]
pub(in crate::store) fn known(page: LogPage) -> Vec<(LogPosition, Vec<u8>)> {
    match page {
        LogPage::Entries { entries } => entries,
        LogPage::Unknown => panic!("the position is unknown"),
    }
}

fn now() -> UnixSeconds {
    Clock::system().now()
}

/// Runs every test against what `$new` makes: what must live as long as the store, and [`Two`].
macro_rules! store_tests {
    ($new:expr) => {
        $crate::store::conformance::store_tests!(@ $new; $);
    };
    (@ $new:expr; $dollar:tt) => {
        macro_rules! each {
            ($dollar($dollar group:ident: $dollar($dollar test:ident)+;)+) => {
                $dollar($dollar(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $dollar test() {
                        let (_guard, two) = $new;
                        $crate::store::conformance::$dollar group::$dollar test(&two).await;
                    }
                )+)+
            };
        }
        $crate::store::conformance::all_tests!(each);
    };
}
pub(super) use store_tests;

/// Gives the list of all tests to a macro.
macro_rules! all_tests {
    ($each:ident) => {
        $each! {
            records:
                what_was_inserted_is_found
                every_change_of_a_key_changes_the_revision
                a_name_is_free_again_once_its_key_is_revoked
                of_two_changes_to_one_record_one_wins
                the_first_secret_stands
                of_many_that_create_one_id_or_name_at_once_one_does
                changes_at_once_all_count
                of_two_that_revoke_one_key_at_once_one_does;
            signing_keys:
                two_that_start_at_once_have_the_same_keys
                of_many_that_look_after_a_key_at_once_one_makes_the_next
                of_many_that_rotate_at_the_same_time_one_makes_the_next
                a_stolen_key_is_replaced_and_revoked_in_one_step;
            tables:
                several_keys_change_together_or_not_at_all
                many_values_come_in_the_order_of_their_keys
                pages_show_every_entry_of_every_table
                a_page_begins_only_where_one_of_its_table_has_ended
                counters_add_rise_and_stop
                what_is_no_counter_is_not_counted_and_nothing_else_is_written
                what_no_store_takes_is_refused;
            races:
                of_many_that_redeem_one_code_one_gets_it
                of_many_that_rotate_one_token_one_does
                fifty_logins_at_once_keep_the_cap_of_sessions
                what_is_added_from_both_sides_is_counted;
            logs:
                a_confirmation_is_the_head_and_changes_nothing
                a_reader_gets_every_entry_once_in_order_while_two_append
                whoever_has_read_a_change_finds_its_place_in_the_log
                positions_of_another_history_are_unknown
                a_log_begun_anew_knows_no_position_from_before
                a_log_keeps_its_newest_entries
                whoever_waits_for_the_log_hears_of_a_change_and_not_before;
            ends:
                what_has_ended_is_not_there_for_anyone
                an_entry_ends_by_itself
                a_clean_up_is_bounded_and_two_at_once_do_no_harm;
            limits:
                two_sidecars_hand_out_no_more_of_a_limit_than_there_is;
        }
    };
}
pub(super) use all_tests;

/// Runs every test, one after the other, where a store is too costly to be made for each: `new`
/// gives an empty part of it.
pub(in crate::store) async fn all(new: impl AsyncFn(&str) -> Two) {
    macro_rules! each {
        ($($group:ident: $($test:ident)+;)+) => {
            $($( $group::$test(&new(stringify!($test)).await).await; )+)+
        };
    }
    all_tests!(each);
}
