//! Locks as others see them.

use std::time::Duration;

use crate::locks::queue::{Contender, holders};
use crate::locks::{FencingToken, LockError, LockMode, Locks, graph};
use crate::store::Revision;

/// A lock as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockView {
    /// What is locked.
    pub resource: String,
    /// How it is held.
    pub mode: LockMode,
    /// Who holds it, in the order in which they asked, and by which proof.
    pub holders: Vec<(String, FencingToken)>,
    /// Who waits, first the next, and for which.
    pub waiting: Vec<(String, LockMode)>,
}

impl LockView {
    /// Of all who want this resource; `None` when nobody does.
    fn of(all: &[Contender], resource: &str) -> Option<LockView> {
        let queue: Vec<&Contender> = all.iter().filter(|one| one.resource == resource).collect();
        let holding = holders(&queue);
        let waiting = queue[holding.len()..].iter().map(|one| (one.client.clone(), one.record.mode));
        Some(LockView {
            resource: resource.to_owned(),
            mode: holding.first()?.record.mode,
            holders: holding.iter().map(|one| (one.client.clone(), one.token())).collect(),
            waiting: waiting.collect(),
        })
    }
}

impl Locks {
    /// Every lock that is held, by the resource's name, and when this was so.
    pub async fn list(&self) -> Result<(Vec<LockView>, Revision), LockError> {
        let (all, _, at) = self.all_under(crate::locks::BOTH).await?;
        let mut resources: Vec<&str> = all.iter().map(|one| one.resource.as_str()).collect();
        resources.sort_unstable();
        resources.dedup();
        let view = |resource: &str| LockView::of(&all, resource);
        Ok((resources.into_iter().filter_map(view).collect(), at))
    }

    /// One lock; `None` when nobody holds it.
    pub async fn one(&self, resource: &str) -> Result<Option<LockView>, LockError> {
        crate::locks::check_name(resource)?;
        Ok(LockView::of(&self.here(resource).await?, resource))
    }

    /// All locks, when they, or who asks to have one handed over, are no longer as they were at this
    /// revision; at most after `wait`.
    pub async fn list_after(
        &self,
        seen: Revision,
        wait: Duration,
    ) -> Result<(Vec<LockView>, Revision), LockError> {
        let mut watch = self.store.watch(crate::locks::ALL.to_owned(), seen.next()).await?;
        let changed = async {
            // Fallen behind is changed as well.
            while let Some(Ok(changes)) = watch.next().await
                && changes.iter().all(|change| change.key() == crate::locks::TICK)
            {}
        };
        // It is read in any case.
        let _ = tokio::time::timeout(wait, changed).await;
        self.list().await
    }

    /// Clients that wait for each other in a circle. There is none, unless something else than this
    /// wrote the store: who would close one is refused.
    pub async fn deadlocks(&self) -> Result<Vec<Vec<String>>, LockError> {
        Ok(graph::cycles(&self.all().await?.0))
    }
}
