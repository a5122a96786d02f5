//! Every scenario, over SQLite here and over any store by [`suite`].

mod handover;
mod model;
mod scenarios;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::locks::*;
use crate::store::SqliteStore;

const LONG: Duration = Duration::from_secs(60);
/// Longer than a busy machine stands still.
const SHORT: Duration = Duration::from_secs(2);
use LockMode::{Exclusive, Shared};

/// Locks over a store of their own; its file is removed at the end.
pub(super) struct Team {
    pub(super) locks: Locks,
    folder: Option<PathBuf>,
}

impl Team {
    #[cfg(feature = "etcd")]
    fn over(store: Arc<dyn Store>) -> Team {
        Team { locks: Locks::new(store), folder: None }
    }

    pub(super) fn new() -> Team {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("roverline-locks-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        Team { locks: Locks::new(Arc::new(SqliteStore::open(&folder))), folder: Some(folder) }
    }

    async fn ask(&self, resource: &str, client: &str, mode: LockMode) -> Result<Standing, LockError> {
        self.locks.acquire(resource, client, mode, LONG).await
    }

    async fn held(&self, resource: &str, client: &str, mode: LockMode) -> FencingToken {
        token(self.ask(resource, client, mode).await.unwrap())
    }

    async fn waiting(&self, resource: &str, client: &str, mode: LockMode) -> usize {
        match self.ask(resource, client, mode).await.unwrap() {
            Standing::Waiting(place) => place,
            Standing::Held(_) => panic!("{client} holds {resource}"),
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn token(standing: Standing) -> FencingToken {
    match standing {
        Standing::Held(token) => token,
        Standing::Waiting(place) => panic!("place {place}"),
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

        /// All of them, each over a store of its own.
        #[cfg(feature = "etcd")]
        pub(crate) async fn suite(make: &(dyn Fn() -> Arc<dyn Store> + Sync)) {
            $(
                $module::$name(&Team::over(make())).await;
            )*
        }
    };
}

scenarios!(
    scenarios::one_after_another_in_the_order_of_asking_with_rising_tokens,
    scenarios::those_who_share_hold_together_and_do_not_pass_one_who_waits,
    scenarios::what_is_held_twice_is_released_twice,
    scenarios::who_shares_behind_a_waiting_writer_can_close_a_circle,
    scenarios::a_holder_that_is_gone_is_succeeded_and_its_token_refused,
    scenarios::waiting_ends_when_it_was_said_to,
    scenarios::who_waits_for_a_change_is_not_woken_without_one,
    scenarios::of_many_at_once_each_has_it_alone,
    scenarios::a_circle_is_refused_to_the_one_who_would_close_it,
    scenarios::two_that_ask_at_once_in_two_processes_do_not_close_a_circle,
    scenarios::of_two_calls_for_one_client_the_last_gives_up,
    scenarios::a_handover_that_would_close_a_circle_is_refused,
    scenarios::being_told_after_waiting_counts_once,
    scenarios::who_goes_away_while_waiting_is_passed,
    scenarios::many_waiters_are_served_in_order,
    scenarios::bad_names_and_times_are_refused_and_change_nothing,
    handover::a_lock_is_handed_over_before_all_who_wait,
    handover::a_holder_may_refuse_or_not_answer,
    handover::what_cannot_be_handed_over_is_refused,
);
