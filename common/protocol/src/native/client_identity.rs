//! Identity of a client, as the endpoint sees it.

use serde::{Deserialize, Serialize};

/// Who the endpoint takes a client for: what its locks and messages belong to, and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientIdentity {
    /// The name of its token, or its address if it has none.
    pub name: String,
    /// `observer`, `operator` or `commander`.
    pub role: String,
}
