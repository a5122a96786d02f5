//! Processes that share the file tell each other of commits: an empty datagram to every socket in a
//! folder beside it. One that is lost costs a poll's time.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::super::Revision;
use super::worker::Worker;

/// Listens, until it is dropped.
pub(super) struct Notices {
    bell: Bell,
    listening: AbortHandle,
}

/// Tells the others.
#[derive(Clone)]
pub(super) struct Bell {
    /// Without one, the others find out by their poll.
    socket: Option<Arc<UnixDatagram>>,
    folder: PathBuf,
    own: PathBuf,
}

impl Notices {
    /// Reads the newest revision whenever another process says that there is one.
    pub(super) fn listen(
        directory: &Path,
        reader: &Worker,
        tell: watch::Sender<Revision>,
    ) -> io::Result<Notices> {
        let folder = directory.join("bells");
        std::fs::create_dir_all(&folder)?;
        // The path of a socket is short (unix(7)), and some file systems have none.
        let (own, socket) = match bind(&folder) {
            Ok((own, socket)) => (own, Some(socket)),
            Err(error) => {
                tracing::warn!(%error, folder = %folder.display(), "commits of other processes are seen late");
                (folder.clone(), None)
            }
        };
        let heard = socket.as_ref().map(UnixDatagram::try_clone).transpose()?;
        let heard = heard.map(tokio::net::UnixDatagram::from_std).transpose()?;
        let bell = Bell { socket: socket.map(Arc::new), folder, own };
        let listening = tokio::spawn(listen(heard, reader.clone(), tell));
        Ok(Notices { bell, listening: listening.abort_handle() })
    }

    pub(super) fn bell(&self) -> Bell {
        self.bell.clone()
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.listening.abort();
        // Left over, it would be removed by the next commit of another process.
        let _ = std::fs::remove_file(&self.bell.own);
    }
}

/// A socket under a name that no other one of this process has.
fn bind(folder: &Path) -> io::Result<(PathBuf, UnixDatagram)> {
    let mut failed = io::Error::from(io::ErrorKind::AddrInUse);
    for n in 0..limits::STORE_PEERS {
        let own = folder.join(format!("{}-{n}", std::process::id()));
        if UnixDatagram::unbound()?.send_to(&[], &own).is_err_and(|error| is_refused(&error)) {
            // Of a process that had this number before, and was killed.
            let _ = std::fs::remove_file(&own);
        }
        match UnixDatagram::bind(&own) {
            Ok(socket) => {
                socket.set_nonblocking(true)?;
                return Ok((own, socket));
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

impl Bell {
    pub(super) fn ring(&self) {
        let Some(socket) = &self.socket else { return };
        let Ok(folder) = std::fs::read_dir(&self.folder) else { return };
        for entry in folder.take(limits::STORE_PEERS).flatten() {
            let path = entry.path();
            if path == self.own {
                continue;
            }
            let sent = socket.send_to(&[], &path);
            if sent.is_err_and(|error| is_refused(&error)) {
                // Its process is gone.
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

async fn listen(socket: Option<tokio::net::UnixDatagram>, reader: Worker, tell: watch::Sender<Revision>) {
    let poll = Duration::from_millis(limits::STORE_POLL_MS);
    loop {
        match &socket {
            None => tokio::time::sleep(poll).await,
            Some(socket) => {
                // Too late is as good as never: a poll follows either way.
                let _ = tokio::time::timeout(poll, socket.recv(&mut [0; 1])).await;
                // As many as have come are one.
                while socket.try_recv(&mut [0; 1]).is_ok() {}
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
