//! The endpoint's adoption socket: a Unix socket in the state directory, accessible to its owner only.
//! Through it, a supervisor that did not start this process learns about it, receives its listening sockets
//! and links itself to it.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roverline_protocol::Tier;
use rustix::fs::Mode;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};

use crate::process::supervisor_link::SupervisorLink;

/// Largest description of a process, settings included.
const DESCRIPTION_BYTES: usize = 1 << 20;
/// Listening sockets that a process passes on: a relay has four.
const PASSED_LISTENERS: usize = 4;
/// How long a supervisor may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(300);

/// A request to an endpoint process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdoptionRequest {
    /// Describe yourself.
    Describe,
    /// Describe yourself, pass on your listening sockets, and follow this link from now on.
    Adopt,
}

impl AdoptionRequest {
    pub(crate) const fn word(self) -> &'static [u8; 6] {
        match self {
            AdoptionRequest::Describe => b"state\n",
            AdoptionRequest::Adopt => b"adopt\n",
        }
    }
}

/// A process's description of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// Its version.
    pub(crate) version: String,
    /// The tiers that it serves, in the order of its listening sockets.
    pub(crate) tiers: Vec<Tier>,
    /// When it was started, nanoseconds since the Unix epoch.
    pub(crate) started_ns: i64,
    /// Whether it serves or is ready to.
    pub(crate) ready: bool,
    /// Whether it accepts connections.
    pub(crate) accepting: bool,
    /// The settings that it was started with, as JSON.
    pub(crate) settings: String,
}

/// The file name of a process's adoption socket.
pub(crate) fn socket_name(primary_port: u16, pid: u32) -> String {
    format!("endpoint-{primary_port}-{pid}.sock")
}

/// The primary port in such a file name.
pub(crate) fn socket_port(name: &str) -> Option<u16> {
    let (port, pid) = name.strip_prefix("endpoint-")?.strip_suffix(".sock")?.split_once('-')?;
    pid.parse::<u32>().ok()?;
    port.parse().ok()
}

/// Binds a Unix socket that only its owner may use.
pub(crate) fn bind_private(path: &Path) -> io::Result<UnixListener> {
    // Created with its mode, so that there is no moment at which other users could connect.
    let umask = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(umask);
    listener
}

/// A bound adoption socket; its file is removed on drop.
pub(crate) struct AdoptionSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    listeners: Vec<TcpListener>,
}

impl AdoptionSocket {
    /// Binds the socket in `dir`, to pass on copies of `listeners`.
    pub(crate) fn bind(
        dir: &Path,
        primary_port: u16,
        listeners: Vec<TcpListener>,
    ) -> io::Result<AdoptionSocket> {
        // A supervisor follows a process by its descriptor, so that it never signals another one of the
        // same id. Without that (Linux before 5.3) there is no adoption.
        rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())?;
        std::fs::create_dir_all(dir)?;
        let path = dir.join(socket_name(primary_port, std::process::id()));
        // Of an earlier process of the same id.
        let _ = std::fs::remove_file(&path);
        let listener = bind_private(&path)?;
        let inode = std::fs::symlink_metadata(&path)?.ino();
        Ok(AdoptionSocket { listener, path, inode, listeners })
    }

    /// Serves forever, one supervisor at a time.
    pub(crate) async fn serve(self, link: &SupervisorLink, describe: impl Fn() -> Description) {
        loop {
            let served = match self.listener.accept().await {
                Ok((stream, _)) => self.answer(stream, link, &describe).await,
                Err(error) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    Err(error)
                }
            };
            if let Err(error) = served {
                tracing::debug!(%error, "the adoption socket was not used to the end");
            }
        }
    }

    async fn answer(
        &self,
        mut stream: UnixStream,
        link: &SupervisorLink,
        describe: &impl Fn() -> Description,
    ) -> io::Result<()> {
        let mut word = [0; 6];
        tokio::time::timeout(REQUEST_TIMEOUT, stream.read_exact(&mut word)).await??;
        let adopt = &word == AdoptionRequest::Adopt.word();
        if !adopt && &word != AdoptionRequest::Describe.word() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an unknown request"));
        }
        let description = serde_json::to_vec(&describe()).map_err(io::Error::other)?;
        let length = (description.len() as u32).to_be_bytes();
        let passed = if adopt { &self.listeners[..] } else { &[] };
        stream.async_io(Interest::WRITABLE, || send_with_listeners(&stream, &length, passed)).await?;
        tokio::time::timeout(REQUEST_TIMEOUT, stream.write_all(&description)).await??;
        if adopt {
            link.adopt(stream.into_std()?).await?;
        }
        Ok(())
    }
}

