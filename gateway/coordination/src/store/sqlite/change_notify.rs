//! Processes that share the file tell each other of commits: an empty datagram to every socket in a
//! folder beside it. One that is lost costs a poll's time.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::store::Revision;
use crate::store::sqlite::permissions;
use crate::store::sqlite::worker::Worker;

/// Listens, until it is dropped.
pub(super) struct Notices {
    bell: Bell,
    listening: AbortHandle,
}

/// Tells the others.
#[derive(Clone)]
pub(super) struct Bell {
    /// Without one, the others find out by their poll.
    socket: Arc<OnceLock<Socket>>,
    folder: PathBuf,
}

/// A socket and its path.
pub(super) struct Socket {
    path: PathBuf,
    socket: tokio::net::UnixDatagram,
}

impl Notices {
    /// Reads the newest revision whenever another process says that there is one.
    pub(super) fn listen(directory: &Path, reader: &Worker, tell: watch::Sender<Revision>) -> Notices {
        let bell = Bell { socket: Arc::default(), folder: directory.join("bells") };
        let listening = tokio::spawn(listen(bell.clone(), reader.clone(), tell));
        Notices { bell, listening: listening.abort_handle() }
    }

    pub(super) fn bell(&self) -> Bell {
        self.bell.clone()
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.listening.abort();
        // Left over, it would be removed by the next commit of another process.
        if let Some(own) = self.bell.socket.get() {
            let _ = std::fs::remove_file(&own.path);
        }
    }
}

/// A socket under a name that no other one of this process has.
pub(super) fn bind(folder: &Path) -> io::Result<Socket> {
    permissions::folder(folder)?;
    for n in 0..limits::STORE_PEERS {
        let own = folder.join(format!("{}-{n}", std::process::id()));
        let knock = UnixDatagram::unbound()?;
        // One that has much to hear is there, and not waited for.
        knock.set_nonblocking(true)?;
        if knock.send_to(&[], &own).is_err_and(|error| is_refused(&error)) {
            // Of a process that had this number before, and was killed.
            let _ = std::fs::remove_file(&own);
        }
        match UnixDatagram::bind(&own) {
            Ok(socket) => {
                socket.set_nonblocking(true)?;
                return Ok(Socket { path: own, socket: tokio::net::UnixDatagram::from_std(socket)? });
            }
            // Another store of this process has it.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            // What else is wrong is so under every name.
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

impl Bell {
    pub(super) fn ring(&self) {
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

    /// Its own socket, made as soon as that is possible, and not tried more often than needed.
    fn own(&self, not_before: &mut Instant) -> Option<&Socket> {
        if self.socket.get().is_none() && Instant::now() >= *not_before {
            *not_before = Instant::now() + Duration::from_millis(limits::STORE_BELL_MS);
            // The path of a socket is short (unix(7)), and some file systems have none.
            match bind(&self.folder) {
                Ok(socket) => drop(self.socket.set(socket)),
                Err(error) => tracing::debug!(%error, "commits of other processes are seen late"),
            }
        }
        self.socket.get()
    }
}

async fn listen(bell: Bell, reader: Worker, tell: watch::Sender<Revision>) {
    let poll = Duration::from_millis(limits::STORE_POLL_MS);
    let mut not_before = Instant::now();
    loop {
        match bell.own(&mut not_before) {
            None => tokio::time::sleep(poll).await,
            Some(own) => {
                // Too late is as good as never: a poll follows either way.
                let _ = tokio::time::timeout(poll, own.socket.recv(&mut [0; 1])).await;
                // As many as have come are one.
                while own.socket.try_recv(&mut [0; 1]).is_ok() {}
            }
        }
        match reader.ask(|db| db.newest()).await {
            Ok(newest) => {
                tell.send_if_modified(|known| {
                    let newer = newest > *known;
                    *known = newest.max(*known);
                    newer
                });
            }
            Err(_) => tokio::time::sleep(poll).await,
        }
    }
}
