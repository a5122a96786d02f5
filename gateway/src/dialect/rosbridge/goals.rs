//! The goals that a client has sent to action servers of the graph. Those that are active when their client leaves
//! are cancelled after a grace time, because their client can no longer cancel them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use roverline_source::ros::{GoalId, Ros};

/// How long a goal goes on after its client has left.
const ABANDONED_GOAL_GRACE_MS: u64 = 5_000;

/// The active goals of one session, by the client's ids.
#[derive(Clone, Default)]
pub(super) struct Goals(Arc<Mutex<HashMap<String, (String, GoalId)>>>);

impl Goals {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<String, (String, GoalId)>> {
        self.0.lock()
    }
}

/// Cancels the goals that are active when it is dropped.
pub(super) struct CancelOnDrop {
    pub(super) goals: Goals,
    pub(super) ros: Ros,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let abandoned: Vec<_> = self.goals.lock().drain().map(|(_, goal)| goal).collect();
        if abandoned.is_empty() {
            return;
        }
        let ros = self.ros.clone();
        // Without a runtime the process has ended. One that ends within the grace time cancels nothing.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(ABANDONED_GOAL_GRACE_MS)).await;
            for (action, goal) in abandoned {
                match ros.cancel_goal(&action, goal).await {
                    Ok(()) => tracing::info!(action, "a goal is cancelled: its client has left"),
                    Err(error) => {
                        tracing::warn!(action, "the goal of a client that has left goes on: {error}");
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use roverline_schema::Registry;
    use roverline_source::{Call, Publication, PublishError, SourceControl};
    use tokio::sync::watch;

    use super::*;

    /// A source that records the services that are called.
    #[derive(Default)]
    struct Called(Mutex<Vec<String>>);

    impl SourceControl for Called {
        fn publish(&self, _: Publication) -> Result<(), PublishError> {
            Ok(())
        }

        fn call(&self, call: Call) -> Result<(), PublishError> {
            self.0.lock().push(call.service);
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn goals_of_a_client_that_left_are_cancelled_after_the_grace_time() {
        let source: Arc<Called> = Arc::default();
        let ros = Ros::new(source.clone(), Registry::bundled(), watch::Sender::default().subscribe());
        let goals = Goals::default();
        let session = CancelOnDrop { goals: goals.clone(), ros };
        for (id, action) in [("a", "/dig"), ("b", "/drive"), ("c", "/done")] {
            goals.lock().insert(id.to_owned(), (action.to_owned(), GoalId::random()));
        }
        goals.lock().remove("c");
        drop(session);
        tokio::time::sleep(Duration::from_millis(ABANDONED_GOAL_GRACE_MS - 1)).await;
        assert!(source.0.lock().is_empty(), "within the grace time it goes on");
        tokio::time::sleep(Duration::from_secs(120)).await;
        let mut called = source.0.lock().clone();
        called.sort();
        assert_eq!(called, ["/dig/_action/cancel_goal", "/drive/_action/cancel_goal"]);
    }
}
