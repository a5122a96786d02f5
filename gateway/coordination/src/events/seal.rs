//! Seals: signed statements about the head and the floor of the log.

use std::collections::BTreeMap;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::events::entry::{Hash, KEYS, hex, unhex};

/// The kind of a seal. Its signature is not valid for another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SealKind {
    /// The log reached this event: the head, and checkpoints.
    Head,
    /// The events up to this one have been removed by retention.
    Floor,
}

impl SealKind {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            SealKind::Head => "head",
            SealKind::Floor => "floor",
        }
    }
}

/// A signed statement that this event has this hash in this log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The kind of statement.
    pub kind: SealKind,
    /// The identity of the log: the random hash before its first event.
    pub log: Hash,
    /// The sequence number of the event.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
    /// The size of all events up to it, since the log began.
    pub bytes: u64,
    /// The time of the event, nanoseconds since the Unix epoch; for display.
    pub at_ns: i64,
    /// The node that signed.
    pub node: String,
    /// The key that signed: the beginning of its hash.
    pub key: String,
    /// The Ed25519 signature, 128 hexadecimal digits.
    pub signature: String,
}

impl Seal {
    /// The signed message: all fields, each of fixed length except the last.
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

    /// Parses a seal without verifying it.
    pub fn read(value: &[u8]) -> Option<Seal> {
        serde_json::from_slice(value).ok()
    }

    /// Verifies the signature with the trusted keys of the node.
    pub(super) fn check(&self, keys: &TrustedKeys) -> Result<(), SealError> {
        let key = keys.0.get(&(self.node.clone(), self.key.clone())).ok_or(SealError::UnknownKey)?;
        let signature = unhex(&self.signature).ok_or(SealError::BadSignature)?;
        let signature = Signature::from_bytes(&signature);
        key.verify_strict(&self.message(), &signature).map_err(|_| SealError::BadSignature)
    }
}

/// Why a seal is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealError {
    /// Its key is not trusted.
    UnknownKey,
    /// Its signature does not match its key.
    BadSignature,
}

/// Trusted public keys, by node and by the beginning of their hash.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys(BTreeMap<(String, String), VerifyingKey>);

impl TrustedKeys {
    /// Trusts this key of a node, 64 hexadecimal digits. Returns whether it is a valid key.
    pub fn add(&mut self, node: &str, public: &str) -> bool {
        let key = unhex(public.trim()).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        if let Some(key) = key {
            self.0.insert((node.to_owned(), fingerprint(&key)), key);
        }
        key.is_some()
    }

    /// Whether a key is trusted, given as node and beginning of its hash.
    pub(super) fn has(&self, name: &str) -> bool {
        name.rsplit_once('/')
            .is_some_and(|(node, key)| self.0.contains_key(&(node.to_owned(), key.to_owned())))
    }

    /// The number of trusted keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no trusted keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Trusts a key from its store entry. Returns whether the entry is valid.
    pub(super) fn add_entry(&mut self, key: &str, value: &[u8]) -> bool {
        let node = key.strip_prefix(KEYS).and_then(|rest| rest.rsplit_once('/'));
        node.zip(std::str::from_utf8(value).ok()).is_some_and(|((node, _), public)| self.add(node, public))
    }
}

fn fingerprint(key: &VerifyingKey) -> String {
    hex(&Sha256::digest(key.as_bytes())[..8])
}

/// Signs seals for a node.
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

    /// The public key in hexadecimal, as in files and in the store.
    pub(super) fn public(&self) -> String {
        hex(self.key.verifying_key().as_bytes())
    }

    /// The store key under which the public key is published.
    pub(super) fn entry(&self) -> String {
        format!("{KEYS}{}/{}", self.node, self.name)
    }

    /// Signs a seal as this node.
    pub(super) fn sign(&self, seal: Seal) -> Seal {
        let mut seal = Seal { node: self.node.clone(), key: self.name.clone(), ..seal };
        seal.signature = hex(&self.key.sign(&seal.message()).to_bytes());
        seal
    }
}
