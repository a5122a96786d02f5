//! TLS of the listening ports: its certificate, which is loaded again when its files change, and the way from
//! an accepted socket to a client's byte stream.

mod certificate_names;
mod certificates;
mod client_certificate;
mod handshake;
mod handshake_queue;
mod handshake_rate;
mod revocation;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_rustls::rustls::ServerConfig;

use crate::access::transport::Transport;
use crate::access::{CertificateSerial, Role};
use crate::config::TlsSettings;
use crate::connection::client_address::ClientAddress;
use crate::connection::stream::{self, ClientStream};
use crate::server::head_arrival::check_open;
use crate::server::pending::PendingConnection;
use crate::server::tls::handshake_queue::HandshakeQueue;
use crate::server::tls::handshake_rate::HandshakeRate;

pub use certificates::TlsFileError;

/// Interval at which the files are checked.
const RELOAD_MS: u64 = 1_000;
/// The first byte of a TLS connection: a handshake record. No HTTP request begins with it.
const TLS_HANDSHAKE_BYTE: u8 = 0x16;

/// Why a connection does not become a client's stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The certificate could not be loaded.
    #[error("there is no usable certificate")]
    NoCertificate,
    /// Too many others wait for the computation of theirs.
    #[error("too many TLS handshakes wait")]
    Busy,
    /// Its address has begun too many.
    #[error("the address has begun too many TLS handshakes")]
    TooMany,
    /// This side ends.
    #[error("the endpoint ends")]
    Ended,
}

/// The TLS settings of a process's ports, and the certificate in use.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    /// Whether clients of other computers have to use TLS.
    only: bool,
    roles: BTreeMap<String, Role>,
    loaded: RwLock<Option<Loaded>>,
    queue: HandshakeQueue,
    rate: HandshakeRate,
    /// Notified to request that the files are read again.
    asked: Notify,
}

/// The contents of the files.
#[derive(Clone, Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// The names in the certificate.
    names: Arc<[String]>,
    /// Clients' certificates that have been revoked.
    revoked: BTreeSet<CertificateSerial>,
}

/// The files that make up the server's configuration.
#[derive(Clone, Debug)]
struct TlsFiles {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    revoked: Option<PathBuf>,
}

/// The files' metadata, which shows that one has changed.
type FileState = Vec<Option<(SystemTime, u64, u64)>>;

impl TlsFiles {
    fn state(&self) -> FileState {
        use std::os::unix::fs::MetadataExt;
        let files = [Some(&self.cert), Some(&self.key), self.client_ca.as_ref(), self.revoked.as_ref()];
        let state = |file: &PathBuf| {
            let metadata = std::fs::metadata(file).ok()?;
            Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
        };
        files.into_iter().flatten().map(state).collect()
    }

    fn load(&self) -> Result<Loaded, TlsFileError> {
        let lists = revocation::read(self.revoked.as_deref())?;
        let revoked = revocation::serials(&lists);
        let (config, names) = certificates::load(&self.cert, &self.key, self.client_ca.as_deref(), lists)?;
        Ok(Loaded { config: Arc::new(config), names: names.into(), revoked })
    }
}

/// Loads the files of the settings, to report a mistake before anything starts.
pub fn check(settings: &TlsSettings) -> Result<(), TlsFileError> {
    TlsFiles::of(settings).map_or(Ok(()), |files| files.load().map(drop))
}

impl TlsFiles {
    fn of(settings: &TlsSettings) -> Option<TlsFiles> {
        let (cert, key) = (settings.cert.clone()?, settings.key.clone()?);
        Some(TlsFiles { cert, key, client_ca: settings.client_ca.clone(), revoked: settings.revoked.clone() })
    }
}

