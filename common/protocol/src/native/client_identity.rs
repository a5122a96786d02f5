//! Identity of a client, as the endpoint sees it.

use serde::{Deserialize, Serialize};

/// Identity and role of a client, as the endpoint has established them. Locks and messages belong to the identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientIdentity {
    /// The name of its token, or its address if it has none.
    pub name: String,
    /// `observer`, `operator` or `commander`.
    pub role: String,
}
