//! The task that appends: one per process, so that what waits goes together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::events::entry::{self, Hash, hex};
use crate::events::node_key::{Identity, random};
use crate::events::plan::{Along, Head, Known, Plan, plan};
use crate::events::retention::{self, Retention};
use crate::events::seal::{Seal, Signer};
use crate::events::{Appended, EventError, Expected, NewEvent, get};
use crate::store::{Revision, Store, StoreError};

/// An append that waits for its answer.
pub(super) struct Waiting {
    pub(super) event: NewEvent,
    pub(super) expected: Expected,
    pub(super) tell: oneshot::Sender<Result<Appended, EventError>>,
}

/// Starts it; it ends when nobody can ask it any more.
pub(super) fn start(
    (store, identity, retention): (Arc<dyn Store>, Identity, Retention),
) -> mpsc::Sender<Waiting> {
    let (ask, waiting) = mpsc::channel(limits::EVENT_WAITING_CALLS);
    tokio::spawn(run(store, identity, retention, waiting));
    ask
}

async fn run(
    store: Arc<dyn Store>,
    identity: Identity,
    retention: Retention,
    mut waiting: mpsc::Receiver<Waiting>,
) {
    let mut appender = None;
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(first) => first,
            None => match waiting.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let batch = gather(first, &mut waiting, &mut next);
        if appender.is_none() {
            match open(&identity).await {
                Ok((signer, begin)) => {
                    let keeper = retention::start(store.clone(), signer.clone(), retention);
                    appender = Some(Appender::new(store.clone(), identity.clone(), (signer, begin), keeper));
                }
                Err(error) => {
                    batch.into_iter().for_each(|one| drop(one.tell.send(Err(error.clone()))));
                    continue;
                }
            }
        }
        if let Some(appender) = &mut appender {
            appender.append(batch).await;
            appender.give_way().await;
        }
    }
}

/// Reads the node's key, off the runtime.
async fn open(identity: &Identity) -> Result<(Signer, Hash), EventError> {
    let identity = identity.clone();
    let read = move || Ok::<_, std::io::Error>((identity.signer()?, Hash(random()?)));
    let read = tokio::task::spawn_blocking(read).await;
    let key = |why: String| EventError::Key(why);
    read.map_err(|error| key(error.to_string()))?.map_err(|error| key(error.to_string()))
}

/// As many as go together; one that would be too much is `next`.
fn gather(first: Waiting, waiting: &mut mpsc::Receiver<Waiting>, next: &mut Option<Waiting>) -> Vec<Waiting> {
    // Compact JSON is about as long as what it was made of; the transaction has room to spare.
    let size = |one: &Waiting| one.event.data.to_string().len();
    let mut bytes = size(&first);
    let mut batch = vec![first];
    while batch.len() < limits::EVENT_BATCH_EVENTS {
        let Ok(one) = waiting.try_recv() else { break };
        bytes += size(&one);
        if bytes > limits::EVENT_BATCH_BYTES {
            *next = Some(one);
            break;
        }
        batch.push(one);
    }
    batch
}

struct Appender {
    store: Arc<dyn Store>,
    identity: Identity,
    signer: Signer,
    /// The hash before the first event, if this is who begins the log.
    begin: Hash,
    /// `None` where the log has to be read again.
    known: Option<Known>,
    /// Whether this process has put its public key into the store.
    published: bool,
    checkpointed: Option<Instant>,
    /// When another process was quicker.
    crowded: Option<Instant>,
    /// What an id begins with that no other process gives, and how many it gave.
    ids: (String, u64),
    _keeper: retention::Keeper,
}

impl Appender {
    fn new(
        store: Arc<dyn Store>,
        identity: Identity,
        (signer, begin): (Signer, Hash),
        keeper: retention::Keeper,
    ) -> Appender {
        // From the same randomness, but not telling it.
        let ids = (hex(&begin.after(b"ids").0[..10]), 0);
        Appender {
            store,
            identity,
            signer,
            begin,
            known: None,
            published: false,
            checkpointed: None,
            crowded: None,
            ids,
            _keeper: keeper,
        }
    }

    /// Appends a batch and tells everybody.
    async fn append(&mut self, mut batch: Vec<Waiting>) {
        let mut given = false;
        for one in &mut batch {
            given |= one.event.id.is_some();
            if one.event.id.is_none() {
                self.ids.1 += 1;
                one.event.id = Some(format!("{}-{}", self.ids.0, self.ids.1));
            }
        }
        let answers = self.commit(&batch, given).await;
        let failed = |error: &EventError| batch.iter().map(|_| Err(error.clone())).collect();
        let answers: Vec<_> = answers.unwrap_or_else(|error| failed(&error));
        for (one, answer) in batch.into_iter().zip(answers) {
            // Whoever asked may have gone.
            let _ = one.tell.send(answer);
        }
    }

    /// Whoever has just written lets those go first who were too slow, as long as there are any: who
    /// loses tries again at once, and so the same one does not win again and again.
    async fn give_way(&mut self) {
        if self.crowded.is_some_and(|at| at.elapsed() < CROWDED) {
            tokio::time::sleep(GIVE_WAY).await;
        }
    }

