//! Change notification between processes that share the store file: each commit sends an empty datagram to
//! every socket in a directory beside the file. A lost datagram costs one poll interval.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::limits;
use crate::store::Revision;
use crate::store::sqlite::permissions;
use crate::store::sqlite::worker::Worker;

/// Retry interval if other processes cannot be notified of commits.
const STORE_NOTIFY_RETRY_MS: u64 = 10_000;

/// Listens for notifications until it is dropped.
pub(super) struct ChangeListener {
    notifier: ChangeNotifier,
    task: AbortHandle,
}

/// Notifies the other processes.
#[derive(Clone)]
pub(super) struct ChangeNotifier {
    /// Until there is a socket, other processes learn of commits by polling.
    socket: Arc<OnceLock<Socket>>,
    folder: PathBuf,
}

/// A socket and its path.
pub(super) struct Socket {
    path: PathBuf,
    socket: tokio::net::UnixDatagram,
}

impl ChangeListener {
    /// Reads the newest revision whenever another process notifies of a commit.
    pub(super) fn listen(
        directory: &Path,
        reader: &Worker,
        newest_sender: watch::Sender<Revision>,
    ) -> ChangeListener {
        let notifier = ChangeNotifier { socket: Arc::default(), folder: directory.join("bells") };
        let task = tokio::spawn(listen(notifier.clone(), reader.clone(), newest_sender));
        ChangeListener { notifier, task: task.abort_handle() }
    }

    pub(super) fn notifier(&self) -> ChangeNotifier {
        self.notifier.clone()
    }
}

impl Drop for ChangeListener {
    fn drop(&mut self) {
        self.task.abort();
        // A socket that is left behind would be removed by the next commit of another process.
        if let Some(own) = self.notifier.socket.get() {
            let _ = std::fs::remove_file(&own.path);
        }
    }
}

/// Binds a socket under a name that is unique in this process.
pub(super) fn bind(folder: &Path) -> io::Result<Socket> {
    permissions::create_folder(folder)?;
    for n in 0..limits::STORE_PEERS {
        let own = folder.join(format!("{}-{n}", std::process::id()));
        let probe = UnixDatagram::unbound()?;
        // A full socket is in use; do not wait for it.
        probe.set_nonblocking(true)?;
        if probe.send_to(&[], &own).is_err_and(|error| is_refused(&error)) {
            // Left by a killed process with the same id.
            let _ = std::fs::remove_file(&own);
        }
        match UnixDatagram::bind(&own) {
            Ok(socket) => {
                socket.set_nonblocking(true)?;
                return Ok(Socket { path: own, socket: tokio::net::UnixDatagram::from_std(socket)? });
            }
            // Another store in this process uses the name.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            // Other errors would occur under every name.
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

impl ChangeNotifier {
    pub(super) fn notify(&self) {
        let Some(own) = self.socket.get() else { return };
        let Ok(folder) = std::fs::read_dir(&self.folder) else { return };
        for entry in folder.take(limits::STORE_PEERS).flatten() {
            let path = entry.path();
            if path == own.path {
                continue;
            }
            let sent = own.socket.try_send_to(&[], &path);
            if sent.is_err_and(|error| is_refused(&error)) {
                // Its process is gone.
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    /// This process's socket, bound as soon as possible; attempts are rate-limited.
    fn own(&self, not_before: &mut Instant) -> Option<&Socket> {
        if self.socket.get().is_none() && Instant::now() >= *not_before {
            *not_before = Instant::now() + Duration::from_millis(STORE_NOTIFY_RETRY_MS);
            // Socket paths are short (unix(7)), and some file systems have no sockets.
            match bind(&self.folder) {
                Ok(socket) => drop(self.socket.set(socket)),
                Err(error) => tracing::debug!(%error, "commits of other processes are seen late"),
            }
        }
        self.socket.get()
    }
}

async fn listen(notifier: ChangeNotifier, reader: Worker, newest_sender: watch::Sender<Revision>) {
    let poll = Duration::from_millis(limits::STORE_POLL_MS);
    let mut not_before = Instant::now();
    loop {
        match notifier.own(&mut not_before) {
            None => tokio::time::sleep(poll).await,
            Some(own) => {
                // A timeout and an error are the same here: a poll follows either way.
                let _ = tokio::time::timeout(poll, own.socket.recv(&mut [0; 1])).await;
                // Coalesces pending notifications.
                while own.socket.try_recv(&mut [0; 1]).is_ok() {}
            }
        }
        match reader.submit(|db| db.newest()).await {
            Ok(newest) => {
                newest_sender.send_if_modified(|known| {
                    let newer = newest > *known;
                    *known = newest.max(*known);
                    newer
                });
            }
            Err(_) => tokio::time::sleep(poll).await,
        }
    }
}
