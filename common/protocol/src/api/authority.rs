//! Documents of `/api/v2/authority`: who may command what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All authorities, in the order of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorityList {
    /// Empty at a relay and for a recording, where nothing is guarded.
    pub authorities: Vec<AuthorityDocument>,
}

/// The client that holds an authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorityClient {
    /// The label of its identity: the name of its token, or its address.
    pub identity: String,
    /// The name by which it holds the lock; that of its session if it took the authority by commanding.
    pub client: String,
    /// Its fencing token: a later holder has a higher one.
    pub token: u64,
}

/// One authority.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorityDocument {
    /// Its name, which is that of its lock: `/api/v2/locks/{name}`.
    pub name: String,
    /// Its holder; null if it is free.
    pub holder: Option<AuthorityClient>,
    /// Clients that wait for it.
    pub waiting: usize,
    /// `idle`, `commanded`, or `stopping` while the stop is published because its holder is silent.
    pub phase: String,
    /// Since the newest command at any endpoint of the computer, seconds; null if there was none since boot.
    pub last_command_age_s: Option<f64>,
    /// Patterns of the topics that only its holder may publish.
    pub topics: Vec<String>,
    /// Patterns of the services that only its holder may call.
    pub services: Vec<String>,
    /// Patterns of the actions to which only its holder may send goals.
    pub actions: Vec<String>,
    /// `none`, `zero` or `latch_stop`: what happens when its holder falls silent.
    pub link_loss: String,
    /// How long its holder may be silent, milliseconds.
    pub timeout_ms: u64,
    /// Whether a client takes it by its first command.
    pub implicit: bool,
    /// Commands that passed at this endpoint.
    pub granted: u64,
    /// Commands that were refused at this endpoint.
    pub refused: u64,
    /// Why it is not known who holds it; null if it is known.
    pub problem: Option<String>,
}
