//! Errors of TLS connections; their messages say what to do.

use std::io;
use std::path::PathBuf;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

use crate::tls::fingerprint::Fingerprint;

/// Why there is no TLS connection.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A client certificate without its key, or the reverse.
    #[error("a client's certificate and its key go together: give both --cert and --key")]
    HalfAnIdentity,
    /// This client's certificate cannot be used.
    #[error("this client's certificate cannot be used: {0}")]
    Identity(Error),
    /// The host is neither a name nor an address.
    #[error("'{0}' is neither a host's name nor an address")]
    Host(String),
    /// The handshake failed.
    #[error("{0}")]
    Handshake(String),
    /// The endpoint's certificate is not valid.
    #[error("{0}")]
    Untrusted(String),
    /// The endpoint showed no certificate.
    #[error("it showed no certificate")]
    NoCertificate,
    /// The endpoint showed another certificate than before.
    #[error(
        "the certificate of {address} has changed: it was {known}, now it is {shown}. If nobody renewed it, \
         somebody may be between you and the rover. Compare it with `roverline-gateway cert show` on the \
         rover; if it is right, remove the line of {address} from {}, or use --ca", file.display()
    )]
    Changed {
        /// The endpoint's `host:port`.
        address: String,
        /// The remembered fingerprint.
        known: Fingerprint,
        /// The present one.
        shown: Fingerprint,
        /// Where it is remembered.
        file: PathBuf,
    },
}

impl TlsError {
    /// The error of a failed handshake with `host`.
    pub(crate) fn of_handshake(error: &io::Error, host: &str) -> TlsError {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            Some(Error::InvalidCertificate(_)) => TlsError::Untrusted(explain(error, host)),
            _ => TlsError::Handshake(explain(error, host)),
        }
    }
}

/// The cause of a failed connection to `host`, in words.
pub(crate) fn explain(error: &io::Error, host: &str) -> String {
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "it closed the connection during the TLS handshake".to_owned(),
            _ => error.to_string(),
        };
    };
    match inner {
        Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired (or this computer's clock is wrong)".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet (or this computer's clock is wrong)".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
                "its certificate is not for the name {host}: use a name that it has, or make one for {host} \
                 with `roverline-gateway cert node`"
            ),
            // Another authority may have the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is not signed by the authority that --ca names".to_owned()
            }
            why => format!("its certificate is not valid: {why}"),
        },
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError => {
                format!("it refuses the certificate of this client ({alert:?})")
            }
            alert => format!("it ended the TLS handshake ({alert:?})"),
        },
        Error::InvalidMessage(_) => "it does not speak TLS: use ws:// instead of wss://".to_owned(),
        other => other.to_string(),
    }
}
