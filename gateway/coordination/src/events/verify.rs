//! Whether a log is what was written: every hash, the order, the versions, the indexes, and what was
//! signed. It looks at a dump and at nothing else.

mod chain;
mod index;
mod seals;

use roverline_protocol::limits;
use serde::Serialize;

use crate::events::EventError;
use crate::events::dump::{Dump, Snapshot};
use crate::events::entry::LOG;
use crate::events::seal::{Seal, Trust};
use crate::events::verify::chain::Chain;
use crate::events::verify::index::Index;
use crate::events::verify::seals::Seals;
use crate::store::StoreError;

/// What was done to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// An event is not as it was written.
    Edited,
    /// Events are missing between others, or at the beginning.
    Deleted,
    /// An event lies in another one's place.
    Reordered,
    /// The newest events are missing.
    Truncated,
    /// Events lie there that nobody vouches for, or of another log.
    Spliced,
    /// The key that is named has not signed it.
    BadSignature,
    /// It is signed by a key that is not trusted.
    UnknownKey,
    /// What leads to events does not agree with them.
    Index,
}

impl Fault {
    /// As JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Edited => "edited",
            Fault::Deleted => "deleted",
            Fault::Reordered => "reordered",
            Fault::Truncated => "truncated",
            Fault::Spliced => "spliced",
            Fault::BadSignature => "bad_signature",
            Fault::UnknownKey => "unknown_key",
            Fault::Index => "index",
        }
    }
}

/// Something that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The event, or the first of several.
    pub seq: u64,
    /// What was done.
    pub fault: Fault,
    /// A sentence.
    pub what: String,
}

/// What a verification came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The first event; 0 where there is none.
    pub first: u64,
    /// The last event; 0 where there is none.
    pub last: u64,
    /// Events that were looked at.
    pub events: u64,
    /// Signed statements that hold.
    pub seals: u64,
    /// Whether the keys came from somewhere else than the log: by its own keys, a log that was
    /// written anew as a whole is as good as the first one.
    pub trusted: bool,
    /// What is wrong, in the order in which it was found; the first [`limits::EVENT_FINDING_ENTRIES`].
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, seq: u64, fault: Fault, what: impl Into<String>) {
        if self.findings.len() < limits::EVENT_FINDING_ENTRIES {
            self.findings.push(Finding { seq, fault, what: what.into() });
        }
    }
}

impl crate::events::Events {
    /// Verifies the log as it is now, by the keys and checkpoints beside this node's key; one at a
    /// time, and only one that fits into memory.
    pub async fn verify(&self) -> Result<Verdict, EventError> {
        let Ok(_one) = self.0.verifying.try_lock() else { return Err(StoreError::Busy.into()) };
        let bytes = |seal: Option<Seal>| seal.map_or(0, |seal| seal.bytes);
        let size = bytes(self.head().await?).saturating_sub(bytes(self.floor().await?));
        if size > limits::EVENT_VERIFY_BYTES {
            let why = "the log is too long to be verified here: let `roverline-gateway state verify` do it";
            return Err(EventError::Bad(why.to_owned()));
        }
        let identity = self.0.identity.clone();
        let known = tokio::task::spawn_blocking(move || identity.known()).await;
        let known = known.map_err(|error| EventError::Key(error.to_string()))?;
        // Before the log is read: it goes at least as far as they say.
        let (trust, checkpoints) = known.map_err(|error| EventError::Key(error.to_string()))?;
        let dump = Snapshot::of(&*self.0.store).await?;
        let look = move || verify(&dump, trust.as_ref(), &checkpoints);
        let verdict = tokio::task::spawn_blocking(look).await;
        Ok(verdict.map_err(|error| StoreError::Unavailable(error.to_string()))??)
    }
}

/// Verifies a dump: by keys that are trusted, or by its own; and by checkpoints that were kept
/// elsewhere, without which a log that was cut off together with its head looks whole.
pub fn verify(dump: &impl Dump, trust: Option<&Trust>, checkpoints: &[Seal]) -> Result<Verdict, StoreError> {
    let mut verdict = Verdict { trusted: trust.is_some(), ..Verdict::default() };
    let seals = Seals::read(dump, trust, checkpoints, &mut verdict)?;
    let mut index = Index::read(dump)?;
    let mut chain = Chain::begin(&seals);
    dump.scan(LOG, &mut |key, value| chain.next(key, value, &mut index, &mut verdict))?;
    chain.end(&mut verdict);
    index.end(dump, seals.floor.is_some(), &mut verdict)?;
    Ok(verdict)
}