    /// Commits a batch; tries again while others append. `doubt`: some of it may be there already.
    async fn commit(
        &mut self,
        batch: &[Waiting],
        mut doubt: bool,
    ) -> Result<Vec<Result<Appended, EventError>>, EventError> {
        let events: Vec<_> = batch.iter().map(|one| (&one.event, one.expected)).collect();
        let mut unknown = None;
        for _ in 0..limits::EVENT_APPEND_ATTEMPTS {
            let known = match self.know(&events).await {
                Ok(known) => known,
                Err(error) => return Err(unknown.unwrap_or(error)),
            };
            // After the head: whatever comes in between makes the transaction fail.
            let present = match doubt {
                true => {
                    present(&*self.store, &events).await.map_err(|error| unknown.clone().unwrap_or(error))?
                }
                false => HashMap::new(),
            };
            let checkpoint = self.checkpointed.is_none_or(|at| at.elapsed() >= CHECKPOINT);
            let along = Along { checkpoint, publish: !self.published };
            let mut plan = plan(&known, &events, &present, &self.signer, &along);
            match self.store.txn(std::mem::take(&mut plan.txn)).await {
                Ok(outcome) if outcome.succeeded => {
                    let answers = std::mem::take(&mut plan.answers);
                    self.went(known, plan, outcome.revision, checkpoint);
                    return Ok(answers);
                }
                Ok(outcome) => {
                    let mut got = outcome.got.into_iter();
                    let head = Head::read(got.next().flatten().as_ref(), self.begin)?;
                    let tips = plan.streams.into_iter().zip(got.map(|tip| version(tip.as_ref())));
                    self.known = Some(Known { head, tips: tips.collect() });
                    self.crowded = Some(Instant::now());
                }
                Err(error @ StoreError::Unknown(_)) => {
                    (doubt, unknown) = (true, Some(error.into()));
                    tokio::time::sleep(Duration::from_millis(limits::STORE_POLL_MS)).await;
                }
                Err(error) => return Err(unknown.unwrap_or(error.into())),
            }
        }
        Err(unknown.unwrap_or(StoreError::Busy.into()))
    }

    /// Reads what is not known of the log: its head, and the versions of these streams.
    async fn know(&mut self, events: &[(&NewEvent, Expected)]) -> Result<Known, EventError> {
        let mut known = match self.known.take() {
            Some(known) if known.tips.len() <= limits::EVENT_STREAM_ENTRIES => known,
            _ => {
                let head = get(&*self.store, entry::HEAD).await?;
                Known { head: Head::read(head.as_ref(), self.begin)?, tips: HashMap::new() }
            }
        };
        for (event, _) in events {
            if !known.tips.contains_key(&event.stream) {
                let tip = get(&*self.store, &entry::tip_key(&event.stream)).await?;
                known.tips.insert(event.stream.clone(), version(tip.as_ref()));
            }
        }
        Ok(known)
    }

    /// It is in the log: what is known from now on.
    fn went(&mut self, mut known: Known, plan: Plan, revision: Revision, checkpoint: bool) {
        let Some((seal, tips)) = plan.then else {
            self.known = Some(known);
            return;
        };
        self.published = true;
        if checkpoint {
            self.checkpointed = Some(Instant::now());
            witness(&self.identity, &seal);
        }
        known.head = Head::At(seal, revision);
        known.tips.extend(tips);
        self.known = Some(known);
    }
}

const CHECKPOINT: Duration = Duration::from_millis(limits::EVENT_CHECKPOINT_MS);

/// So long after another process was quicker, it may be there still.
const CROWDED: Duration = Duration::from_millis(100);
/// About as long as a commit takes.
const GIVE_WAY: Duration = Duration::from_millis(3);

/// Notes the checkpoint beside the keys; nobody waits for it.
fn witness(identity: &Identity, seal: &Seal) {
    let (identity, seal) = (identity.clone(), seal.clone());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = identity.witness(&seal) {
            tracing::warn!(%error, "the event log's checkpoint is not noted beside the keys");
        }
    });
}

/// The version that is under the key of a stream.
fn version(tip: Option<&crate::store::Entry>) -> u64 {
    tip.and_then(|tip| std::str::from_utf8(&tip.value).ok()?.parse().ok()).unwrap_or_default()
}

/// Which of these are in the log already, by their ids.
async fn present(
    store: &dyn Store,
    events: &[(&NewEvent, Expected)],
) -> Result<HashMap<String, Appended>, EventError> {
    let mut present = HashMap::new();
    for id in events.iter().filter_map(|(event, _)| event.id.as_ref()) {
        let Some(found) = get(store, &entry::id_key(id)).await? else { continue };
        let place = std::str::from_utf8(&found.value).ok().and_then(|text| text.split_once(' '));
        let place = place.and_then(|(seq, version)| Some((seq.parse().ok()?, version.parse().ok()?)));
        let (seq, version) = place.ok_or(EventError::Damaged)?;
        // Whether it is this call that wrote it, or an earlier one, makes no difference to the log.
        present.insert(id.clone(), Appended { seq, version, again: true });
    }
    Ok(present)
}