impl Drop for AdoptionSocket {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn send_with_listeners(stream: &impl AsFd, bytes: &[u8; 4], listeners: &[TcpListener]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED_LISTENERS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("too many listening sockets to pass on"));
    }
    match sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)? {
        4 => Ok(()),
        _ => Err(io::Error::other("a part was sent only")),
    }
}

/// Receives the answer to a request: the description and, of an adopted process, its listening sockets.
/// Waits as long as the stream's read timeout for each part.
pub(crate) fn receive(stream: &StdUnixStream) -> io::Result<(Description, Vec<TcpListener>)> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED_LISTENERS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(stream, &mut [IoSliceMut::new(&mut length)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut listeners = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            listeners.extend(descriptors.map(TcpListener::from));
        }
    }
    let length = u32::from_be_bytes(length) as usize;
    if received.bytes != 4 || length > DESCRIPTION_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a description"));
    }
    let mut description = vec![0; length];
    (&*stream).read_exact(&mut description)?;
    Ok((serde_json::from_slice(&description)?, listeners))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn description(settings: &str) -> Description {
        Description {
            version: "1".to_owned(),
            tiers: vec![Tier::Primary],
            started_ns: 1,
            ready: true,
            accepting: true,
            settings: settings.to_owned(),
        }
    }

    #[test]
    fn socket_names_carry_the_port() {
        assert_eq!(socket_port(&socket_name(8_080, 7)), Some(8_080));
        for other in ["control-8080.sock", "endpoint-8080.sock", "endpoint-8080-x.sock", "endpoint-x-1.sock"]
        {
            assert_eq!(socket_port(other), None, "{other}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_adopter_receives_the_same_listening_socket() {
        let dir = std::env::temp_dir().join(format!("roverline-adoption-{}", std::process::id()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = AdoptionSocket::bind(&dir, 8_080, vec![listener.try_clone().unwrap()]).unwrap();
        let path = dir.join(socket_name(8_080, std::process::id()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (link, _events) = SupervisorLink::new();
        // Larger than a socket's buffer would take at once.
        let large = "s".repeat(DESCRIPTION_BYTES / 2);
        let expected = description(&large);
        let serving = tokio::spawn(async move { socket.serve(&link, || description(&large)).await });
        let request = |request: AdoptionRequest| {
            let path = path.clone();
            tokio::task::spawn_blocking(move || {
                let mut stream = StdUnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                stream.write_all(request.word()).unwrap();
                receive(&stream).unwrap()
            })
        };
        let (described, none) = request(AdoptionRequest::Describe).await.unwrap();
        assert_eq!((described == expected, none.len()), (true, 0));
        let (_, passed) = request(AdoptionRequest::Adopt).await.unwrap();
        assert_eq!(passed.len(), 1);
        drop(listener);
        // Only the copies are left, and they listen.
        let client = std::net::TcpStream::connect(address).unwrap();
        passed[0].set_nonblocking(false).unwrap();
        assert_eq!(passed[0].accept().unwrap().1, client.local_addr().unwrap());
        serving.abort();
        let _ = serving.await;
        assert!(!path.exists());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
