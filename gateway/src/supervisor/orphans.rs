//! Endpoint processes whose supervisor is gone: found by their adoption sockets in the state directory.

use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process::adoption::{AdoptionRequest, Description, receive, socket_port};
use crate::supervisor::socket_peer::SocketPeer;

/// Adoption sockets that are examined in one directory.
const ADOPTION_FILES: usize = 256;
/// How long endpoint processes have to answer, all together; one that does not is hung, as one that sends no
/// heartbeat for this time is.
const ANSWER_MS: u64 = 1_500;

/// A living endpoint process.
pub(super) struct Orphan {
    pub(super) peer: SocketPeer,
    /// Its answer; absent if it hangs.
    pub(super) answer: Option<Answer>,
}

/// The answer of an endpoint process.
pub(super) struct Answer {
    pub(super) description: Description,
    /// Its listening sockets, if it is adopted.
    pub(super) listeners: Vec<TcpListener>,
    /// The link to it.
    pub(super) stream: UnixStream,
}

/// The adoption sockets in a directory, with the primary port of their gateway.
pub(crate) fn adoption_sockets(dir: &Path) -> Vec<(u16, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sockets = entries.filter_map(|entry| {
        let path = entry.path();
        Some((socket_port(path.file_name()?.to_str()?)?, path))
    });
    sockets.take(ADOPTION_FILES).collect()
}

/// Sends a request to all endpoint processes whose sockets are in `dir`. Sockets of ended processes are
/// removed.
pub(super) fn find(dir: &Path, request: AdoptionRequest) -> Vec<Orphan> {
    let mut connected = Vec::new();
    for (_, path) in adoption_sockets(dir) {
        match SocketPeer::connect(&path) {
            Ok((mut stream, peer)) => {
                let asked = stream.write_all(request.word());
                connected.push((stream, peer, asked));
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                let _ = std::fs::remove_file(&path);
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "an endpoint cannot be adopted"),
        }
    }
    // All of them were asked before the first answer is awaited, so that several hung ones cost one timeout.
    let deadline = Instant::now() + Duration::from_millis(ANSWER_MS);
    let answered = connected.into_iter().map(|(stream, peer, asked)| {
        let answer = asked.and_then(|()| {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(20));
            stream.set_read_timeout(Some(left))?;
            let (description, listeners) = receive(&stream)?;
            Ok(Answer { description, listeners, stream })
        });
        if let Err(error) = &answer {
            tracing::warn!(pid = peer.pid, %error, "an endpoint does not answer");
        }
        Orphan { peer, answer: answer.ok() }
    });
    answered.collect()
}