impl Tls {
    /// The TLS of these settings, if they have any. If the certificate cannot be loaded now, it is loaded as
    /// soon as it can be: an endpoint that restarts must not stay away because of it.
    pub fn new(settings: &TlsSettings) -> Option<Arc<Tls>> {
        let files = TlsFiles::of(settings)?;
        let loaded = files.load().map_err(|error| {
            tracing::error!(%error, "no TLS: the certificate cannot be used");
        });
        Some(Arc::new(Tls {
            files,
            only: settings.only,
            roles: settings.roles.clone(),
            loaded: RwLock::new(loaded.ok()),
            queue: HandshakeQueue::default(),
            rate: HandshakeRate::default(),
            asked: Notify::new(),
        }))
    }

    /// Reads the files again, also if they look unchanged.
    pub fn reload(&self) {
        self.asked.notify_one();
    }

    /// Follows the files. Connections that exist keep the certificate that they were opened with; `on_revoked` gets
    /// those of clients that have ended.
    pub async fn follow_files(
        self: Arc<Tls>,
        on_revoked: impl Fn(&BTreeSet<CertificateSerial>) + Send + 'static,
    ) {
        let mut tick = tokio::time::interval(Duration::from_millis(RELOAD_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut loaded = self.loaded.read().is_some().then(|| self.files.state());
        let mut reported = String::new();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.asked.notified() => loaded = None,
            }
            // A disk can be slow, and clients must not wait for it.
            let (files, before) = (self.files.clone(), loaded.clone());
            let reload = tokio::task::spawn_blocking(move || {
                let state = files.state();
                (before.as_ref() != Some(&state)).then(|| (files.load(), state))
            });
            match reload.await {
                Ok(Some((Ok(now), state))) => {
                    tracing::info!(cert = %self.files.cert.display(), "the certificate was loaded again");
                    on_revoked(&now.revoked);
                    *self.loaded.write() = Some(now);
                    loaded = Some(state);
                    reported.clear();
                }
                // Certificate and key are written one after the other: for a moment they do not match.
                Ok(Some((Err(error), _))) => {
                    let why = error.to_string();
                    if why != reported {
                        tracing::warn!(%error, "the changed certificate cannot be used; the old one stays");
                        reported = why;
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the certificate's files were not looked at"),
            }
        }
    }

    fn config(&self) -> Result<Arc<ServerConfig>, OpenError> {
        let loaded = self.loaded.read();
        loaded.as_ref().map(|loaded| loaded.config.clone()).ok_or(OpenError::NoCertificate)
    }

    /// The names in the certificate.
    pub(super) fn names(&self) -> Arc<[String]> {
        self.loaded.read().as_ref().map(|loaded| loaded.names.clone()).unwrap_or_default()
    }
}

/// An accepted connection, ready for HTTP.
pub(super) struct Opened {
    pub(super) stream: ClientStream,
    pub(super) transport: Transport,
    /// Whether the client has to come back over TLS.
    pub(super) needs_tls: bool,
}

/// Opens a client's stream: after a TLS handshake if it begins one. The caller bounds the time.
pub(super) async fn open(
    tls: Option<&Tls>,
    stream: TcpStream,
    peer: SocketAddr,
    pending: &PendingConnection,
) -> Result<Opened, OpenError> {
    let local = peer.ip().to_canonical().is_loopback();
    let plain = |stream, needs_tls| {
        let transport = Transport { encrypted: false, local, certificate: None };
        Ok(Opened { stream: ClientStream::Left(stream), transport, needs_tls })
    };
    let Some(tls) = tls else { return plain(stream, false) };
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 || first != [TLS_HANDSHAKE_BYTE] {
        return plain(stream, tls.only && !local);
    }
    check_open(&stream)?;
    let address = ClientAddress::of(peer.ip());
    if !tls.rate.may_begin(address, roverline_source::clock::monotonic()) {
        return Err(OpenError::TooMany);
    }
    let stream = handshake::accept(stream, tls.config()?, &tls.queue, address, pending).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = shown.and_then(|shown| client_certificate::identity(shown, &tls.roles));
    let transport = Transport { encrypted: true, local, certificate };
    Ok(Opened { stream: stream::tls(stream), transport, needs_tls: false })
}

/// The text of a path in a message.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
