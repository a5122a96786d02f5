//! Keys and values, there and here: all keys of a cluster begin with ours.

use bytes::Bytes;

use crate::store::etcd::proto::{
    Comparison, DeleteRangeRequest, KeyValue, Operand, PutRequest, RangeRequest, Relation, Request,
    RequestOp, Target, TxnRequest,
};
use crate::store::{Compare, Entry, LeaseId, Op, Range, Revision, Txn};

/// A number of etcd's.
pub(super) fn number(ours: u64) -> i64 {
    i64::try_from(ours).unwrap_or(i64::MAX)
}

/// A revision of etcd's.
pub(super) fn revision(theirs: i64) -> Revision {
    Revision(theirs.max(0).cast_unsigned())
}

/// A key with what all keys begin with.
pub(super) fn there(prefix: &str, key: &str) -> Bytes {
    Bytes::from([prefix, key].concat())
}

/// The key without it. A key that is no text was not written by us.
pub(super) fn here(prefix: &str, key: &[u8]) -> String {
    String::from_utf8_lossy(key.strip_prefix(prefix.as_bytes()).unwrap_or(key)).into_owned()
}

/// The first key under a prefix, and the first one that no longer is. Keys are UTF-8, where this
/// byte never is.
pub(super) fn span(prefix: &str, under: &str) -> (Bytes, Bytes) {
    let low = there(prefix, under);
    let high = [&low[..], &[0xff]].concat();
    (low, Bytes::from(high))
}

/// The keys of a page: from this one, and before that one.
pub(super) fn page(prefix: &str, range: &Range) -> (Bytes, Bytes) {
    let (low, high) = span(prefix, &range.prefix);
    match &range.after {
        // No key is between one and the same with a zero byte behind it.
        Some(after) if !range.backward => (low.max(there(prefix, &format!("{after}\0"))), high),
        Some(before) => (low, high.min(there(prefix, before))),
        None => (low, high),
    }
}

/// What the cluster has, as ours. The value is a copy, so that it does not hold a whole answer.
pub(super) fn entry(prefix: &str, theirs: &KeyValue) -> Entry {
    Entry {
        key: here(prefix, &theirs.key),
        value: Bytes::copy_from_slice(&theirs.value),
        created: revision(theirs.create_revision),
        modified: revision(theirs.mod_revision),
        version: theirs.version.max(0).cast_unsigned(),
        lease: (theirs.lease != 0).then(|| LeaseId(theirs.lease.cast_unsigned())),
    }
}

/// A transaction as etcd has it. It does one operation after the other, and ours read what was before:
/// so they come first.
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
        // One with no operation at all would be answered by what the member happens to know, however
        // old; with one that reads it is answered as of now.
        let count = RangeRequest { key: there(prefix, "x"), count_only: true, ..RangeRequest::default() };
        let op = RequestOp { request: Some(Request::Range(count)) };
        request.success = vec![op.clone()];
        request.failure = vec![op];
    }
    request
}

fn request(prefix: &str, op: &Op) -> RequestOp {
    let request = match op {
        Op::Get(key) => Request::Range(RangeRequest { key: there(prefix, key), ..RangeRequest::default() }),
        Op::Put { key, value, lease } => Request::Put(PutRequest {
            key: there(prefix, key),
            value: value.clone(),
            lease: lease.map_or(0, |lease| number(lease.0)),
        }),
        Op::Delete(key) => Request::DeleteRange(DeleteRangeRequest { key: there(prefix, key) }),
    };
    RequestOp { request: Some(request) }
}

fn comparison(prefix: &str, compare: &Compare) -> Comparison {
    let key = there(prefix, compare.key());
    let (result, target, operand) = match compare {
        Compare::Absent(_) => (Relation::Equal, Target::Create, Operand::Create(0)),
        // To etcd a key that does not exist has version 0 and so on; to us it has none. Nothing is less.
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
