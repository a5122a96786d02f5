//! The credential that a client proved its identity with: its end is noticed while the client is connected.

/// A client's credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credential {
    /// None: the role follows from its computer.
    #[default]
    None,
    /// A token of the token file, by its hash.
    Token([u8; 32]),
    /// A JWT.
    Jwt {
        /// The fingerprint of the key that verified it.
        key: [u8; 32],
        /// Its end, seconds since the Unix epoch.
        expires_s: i64,
    },
}
