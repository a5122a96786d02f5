//! The credential that a client proved its identity with: its end is noticed while the client is connected.

/// The serial number of a certificate, big-endian, without zeros in front.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateSerial(Vec<u8>);

impl CertificateSerial {
    /// The number in these big-endian bytes.
    pub fn new(bytes: &[u8]) -> CertificateSerial {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        CertificateSerial(bytes.iter().skip(zeros).copied().collect())
    }
}

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
    /// A certificate.
    Certificate {
        /// Its serial number.
        serial: CertificateSerial,
        /// The last second in which it is valid (`notAfter`), since the Unix epoch.
        not_after_s: i64,
    },
}
