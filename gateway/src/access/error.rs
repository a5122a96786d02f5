//! The reasons why a client is not identified, and why it may not do what it asks for.

use std::time::Duration;

use crate::access::jwt::JwtError;

/// Most characters of a host in a message.
const HOST_CHARS: usize = 100;

/// A denied permission; the text says what would help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PermissionDenied(pub String);

impl PermissionDenied {
    /// For pages of other sites, and of names that others may own.
    pub fn telemetry_only() -> PermissionDenied {
        PermissionDenied(
            "a page of another site gets telemetry only: show a token, or list its origin in [access] origins; \
             if it is this rover's own page, list the rover's name in [access] hosts"
                .to_owned(),
        )
    }

    /// For pages that a browser opened under this name.
    pub fn unknown_name(host: &str) -> PermissionDenied {
        let host: String = host.chars().take(HOST_CHARS).collect();
        PermissionDenied(format!(
            "this gateway does not know the name {host}, and whoever owns a name can point it here: open the \
             rover by its address, show a token, or add the name to hosts under [access]"
        ))
    }
}

/// Why a token identifies no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// No such token.
    #[error("this token is not known; ask whoever runs the gateway for one")]
    UnknownToken,
    /// No such token, and too many wrong ones came from this address.
    #[error("this token is not known, and too many wrong ones came from your address: wait {} s", .0.as_secs().max(1))]
    TooManyAttempts(Duration),
    /// Others on the network could read it.
    #[error(
        "a token over ws:// or http:// can be read by everybody on the network, so it is not taken from another \
         computer: use wss:// or https:// (`roverline-gateway cert` makes certificates), or set insecure = true \
         under [access]"
    )]
    Unencrypted,
    /// The token's end has come.
    #[error("this token expired at {0}; ask whoever runs the gateway for a new one")]
    Expired(String),
    /// The token was shown before, and has been taken out since.
    #[error("this token was revoked; ask whoever runs the gateway for a new one")]
    Revoked,
    /// The client's certificate is in the list of revoked ones.
    #[error("this certificate was revoked; ask whoever runs the gateway for a new one")]
    CertificateRevoked,
    /// The end of the client's certificate has come.
    #[error("this certificate expired at {0}; ask whoever runs the gateway for a new one")]
    CertificateExpired(String),
    /// It is a JWT, and not a valid one.
    #[error(transparent)]
    Jwt(#[from] JwtError),
}
