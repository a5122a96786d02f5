//! TLS to an endpoint: its certificate is signed by the team's authority, or it is the one that was shown at
//! first, as SSH does it.

mod error;
mod fingerprint;
mod known_hosts;
mod renewal;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub use error::TlsError;
pub(crate) use error::explain;
pub use fingerprint::Fingerprint;
pub(crate) use known_hosts::{FirstUse, Trust};
pub(crate) use renewal::Connectors;

use crate::tls::known_hosts::KnownHosts;
use crate::tls::verifier::AnyCertificate;

/// Which endpoints are trusted with `wss://`, and the certificate of this client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// The authority that signed the endpoints' certificates (PEM). Without it, the certificate that an
    /// endpoint shows at first is remembered, and another one is refused.
    pub ca: Option<PathBuf>,
    /// This client's certificate (PEM).
    pub cert: Option<PathBuf>,
    /// Its key (PEM).
    pub key: Option<PathBuf>,
    /// Where certificates that were seen are remembered; absent: `known_hosts` in the user's state
    /// directory.
    pub known_hosts: Option<PathBuf>,
}

impl TlsOptions {
    /// Reads the files, to report a mistake before anything is connected.
    pub fn check(&self) -> Result<(), TlsError> {
        Connector::new(self).map(drop)
    }

    fn identity(&self) -> Result<Option<Identity>, TlsError> {
        let (cert, key) = match (&self.cert, &self.key) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => (cert, key),
            _ => return Err(TlsError::HalfAnIdentity),
        };
        let chain = certificates(cert)?;
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|source| TlsError::File { file: key.clone(), reason: source.to_string() })?;
        Ok(Some(Identity { chain, key }))
    }
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn certificates(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |reason: String| TlsError::File { file: file.clone(), reason };
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| fault(error.to_string()))?;
    if all.is_empty() { Err(fault("it has no certificate in PEM format".to_owned())) } else { Ok(all) }
}

/// Performs the client's side of the handshake.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    /// For endpoints without a common authority.
    known_hosts: Option<Arc<KnownHosts>>,
}

impl Connector {
    pub(crate) fn new(options: &TlsOptions) -> Result<Connector, TlsError> {
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Identity)?;
        let (builder, known_hosts) = match &options.ca {
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for root in certificates(file)? {
                    let fault = |error: tokio_rustls::rustls::Error| TlsError::File {
                        file: file.clone(),
                        reason: error.to_string(),
                    };
                    roots.add(root).map_err(fault)?;
                }
                (builder.with_root_certificates(roots), None)
            }
            None => {
                let verifier = Arc::new(AnyCertificate::new(provider));
                let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
                let file = options.known_hosts.clone().unwrap_or_else(known_hosts::default_file);
                (builder, Some(Arc::new(KnownHosts::new(file))))
            }
        };
        let mut config = match options.identity()? {
            Some(Identity { chain, key }) => {
                builder.with_client_auth_cert(chain, key).map_err(TlsError::Identity)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed session would not show the certificate again; and four endpoints share a name, but no
        // sessions.
        config.resumption = Resumption::disabled();
        Ok(Connector { config: Arc::new(config), known_hosts })
    }

    /// The same with what another one has seen of the endpoints' certificates.
    fn with_known_hosts_of(self, other: &Connector) -> Connector {
        Connector { known_hosts: other.known_hosts.clone(), ..self }
    }

    /// Connects over a stream to `authority`, `host:port`. Nothing of the program's is sent before the
    /// certificate is trusted.
    pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        authority: &str,
        stream: S,
    ) -> Result<(TlsStream<S>, Trust), TlsError> {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Host(host.to_owned()))?;
        let connecting = TlsConnector::from(self.config.clone()).connect(name, stream);
        let stream = connecting.await.map_err(|error| TlsError::of_handshake(&error, host))?;
        let Some(known_hosts) = self.known_hosts.clone() else { return Ok((stream, Trust::Known)) };
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let fingerprint = Fingerprint::of(shown.ok_or(TlsError::NoCertificate)?);
        let authority = authority.to_owned();
        let check = tokio::task::spawn_blocking(move || known_hosts.check(&authority, fingerprint));
        let trust = check.await.map_err(|_| TlsError::NoCertificate)??;
        Ok((stream, trust))
    }
}
