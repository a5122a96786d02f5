//! What a client's connection proves about it, and whether it may carry a token.

use std::net::IpAddr;

use crate::access::{Access, AuthenticationError, Identity};

/// What a client's connection proves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// Whether nobody on the way can read it: TLS.
    pub encrypted: bool,
    /// The identity of the certificate that the client showed.
    pub certificate: Option<Identity>,
}

impl Access {
    /// Whether a token may come from this address over such a connection. Everybody on the network can read
    /// what is not encrypted, except on this computer.
    pub fn check_token_transport(&self, peer: IpAddr, encrypted: bool) -> Result<(), AuthenticationError> {
        match encrypted || self.insecure || peer.to_canonical().is_loopback() {
            true => Ok(()),
            false => Err(AuthenticationError::Unencrypted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::AccessSettings;

    #[test]
    fn a_token_from_another_computer_needs_tls() {
        let may = |insecure, peer: &str, encrypted| {
            let access = Access::new(&AccessSettings { insecure, ..AccessSettings::default() }).unwrap();
            access.check_token_transport(peer.parse().unwrap(), encrypted).is_ok()
        };
        assert!(may(false, "127.0.0.1", false) && may(false, "::ffff:127.0.0.1", false));
        assert!(!may(false, "10.0.0.2", false) && !may(false, "fd00::2", false));
        assert!(may(false, "10.0.0.2", true) && may(true, "10.0.0.2", false));
    }
}
