//! The server's certificate, key and authority of clients, from PEM files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{Error as RustlsError, RootCertStore, ServerConfig};

use crate::server::tls::{certificate_names, shown};

/// The protocol over TLS: both HTTP and the handshake of a WebSocket.
const ALPN: &[u8] = b"http/1.1";
/// Permissions that a key's file must not have: those of others.
const OTHERS: u32 = 0o007;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// A file cannot be read, or is not PEM.
    #[error("{}: {source}", shown(file))]
    Pem {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: PemError,
    },
    /// A file without what it should have.
    #[error("{} has no {what} in PEM format", shown(file))]
    Empty {
        /// The file.
        file: PathBuf,
        /// The missing part.
        what: &'static str,
    },
    /// Every user of this computer may read the key.
    #[error("everybody on this computer may read the key {file}: chmod 600 {file}", file = shown(.0))]
    KeyIsPublic(PathBuf),
    /// A certificate is malformed, or does not belong to its key.
    #[error("{}: {source}", shown(file))]
    Certificate {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: RustlsError,
    },
    /// The authority of clients cannot be used.
    #[error("{}: {source}", shown(file))]
    ClientAuthority {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: VerifierBuilderError,
    },
}

/// Reads the files: the configuration, and the names in the certificate.
pub(super) fn load(
    cert: &Path,
    key: &Path,
    client_ca: Option<&Path>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
) -> Result<(ServerConfig, Vec<String>), TlsFileError> {
    let wrong = |file: &Path| {
        let file = file.to_owned();
        move |source| TlsFileError::Certificate { file, source }
    };
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(wrong(cert))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for root in read_certificates(file)? {
                roots.add(root).map_err(wrong(file))?;
            }
            // A client without a certificate is welcome; one with a wrong certificate is not. Neither is one of an
            // authority whose list is not among those that are given.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .with_crls(revoked)
                .build()
                .map_err(|source| TlsFileError::ClientAuthority { file: file.to_owned(), source })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = read_certificates(cert)?;
    let names = chain.first().map(certificate_names::dns_names).unwrap_or_default();
    let mut config = builder.with_single_cert(chain, read_key(key)?).map_err(wrong(cert))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Every connection proves its certificate, and four endpoints share no sessions anyway.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok((config, names))
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let fault = |source| TlsFileError::Pem { file: file.to_owned(), source };
    let all = CertificateDer::pem_file_iter(file).map_err(fault)?;
    let all = all.collect::<Result<Vec<_>, _>>().map_err(fault)?;
    match all.is_empty() {
        true => Err(TlsFileError::Empty { file: file.to_owned(), what: "certificate" }),
        false => Ok(all),
    }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let mode = std::fs::metadata(file).map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & OTHERS != 0) {
        return Err(TlsFileError::KeyIsPublic(file.to_owned()));
    }
    PrivateKeyDer::from_pem_file(file).map_err(|source| match source {
        PemError::NoItemsFound => TlsFileError::Empty { file: file.to_owned(), what: "private key" },
        source => TlsFileError::Pem { file: file.to_owned(), source },
    })
}
