//! The task that appends events: one per process, so that concurrent appends share a transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::events::entry::{self, Hash, hex};
use crate::events::node_key::{NodeIdentity, random};
use crate::events::plan::{Head, LogHead, Plan, SideWrites, plan};
use crate::events::retention::{self, Retention};
use crate::events::seal::{Seal, Signer};
use crate::events::{Appended, EventError, Expected, NewEvent, get};
use crate::store::{Revision, Store, StoreError};

/// Events appended by one transaction: as many as its operations allow.
const EVENT_BATCH_EVENTS: usize = 16;
/// Queued appends; more are rejected.
const EVENT_WAITING_CALLS: usize = 1_024;
/// Attempts of an append while other processes append as well.
const EVENT_APPEND_ATTEMPTS: usize = 500;
/// A signed checkpoint is stored at least after this long, while events arrive.
const EVENT_CHECKPOINT_MS: u64 = 5_000;
/// Stream versions cached by the appender.
const EVENT_STREAM_ENTRIES: usize = 4_096;

/// An append that waits for its result.
pub(super) struct PendingAppend {
    pub(super) event: NewEvent,
    pub(super) expected: Expected,
    pub(super) reply: oneshot::Sender<Result<Appended, EventError>>,
    /// The request that appends; of a batch, the first one's trace shows the store.
    pub(super) span: Span,
}

/// Starts the task; it ends when all senders are dropped.
pub(super) fn start(
    (store, identity, retention): (Arc<dyn Store>, NodeIdentity, Retention),
) -> mpsc::Sender<PendingAppend> {
    let (sender, pending) = mpsc::channel(EVENT_WAITING_CALLS);
    tokio::spawn(run(store, identity, retention, pending));
    sender
}

async fn run(
    store: Arc<dyn Store>,
    identity: NodeIdentity,
    retention: Retention,
    mut pending: mpsc::Receiver<PendingAppend>,
) {
    let mut appender = None;
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(first) => first,
            None => match pending.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let batch = gather(first, &mut pending, &mut next);
        if appender.is_none() {
            match open(&identity).await {
                Ok((signer, begin)) => {
                    let retention_task = retention::start(store.clone(), signer.clone(), retention);
                    appender =
                        Some(Appender::new(store.clone(), identity.clone(), (signer, begin), retention_task));
                }
                Err(error) => {
                    batch.into_iter().for_each(|one| drop(one.reply.send(Err(error.clone()))));
                    continue;
                }
            }
        }
        if let Some(appender) = &mut appender {
            let span = batch.first().map_or_else(Span::none, |first| first.span.clone());
            appender.append(batch).instrument(span).await;
            appender.yield_to_others().await;
        }
    }
}

/// Reads the node's key on a blocking thread.
async fn open(identity: &NodeIdentity) -> Result<(Signer, Hash), EventError> {
    let identity = identity.clone();
    let read = move || Ok::<_, std::io::Error>((identity.signer()?, Hash(random()?)));
    let read = tokio::task::spawn_blocking(read).await;
    let key = |why: String| EventError::Key(why);
    read.map_err(|error| key(error.to_string()))?.map_err(|error| key(error.to_string()))
}

