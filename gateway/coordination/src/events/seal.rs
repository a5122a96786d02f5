//! Signed statements on the log: where it ends, and where it begins.

use std::collections::BTreeMap;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::events::entry::{Hash, KEYS, hex, unhex};

/// What a seal says. One of a kind is none of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SealKind {
    /// The log went up to this event: the head, and checkpoints.
    Head,
    /// What was up to this event has been removed, on purpose.
    Floor,
}

impl SealKind {
    /// As JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            SealKind::Head => "head",
            SealKind::Floor => "floor",
        }
    }
}

/// A signed statement: this event has this hash in this log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// What it says.
    pub kind: SealKind,
    /// Which log: the hash before its first event, made at random.
    pub log: Hash,
    /// The event.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
    /// Bytes of all events up to it, since the log began.
    pub bytes: u64,
    /// When the event happened, nanoseconds since the Unix epoch; only to be shown.
    pub at_ns: i64,
    /// Who says so.
    pub node: String,
    /// By which key: the beginning of its hash.
    pub key: String,
    /// Ed25519, 128 hexadecimal digits.
    pub signature: String,
}

impl Seal {
    /// What is signed: everything said, each part of known length or the last.
    fn message(&self) -> Vec<u8> {
        let kind: &[u8] = match self.kind {
            SealKind::Head => b"roverline event log head\0",
            SealKind::Floor => b"roverline event log floor\0",
        };
        let numbers = [self.seq.to_be_bytes(), self.bytes.to_be_bytes(), self.at_ns.to_be_bytes()];
        [kind, &self.log.0, &self.hash.0, numbers.as_flattened(), self.node.as_bytes()].concat()
    }

    pub(super) fn bytes(&self) -> Bytes {
        // Numbers and text always serialize.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads one, of which nothing is believed yet.
    pub fn read(value: &[u8]) -> Option<Seal> {
        serde_json::from_slice(value).ok()
    }

    /// Whether one of these keys, of this node, signed it.
    pub(super) fn check(&self, keys: &Trust) -> Result<(), SealError> {
        let key = keys.0.get(&(self.node.clone(), self.key.clone())).ok_or(SealError::UnknownKey)?;
        let signature = unhex(&self.signature).ok_or(SealError::BadSignature)?;
        let signature = Signature::from_bytes(&signature);
        key.verify_strict(&self.message(), &signature).map_err(|_| SealError::BadSignature)
    }
}

/// Why a seal proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealError {
    /// It says to be by a key that is not trusted.
    UnknownKey,
    /// The key it names did not sign it.
    BadSignature,
}

/// Public keys that are believed, by node and by the beginning of their hash.
#[derive(Clone, Debug, Default)]
pub struct Trust(BTreeMap<(String, String), VerifyingKey>);

impl Trust {
    /// Believes this key of a node, 64 hexadecimal digits. Whether it is one.
    pub fn add(&mut self, node: &str, public: &str) -> bool {
        let key = unhex(public.trim()).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        if let Some(key) = key {
            self.0.insert((node.to_owned(), fingerprint(&key)), key);
        }
        key.is_some()
    }

    /// Whether this is a key that is believed: the node and the beginning of its hash.
    pub(super) fn has(&self, name: &str) -> bool {
        name.rsplit_once('/')
            .is_some_and(|(node, key)| self.0.contains_key(&(node.to_owned(), key.to_owned())))
    }

    /// How many are believed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Believes what the store itself has under its keys. Whether it is one of them.
    pub(super) fn add_entry(&mut self, key: &str, value: &[u8]) -> bool {
        let node = key.strip_prefix(KEYS).and_then(|rest| rest.rsplit_once('/'));
        node.zip(std::str::from_utf8(value).ok()).is_some_and(|((node, _), public)| self.add(node, public))
    }
}

fn fingerprint(key: &VerifyingKey) -> String {
    hex(&Sha256::digest(key.as_bytes())[..8])
}

/// Who signs.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) node: String,
    name: String,
    key: SigningKey,
}

impl Signer {
    pub(super) fn new(node: &str, secret: &[u8; 32]) -> Signer {
        let key = SigningKey::from_bytes(secret);
        Signer { node: node.to_owned(), name: fingerprint(&key.verifying_key()), key }
    }

    /// The public key, as files and the store have it.
    pub(super) fn public(&self) -> String {
        hex(self.key.verifying_key().as_bytes())
    }

    /// The key in the store under which the public key lies.
    pub(super) fn entry(&self) -> String {
        format!("{KEYS}{}/{}", self.node, self.name)
    }

    /// Signs what `seal` says, as its own statement.
    pub(super) fn sign(&self, seal: Seal) -> Seal {
        let mut seal = Seal { node: self.node.clone(), key: self.name.clone(), ..seal };
        seal.signature = hex(&self.key.sign(&seal.message()).to_bytes());
        seal
    }
}
