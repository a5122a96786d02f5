//! Conversion between the store's types and etcd's messages. All keys get the configured prefix.

use bytes::Bytes;

use crate::store::etcd::proto::{
    Comparison, DeleteRangeRequest, KeyValue, Operand, PutRequest, RangeRequest, Relation, Request,
    RequestOp, Target, TxnRequest,
};
use crate::store::{Compare, Entry, LeaseId, Op, Range, Revision, Txn};

/// An etcd number.
pub(super) fn number(ours: u64) -> i64 {
    i64::try_from(ours).unwrap_or(i64::MAX)
}

/// The revision of an etcd message.
pub(super) fn revision(theirs: i64) -> Revision {
    Revision(theirs.max(0).cast_unsigned())
}

/// Adds the prefix to a key.
pub(super) fn to_etcd_key(prefix: &str, key: &str) -> Bytes {
    Bytes::from([prefix, key].concat())
}

/// Removes the prefix from a key. Keys that are not UTF-8 were written by other programs.
pub(super) fn from_etcd_key(prefix: &str, key: &[u8]) -> String {
    String::from_utf8_lossy(key.strip_prefix(prefix.as_bytes()).unwrap_or(key)).into_owned()
}

/// The first key under a prefix, and the first one after them. Keys are UTF-8, which never contains 0xff.
pub(super) fn span(prefix: &str, under: &str) -> (Bytes, Bytes) {
    let low = to_etcd_key(prefix, under);
    let high = [&low[..], &[0xff]].concat();
    (low, Bytes::from(high))
}

/// The first key of a page, and the first one after it.
pub(super) fn page(prefix: &str, range: &Range) -> (Bytes, Bytes) {
    let (low, high) = span(prefix, &range.prefix);
    match &range.after {
        // A key followed by a zero byte is the next possible key.
        Some(after) if !range.backward => (low.max(to_etcd_key(prefix, &format!("{after}\0"))), high),
        Some(before) => (low, high.min(to_etcd_key(prefix, before))),
        None => (low, high),
    }
}

/// Converts an etcd entry. The value is copied, so that it does not keep a whole response in memory.
pub(super) fn entry(prefix: &str, theirs: &KeyValue) -> Entry {
    Entry {
        key: from_etcd_key(prefix, &theirs.key),
        value: Bytes::copy_from_slice(&theirs.value),
        created: revision(theirs.create_revision),
        modified: revision(theirs.mod_revision),
        version: theirs.version.max(0).cast_unsigned(),
        lease: (theirs.lease != 0).then(|| LeaseId(theirs.lease.cast_unsigned())),
    }
}

/// Converts a transaction. etcd runs operations in sequence; reads come first, because ours see the state
/// before the transaction.
pub(super) fn transaction(prefix: &str, txn: &Txn) -> TxnRequest {
    let ops = |ops: &[Op]| -> Vec<RequestOp> {
        let (reads, writes): (Vec<_>, Vec<_>) = ops.iter().partition(|op| matches!(op, Op::Get(_)));
        reads.into_iter().chain(writes).map(|op| request(prefix, op)).collect()
    };
    let mut request = TxnRequest {
        compare: txn.compares.iter().map(|compare| comparison(prefix, compare)).collect(),
        success: ops(&txn.success),
        failure: ops(&txn.failure),
    };
    if request.success.is_empty() && request.failure.is_empty() {
        // etcd answers a transaction without operations from a member's local state, however old. A read
        // makes it linearizable.
        let count =
            RangeRequest { key: to_etcd_key(prefix, "x"), count_only: true, ..RangeRequest::default() };
        let op = RequestOp { request: Some(Request::Range(count)) };
        request.success = vec![op.clone()];
        request.failure = vec![op];
    }
    request
}

fn request(prefix: &str, op: &Op) -> RequestOp {
    let request = match op {
        Op::Get(key) => {
            Request::Range(RangeRequest { key: to_etcd_key(prefix, key), ..RangeRequest::default() })
        }
        Op::Put { key, value, lease } => Request::Put(PutRequest {
            key: to_etcd_key(prefix, key),
            value: value.clone(),
            lease: lease.map_or(0, |lease| number(lease.0)),
        }),
        Op::Delete(key) => Request::DeleteRange(DeleteRangeRequest { key: to_etcd_key(prefix, key) }),
    };
    RequestOp { request: Some(request) }
}

fn comparison(prefix: &str, compare: &Compare) -> Comparison {
    let key = to_etcd_key(prefix, compare.key());
    let (result, target, operand) = match compare {
        Compare::Absent(_) => (Relation::Equal, Target::Create, Operand::Create(0)),
        // In etcd a missing key has version 0; in our store it has none, and the comparison fails. No
        // version is less than 0.
        Compare::Version(_, 0) | Compare::Created(_, Revision(0)) | Compare::Modified(_, Revision(0)) => {
            (Relation::Less, Target::Version, Operand::Version(0))
        }
        Compare::Version(_, version) => {
            (Relation::Equal, Target::Version, Operand::Version(number(*version)))
        }
        Compare::Created(_, at) => (Relation::Equal, Target::Create, Operand::Create(number(at.0))),
        Compare::Modified(_, at) => (Relation::Equal, Target::Mod, Operand::Mod(number(at.0))),
        Compare::Value(_, value) => (Relation::Equal, Target::Value, Operand::Value(value.clone())),
    };
    Comparison { result: result.into(), target: target.into(), key, operand: Some(operand) }
}