/// Collects a batch from the channel; an event that would exceed it becomes `next`.
fn gather(
    first: PendingAppend,
    pending: &mut mpsc::Receiver<PendingAppend>,
    next: &mut Option<PendingAppend>,
) -> Vec<PendingAppend> {
    // Compact JSON is about as long as its source; the transaction has room to spare.
    let size = |one: &PendingAppend| one.event.data.to_string().len();
    let mut bytes = size(&first);
    let mut batch = vec![first];
    while batch.len() < EVENT_BATCH_EVENTS {
        let Ok(one) = pending.try_recv() else { break };
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
    identity: NodeIdentity,
    signer: Signer,
    /// The hash before the first event, if this process begins the log.
    begin: Hash,
    /// `None` if the head of the log has to be read again.
    log_head: Option<LogHead>,
    /// Whether this process has published its public key in the store.
    published: bool,
    checkpointed: Option<Instant>,
    /// When another process last won the race for an append.
    contended_at: Option<Instant>,
    /// The prefix of generated event ids, unique to this process, and their count.
    ids: (String, u64),
    _retention_task: retention::RetentionTask,
}

impl Appender {
    fn new(
        store: Arc<dyn Store>,
        identity: NodeIdentity,
        (signer, begin): (Signer, Hash),
        retention_task: retention::RetentionTask,
    ) -> Appender {
        // Derived from the same random number without revealing it.
        let ids = (hex(&begin.after(b"ids").0[..10]), 0);
        Appender {
            store,
            identity,
            signer,
            begin,
            log_head: None,
            published: false,
            checkpointed: None,
            contended_at: None,
            ids,
            _retention_task: retention_task,
        }
    }

    /// Appends a batch and answers every caller.
    async fn append(&mut self, mut batch: Vec<PendingAppend>) {
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
            // The caller may be gone.
            let _ = one.reply.send(answer);
        }
    }

    /// After a commit under contention, lets slower processes go first: a loser retries at once, so the same
    /// process does not win again and again.
    async fn yield_to_others(&mut self) {
        if self.contended_at.is_some_and(|at| at.elapsed() < CONTENTION) {
            tokio::time::sleep(YIELD_TIME).await;
        }
    }

    /// Commits a batch, and retries while others append. `doubt`: some of it may already be in the log.
    async fn commit(
        &mut self,
        batch: &[PendingAppend],
        mut doubt: bool,
    ) -> Result<Vec<Result<Appended, EventError>>, EventError> {
        let events: Vec<_> = batch.iter().map(|one| (&one.event, one.expected)).collect();
        let mut unknown = None;
        for _ in 0..EVENT_APPEND_ATTEMPTS {
            let log_head = match self.load_log_head(&events).await {
                Ok(log_head) => log_head,
                Err(error) => return Err(unknown.unwrap_or(error)),
            };
            // Read after the head: a write in between makes the transaction fail.
            let present = match doubt {
                true => {
                    present(&*self.store, &events).await.map_err(|error| unknown.clone().unwrap_or(error))?
                }
                false => HashMap::new(),
            };
            let checkpoint = self.checkpointed.is_none_or(|at| at.elapsed() >= CHECKPOINT);
            let side_writes = SideWrites { checkpoint, publish: !self.published };
            let mut plan = plan(&log_head, &events, &present, &self.signer, &side_writes);
            match self.store.txn(std::mem::take(&mut plan.txn)).await {
                Ok(outcome) if outcome.succeeded => {
                    let answers = std::mem::take(&mut plan.answers);
                    self.on_committed(log_head, plan, outcome.revision, checkpoint);
                    return Ok(answers);
                }
                Ok(outcome) => {
                    let mut got = outcome.got.into_iter();
                    let head = Head::read(got.next().flatten().as_ref(), self.begin)?;
                    let tips = plan.streams.into_iter().zip(got.map(|tip| version(tip.as_ref())));
                    self.log_head = Some(LogHead { head, tips: tips.collect() });
                    self.contended_at = Some(Instant::now());
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

    /// Reads the head of the log and the versions of these streams, as far as they are not known.
    async fn load_log_head(&mut self, events: &[(&NewEvent, Expected)]) -> Result<LogHead, EventError> {
        let mut log_head = match self.log_head.take() {
            Some(log_head) if log_head.tips.len() <= EVENT_STREAM_ENTRIES => log_head,
            _ => {
                let head = get(&*self.store, entry::HEAD).await?;
                LogHead { head: Head::read(head.as_ref(), self.begin)?, tips: HashMap::new() }
            }
        };
        for (event, _) in events {
            if !log_head.tips.contains_key(&event.stream) {
                let tip = get(&*self.store, &entry::tip_key(&event.stream)).await?;
                log_head.tips.insert(event.stream.clone(), version(tip.as_ref()));
            }
        }
        Ok(log_head)
    }

    /// Updates the known state after a commit.
    fn on_committed(&mut self, mut log_head: LogHead, plan: Plan, revision: Revision, checkpoint: bool) {
        let Some((seal, tips)) = plan.then else {
            self.log_head = Some(log_head);
            return;
        };
        self.published = true;
        if checkpoint {
            self.checkpointed = Some(Instant::now());
            witness(&self.identity, &seal);
        }
        log_head.head = Head::At(seal, revision);
        log_head.tips.extend(tips);
        self.log_head = Some(log_head);
    }
}

const CHECKPOINT: Duration = Duration::from_millis(EVENT_CHECKPOINT_MS);

/// How long contention is assumed after another process has won.
const CONTENTION: Duration = Duration::from_millis(100);
/// About the duration of a commit.
const YIELD_TIME: Duration = Duration::from_millis(3);

/// Stores the checkpoint beside the keys, in the background.
fn witness(identity: &NodeIdentity, seal: &Seal) {
    let (identity, seal) = (identity.clone(), seal.clone());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = identity.witness(&seal) {
            tracing::warn!(%error, "the event log's checkpoint is not noted beside the keys");
        }
    });
}

/// The version stored under the key of a stream.
fn version(tip: Option<&crate::store::Entry>) -> u64 {
    tip.and_then(|tip| std::str::from_utf8(&tip.value).ok()?.parse().ok()).unwrap_or_default()
}

/// The events that are already in the log, by their ids.
async fn present(
    store: &dyn Store,
    events: &[(&NewEvent, Expected)],
) -> Result<HashMap<String, Appended>, EventError> {
    let mut present = HashMap::new();
    for id in events.iter().filter_map(|(event, _)| event.id.as_ref()) {
        let Some(found) = get(store, &entry::id_key(id)).await? else { continue };
        let position = std::str::from_utf8(&found.value).ok().and_then(|text| text.split_once(' '));
        let position = position.and_then(|(seq, version)| Some((seq.parse().ok()?, version.parse().ok()?)));
        let (seq, version) = position.ok_or(EventError::Damaged)?;
        // It does not matter whether this call or an earlier one has appended it.
        present.insert(id.clone(), Appended { seq, version, again: true });
    }
    Ok(present)
}
