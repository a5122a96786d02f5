//! Lock scenarios over SQLite, and over any other store through [`suite`].

mod handover;
mod model;
mod ownership;
mod scenarios;

use std::time::Duration;

use crate::locks::*;
use crate::store::SqliteStore;
use crate::test_support::eventually;

const LONG: Duration = Duration::from_secs(60);
/// Longer than a busy machine pauses.
const SHORT: Duration = Duration::from_secs(2);
use LockMode::{Exclusive, Shared};

/// A lock service over a store of its own.
pub(super) struct Team {
    pub(super) locks: Locks,
    /// Deleted at the end.
    _folder: Option<tempfile::TempDir>,
}

impl Team {
    #[cfg(feature = "etcd")]
    fn over(store: Arc<dyn Store>) -> Team {
        Team { locks: Locks::new(store), _folder: None }
    }

    pub(super) fn new() -> Team {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(&folder.path().join("store")));
        Team { locks: Locks::new(store), _folder: Some(folder) }
    }

    /// Waits until no detached request or withdrawal is running.
    pub(super) async fn settle(&self) {
        self.locks.detached.close();
        self.locks.detached.wait().await;
        self.locks.detached.reopen();
    }

    async fn request(&self, resource: &str, client: &str, mode: LockMode) -> Result<LockStatus, LockError> {
        self.locks.acquire(resource, client, mode, LONG).await
    }

    async fn held(&self, resource: &str, client: &str, mode: LockMode) -> FencingToken {
        token(self.request(resource, client, mode).await.unwrap())
    }

    async fn waiting(&self, resource: &str, client: &str, mode: LockMode) -> usize {
        match self.request(resource, client, mode).await.unwrap() {
            LockStatus::Waiting(position) => position,
            LockStatus::Held(_) => panic!("{client} holds {resource}"),
        }
    }
}

fn holder(client: &str, identity: Option<&str>, token: FencingToken) -> Holder {
    Holder { client: client.to_owned(), identity: identity.map(str::to_owned), token }
}

fn waits(client: &str, identity: Option<&str>) -> WaitingClient {
    WaitingClient { client: client.to_owned(), identity: identity.map(str::to_owned), mode: Exclusive }
}

fn token(status: LockStatus) -> FencingToken {
    match status {
        LockStatus::Held(token) => token,
        LockStatus::Waiting(position) => panic!("position {position}"),
    }
}

macro_rules! scenarios {
    ($($module:ident::$name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $module::$name(&Team::new()).await;
            }
        )*

        /// Runs all scenarios, each over a store of its own.
        #[cfg(feature = "etcd")]
        pub(crate) async fn suite(make: &(dyn Fn() -> Arc<dyn Store> + Sync)) {
            $(
                $module::$name(&Team::over(make())).await;
            )*
        }
    };
}

scenarios!(
    scenarios::waiters_are_served_in_request_order_with_rising_tokens,
    scenarios::shared_holders_coexist_and_do_not_overtake_a_waiting_writer,
    scenarios::a_lock_acquired_twice_needs_two_releases,
    scenarios::a_shared_request_behind_a_waiting_writer_can_deadlock,
    scenarios::an_expired_holder_is_succeeded_and_its_token_rejected,
    scenarios::waiting_ends_at_its_deadline,
    scenarios::waiting_for_a_change_ignores_ticks,
    scenarios::concurrent_holders_exclude_each_other,
    scenarios::a_request_that_would_deadlock_is_rejected,
    scenarios::concurrent_requests_of_two_processes_do_not_deadlock,
    scenarios::of_two_calls_for_one_client_the_last_withdraws,
    scenarios::a_handover_that_would_deadlock_is_rejected,
    scenarios::the_notification_after_waiting_counts_as_one_acquire,
    scenarios::a_cancelled_waiter_is_skipped,
    scenarios::many_waiters_are_served_in_order,
    scenarios::invalid_names_and_times_are_rejected_without_effect,
    handover::a_lock_is_handed_over_ahead_of_all_waiters,
    handover::a_holder_may_refuse_or_not_answer,
    handover::an_impossible_handover_is_rejected,
    ownership::nobody_else_changes_a_lock_under_its_name,
    ownership::clients_of_one_identity_are_told_apart_by_name,
    ownership::a_stranger_of_the_same_name_causes_no_deadlock,
    ownership::a_handover_is_asked_and_answered_by_identity,
    ownership::a_forced_release_names_both_identities,
    ownership::a_lock_of_an_earlier_version_belongs_to_its_name,
    ownership::the_longest_names_fit_into_keys,
);
