//! The `[tls]` section of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::access::Role;

/// Certificates, and what they permit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// This computer's certificate with those between it and the authority (PEM); absent: no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The authority of the clients' certificates (PEM); absent: no client is asked for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// The certificates of clients that are not taken any more: the authority's revocation list (CRL, PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<PathBuf>,
    /// Whether clients of other computers have to use TLS.
    pub only: bool,
    /// The role of a client certificate by its name, before the role in the certificate.
    pub roles: BTreeMap<String, Role>,
}

impl TlsSettings {
    /// Checks what the types cannot express; an error is a key and a message.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let fail = |key, why: &str| Err((key, why.to_owned()));
        match (&self.cert, &self.key) {
            (Some(_), None) => fail("cert", "it needs its key: add key = \"FILE\""),
            (None, Some(_)) => fail("key", "it belongs to a certificate: add cert = \"FILE\""),
            (None, None) if self.client_ca.is_some() => {
                fail("client_ca", "clients can show certificates over TLS only: add cert and key")
            }
            _ if self.revoked.is_some() && self.client_ca.is_none() => {
                fail("revoked", "it lists certificates of clients: add client_ca = \"FILE\"")
            }
            (None, None) if self.only => fail("only", "there is no TLS yet: add cert and key"),
            _ => Ok(()),
        }
    }
}
