//! Plans the transaction that appends a batch, from the head of the log; pure.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use crate::events::entry::{self, Event, Hash, Stored};
use crate::events::seal::{Seal, SealKind, Signer};
use crate::events::{Appended, EventError, Expected, NewEvent};
use crate::store::{Compare, Entry, Op, Revision, Txn};

/// A signed checkpoint is stored at least after this many events.
const EVENT_CHECKPOINT_EVENTS: u64 = 256;

/// The known head of the log.
#[derive(Clone, Debug)]
pub(super) enum Head {
    /// The log is empty; it would begin with this hash.
    None(Hash),
    /// The signed head and its revision in the store.
    At(Seal, Revision),
}

impl Head {
    /// Parses the head from its store entry.
    pub(super) fn read(entry: Option<&Entry>, begin: Hash) -> Result<Head, EventError> {
        let Some(entry) = entry else { return Ok(Head::None(begin)) };
        let seal = Seal::read(&entry.value).ok_or(EventError::Damaged)?;
        Ok(Head::At(seal, entry.modified))
    }

    pub(super) fn seq(&self) -> u64 {
        match self {
            Head::None(_) => 0,
            Head::At(seal, _) => seal.seq,
        }
    }

    fn unchanged(&self) -> Compare {
        let key = entry::HEAD.to_owned();
        match self {
            Head::None(_) => Compare::Absent(key),
            Head::At(_, revision) => Compare::Modified(key, *revision),
        }
    }
}

/// The log as known, until another process appends.
pub(super) struct LogHead {
    pub(super) head: Head,
    /// The newest version of each stream read so far; 0 if it has no events.
    pub(super) tips: HashMap<String, u64>,
}

/// A transaction, and the state after its success.
pub(super) struct Plan {
    pub(super) txn: Txn,
    /// The streams whose versions a failed transaction returns, after the head.
    pub(super) streams: Vec<String>,
    /// The answer for each event of the batch, in order.
    pub(super) answers: Vec<Result<Appended, EventError>>,
    /// The new head and the new versions of streams; `None` if nothing is appended.
    pub(super) then: Option<(Seal, HashMap<String, u64>)>,
}

/// Further writes of the same transaction.
pub(super) struct SideWrites {
    /// Whether to store the head as a checkpoint as well.
    pub(super) checkpoint: bool,
    /// Whether to publish the public key in the store.
    pub(super) publish: bool,
}

/// Plans the transaction for a batch; `present` are the events that are already in the log.
pub(super) fn plan(
    log_head: &LogHead,
    batch: &[(&NewEvent, Expected)],
    present: &HashMap<String, Appended>,
    signer: &Signer,
    side_writes: &SideWrites,
) -> Plan {
    let (mut seq, mut hash, log, mut bytes) = match &log_head.head {
        Head::None(begin) => (0, *begin, *begin, 0),
        Head::At(seal, _) => (seal.seq, seal.hash, seal.log, seal.bytes),
    };
    let mut builder = AppendBuilder { tips: HashMap::new(), ops: Vec::new(), done: HashMap::new() };
    let mut at_ns = 0;
    let mut answers = Vec::with_capacity(batch.len());
    for (new, expected) in batch {
        let answer =
            builder.next_event(log_head, new, *expected, present, seq + 1, signer).and_then(|placed| {
                let event = match placed {
                    Placed::Already(appended) => return Ok(appended),
                    Placed::New(event) => event,
                };
                let (next, value) = Stored::seal(&event, hash)?;
                (seq, hash, at_ns, bytes) = (event.seq, next, event.at_ns, bytes + value.len() as u64);
                Ok(builder.add(&event, value))
            });
        answers.push(answer);
    }
    let streams: HashSet<&str> = batch.iter().map(|(new, _)| new.stream.as_str()).collect();
    let streams: Vec<String> = streams.into_iter().map(str::to_owned).collect();
    let reads =
        std::iter::once(entry::HEAD.to_owned()).chain(streams.iter().map(|name| entry::tip_key(name)));
    let mut txn = Txn {
        compares: vec![log_head.head.unchanged()],
        success: builder.ops,
        failure: reads.map(Op::Get).collect(),
    };
    let then = (seq > log_head.head.seq()).then(|| {
        let (node, key, signature) = Default::default();
        let seal = Seal { kind: SealKind::Head, log, seq, hash, bytes, at_ns, node, key, signature };
        let seal = signer.sign(seal);
        txn.success.push(put(entry::HEAD.to_owned(), seal.bytes()));
        if side_writes.checkpoint
            || seq / EVENT_CHECKPOINT_EVENTS > log_head.head.seq() / EVENT_CHECKPOINT_EVENTS
        {
            txn.success.push(put(entry::checkpoint_key(seq), seal.bytes()));
        }
        if side_writes.publish {
            txn.success.push(put(signer.entry(), signer.public().into()));
        }
        let tips =
            builder.tips.iter().map(|(name, version)| put(entry::tip_key(name), version.to_string().into()));
        txn.success.extend(tips);
        (seal, builder.tips)
    });
    Plan { txn, streams, answers, then }
}

/// The appends planned so far.
struct AppendBuilder {
    tips: HashMap<String, u64>,
    ops: Vec<Op>,
    done: HashMap<String, Appended>,
}

enum Placed {
    Already(Appended),
    New(Box<Event>),
}

impl AppendBuilder {
    /// The next event, or where it already is.
    fn next_event(
        &self,
        log_head: &LogHead,
        new: &NewEvent,
        expected: Expected,
        present: &HashMap<String, Appended>,
        seq: u64,
        signer: &Signer,
    ) -> Result<Placed, EventError> {
        let id = new.id.clone().unwrap_or_default();
        if let Some(appended) = present.get(&id).or_else(|| self.done.get(&id)) {
            return Ok(Placed::Already(Appended { again: true, ..*appended }));
        }
        let tip = self.tips.get(&new.stream).or_else(|| log_head.tips.get(&new.stream));
        let version = tip.copied().unwrap_or_default();
        if !expected.holds(version) {
            return Err(EventError::Conflict { stream: new.stream.clone(), version });
        }
        Ok(Placed::New(Box::new(Event {
            seq,
            stream: new.stream.clone(),
            version: version + 1,
            kind: new.kind.clone(),
            at_ns: new.at_ns,
            node: signer.node.clone(),
            by: new.by.clone(),
            client: new.client.clone(),
            id,
            correlation_id: new.correlation_id.clone(),
            causation_id: new.causation_id.clone(),
            trace: new.trace.clone(),
            data: new.data.clone(),
        })))
    }

    fn add(&mut self, event: &Event, value: Bytes) -> Appended {
        let appended = Appended { seq: event.seq, version: event.version, again: false };
        self.ops.push(put(entry::log_key(event.seq), value));
        self.ops.extend(event.index().into_iter().map(|(key, value)| put(key, value.into())));
        self.tips.insert(event.stream.clone(), event.version);
        self.done.insert(event.id.clone(), appended);
        appended
    }
}

fn put(key: String, value: Bytes) -> Op {
    Op::Put { key, value, lease: None }
}
