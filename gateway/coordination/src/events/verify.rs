//! Verifies a log: hashes, order, versions, indexes and signatures. Works on a snapshot only.

mod chain;
mod index;
mod seals;

use serde::Serialize;

use crate::events::EventError;
use crate::events::entry::LOG;
use crate::events::seal::{Seal, TrustedKeys};
use crate::events::source::{EntrySource, Snapshot};
use crate::events::verify::chain::Chain;
use crate::events::verify::index::Index;
use crate::events::verify::seals::Seals;
use crate::store::StoreError;

/// Findings after which a verification stops.
const EVENT_FINDING_ENTRIES: usize = 100;
/// Log size up to which an endpoint verifies the log by itself.
const EVENT_VERIFY_BYTES: u64 = 16 << 20;

/// The kind of a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Violation {
    /// An event has been changed.
    Edited,
    /// Events are missing in the middle or at the beginning.
    Deleted,
    /// An event is in the position of another one.
    Reordered,
    /// The newest events are missing.
    Truncated,
    /// Events that no signature covers, or that belong to another log.
    Spliced,
    /// A signature does not match its key.
    BadSignature,
    /// The key of a signature is not trusted.
    UnknownKey,
    /// An index does not agree with the events.
    Index,
}

impl Violation {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Violation::Edited => "edited",
            Violation::Deleted => "deleted",
            Violation::Reordered => "reordered",
            Violation::Truncated => "truncated",
            Violation::Spliced => "spliced",
            Violation::BadSignature => "bad_signature",
            Violation::UnknownKey => "unknown_key",
            Violation::Index => "index",
        }
    }
}

/// A violation and its location.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The first affected event.
    pub seq: u64,
    /// The kind of violation.
    pub fault: Violation,
    /// A description.
    pub what: String,
}

/// The result of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The first event; 0 if there is none.
    pub first: u64,
    /// The last event; 0 if there is none.
    pub last: u64,
    /// The number of events.
    pub events: u64,
    /// The number of valid seals.
    pub seals: u64,
    /// Whether the trusted keys came from outside the log. By its own keys, a log that was completely
    /// rewritten is as good as the original.
    pub trusted: bool,
    /// The violations in the order in which they were found; the first `EVENT_FINDING_ENTRIES`.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Whether there are no violations.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, seq: u64, fault: Violation, what: impl Into<String>) {
        if self.findings.len() < EVENT_FINDING_ENTRIES {
            self.findings.push(Finding { seq, fault, what: what.into() });
        }
    }
}

impl crate::events::Events {
    /// Verifies the current log with the keys and checkpoints beside this node's key. One verification runs
    /// at a time, and the log must fit into memory.
    pub async fn verify(&self) -> Result<VerifyReport, EventError> {
        let Ok(_one) = self.0.verifying.try_lock() else { return Err(StoreError::Busy.into()) };
        let bytes = |seal: Option<Seal>| seal.map_or(0, |seal| seal.bytes);
        let size = bytes(self.head().await?).saturating_sub(bytes(self.floor().await?));
        if size > EVENT_VERIFY_BYTES {
            let why = "the log is too long to be verified here: let `roverline-gateway state verify` do it";
            return Err(EventError::Bad(why.to_owned()));
        }
        let identity = self.0.identity.clone();
        let known = tokio::task::spawn_blocking(move || identity.trusted_keys()).await;
        let known = known.map_err(|error| EventError::Key(error.to_string()))?;
        // Read before the log, which reaches at least as far as the checkpoints.
        let (trust, checkpoints) = known.map_err(|error| EventError::Key(error.to_string()))?;
        let source = Snapshot::of(&*self.0.store).await?;
        let check = move || verify(&source, trust.as_ref(), &checkpoints);
        let report = tokio::task::spawn_blocking(check).await;
        Ok(report.map_err(|error| StoreError::Unavailable(error.to_string()))??)
    }
}

/// Verifies the entries of a log with trusted keys, or with the log's own, and with external checkpoints.
/// Without checkpoints, a log that was truncated together with its head passes.
pub fn verify(
    source: &impl EntrySource,
    trust: Option<&TrustedKeys>,
    checkpoints: &[Seal],
) -> Result<VerifyReport, StoreError> {
    let mut report = VerifyReport { trusted: trust.is_some(), ..VerifyReport::default() };
    let seals = Seals::read(source, trust, checkpoints, &mut report)?;
    let mut index = Index::read(source)?;
    let mut chain = Chain::begin(&seals);
    source.scan(LOG, &mut |key, value| chain.next(key, value, &mut index, &mut report))?;
    chain.end(&mut report);
    index.end(source, seals.floor.is_some(), &mut report)?;
    Ok(report)
}
