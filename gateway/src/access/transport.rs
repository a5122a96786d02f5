//! The transport of a client's connection: what it proves, and whether it may carry a token.

use crate::access::{Access, AuthenticationError, Identity};

/// Facts that a client's connection proves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// Whether it uses TLS.
    pub encrypted: bool,
    /// Whether it comes from this computer: a client's, or that of a proxy, which has its own way to its clients.
    pub local: bool,
    /// The identity of the certificate that the client showed.
    pub certificate: Option<Identity>,
}

impl Transport {
    /// Whether it cannot be read on the network.
    pub fn is_confidential(&self) -> bool {
        self.encrypted || self.local
    }
}

impl Access {
    /// Whether a token may come over a connection that is confidential or not.
    pub fn check_token_transport(&self, is_confidential: bool) -> Result<(), AuthenticationError> {
        match is_confidential || self.insecure {
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
        let may = |insecure, local, encrypted| {
            let access = Access::new(&AccessSettings { insecure, ..AccessSettings::default() }).unwrap();
            let transport = Transport { encrypted, local, certificate: None };
            access.check_token_transport(transport.is_confidential()).is_ok()
        };
        assert!(may(false, true, false) && may(false, false, true) && may(true, false, false));
        assert!(!may(false, false, false));
    }
}
