//! The error of `[access]`: why its rules cannot be used.

use crate::access::forwarded::TRUSTED_PROXY_ENTRIES;
use crate::access::jwt_keys::JwtKeyError;
use crate::access::own_names::{HOST_ENTRIES, HostError};
use crate::access::tokens::TokenError;

/// Why the access rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A glob is malformed.
    #[error("'{glob}': {reason}")]
    Glob {
        /// The glob.
        glob: String,
        /// The cause.
        reason: String,
    },
    /// A host is no name.
    #[error("hosts: {0}")]
    Host(#[from] HostError),
    /// Too many hosts.
    #[error("hosts: at most {HOST_ENTRIES} names")]
    Hosts,
    /// A proxy is neither an address nor a network.
    #[error("trusted_proxies: '{0}' is no address (10.0.0.1) and no network (10.0.0.0/8)")]
    Proxy(String),
    /// Too many proxies.
    #[error("trusted_proxies: at most {TRUSTED_PROXY_ENTRIES} addresses and networks")]
    Proxies,
    /// The token file cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The keys of JWTs cannot be used.
    #[error(transparent)]
    JwtKeys(#[from] JwtKeyError),
}
