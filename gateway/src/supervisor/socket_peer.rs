//! The process behind a Unix socket, held by a descriptor (pidfd): a signal reaches this process or none,
//! never another one to which the system gave the same id.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process that listened on a Unix socket.
#[derive(Debug)]
pub(crate) struct SocketPeer {
    /// Its id.
    pub(crate) pid: u32,
    pidfd: OwnedFd,
}

impl SocketPeer {
    /// Connects to the socket at `path`, and takes hold of the process that listens there.
    pub(crate) fn connect(path: &Path) -> io::Result<(UnixStream, SocketPeer)> {
        let stream = UnixStream::connect(path)?;
        let listener = rustix::net::sockopt::socket_peercred(&stream)?;
        if listener.uid != rustix::process::geteuid() {
            return Err(io::Error::new(ErrorKind::PermissionDenied, "another user's process listens there"));
        }
        let pidfd = pidfd_open(listener.pid, PidfdFlags::empty())?;
        // The process could have ended before it was opened. It has not if it still listens now, and its id
        // cannot have been given to another one in between.
        let again = UnixStream::connect(path)?;
        if rustix::net::sockopt::socket_peercred(&again)?.pid != listener.pid {
            return Err(io::Error::new(ErrorKind::ConnectionRefused, "another process listens there now"));
        }
        let pid = listener.pid.as_raw_nonzero().get().unsigned_abs();
        Ok((stream, SocketPeer { pid, pidfd }))
    }

    /// Sends a signal, if the process still exists.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Waits until the process has ended; whether it has, within `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            match poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&left)) {
                Ok(count) => return count > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_listening_process_is_held() {
        let path = std::env::temp_dir().join(format!("roverline-peer-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        assert_eq!(SocketPeer::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).unwrap();
        let (_stream, peer) = SocketPeer::connect(&path).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert!(!peer.wait(Duration::ZERO), "it runs");
        drop(listener);
        assert_eq!(SocketPeer::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        std::fs::remove_file(path).unwrap();
    }
}
