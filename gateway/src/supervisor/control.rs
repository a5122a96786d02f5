//! The supervisor's control socket: a Unix socket in the state directory, accessible to its owner only. A
//! request is one line of JSON; the response is progress lines followed by a result line.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_protocol::api::log::LogDocument;
use roverline_source::clock::monotonic;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::limits;
use crate::log::ProcessLog;
use crate::log::levels::{LevelChange, LevelError};
use crate::process::adoption::bind_private;
use crate::process::control_socket::socket_path;
use crate::supervisor::rolling_restart::{ProcessStatus, Progress, RestartError, RollingRestart};

/// Concurrent clients of the supervisor's control socket.
const CONTROL_CLIENTS: usize = 4;
/// Longest path of a Unix socket on Linux (`sun_path` and its final zero, unix(7)).
const SOCKET_PATH_BYTES: usize = 107;

/// A request to the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Replace the endpoints' processes.
    Restart {
        /// One after another, without loss; the only supported mode.
        rolling: bool,
        /// Only this tier; absent or null: all tiers.
        #[serde(default)]
        tier: Option<Tier>,
    },
    /// List the processes.
    Status,
    /// Show the level of the log, or change it in all processes.
    Log {
        /// The change; absent or null: only show it.
        #[serde(default)]
        change: Option<LevelChange>,
    },
}

/// A line of the response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ControlMessage {
    /// Progress; more lines follow.
    Progress(Progress),
    /// The last line.
    Done {
        /// Whether the request succeeded.
        done: bool,
        /// A message for the user.
        message: String,
        /// The processes, in response to `status`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        endpoints: Vec<ProcessStatus>,
        /// The level of the log, in response to `log`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log: Option<LogDocument>,
    },
}

/// What the requests act on.
pub(super) struct ControlCommands {
    pub(super) restart: Arc<RollingRestart>,
    pub(super) log: Arc<ProcessLog>,
    /// The processes that follow the level of `log`, this one included.
    pub(super) processes: Vec<String>,
}

/// A bound control socket; its file is removed on drop.
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

/// Why the control socket cannot be bound.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindControlError {
    #[error(
        "{} has {} bytes and a socket's path at most {}; see --state",
        .0.display(), .0.as_os_str().len(), SOCKET_PATH_BYTES
    )]
    PathTooLong(PathBuf),
    #[error("{}: another supervisor answers there; see --state", .0.display())]
    InUse(PathBuf),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Control {
    /// Binds the socket in `dir`, after removing a stale socket file.
    pub(super) fn bind(dir: &Path, primary_port: u16) -> Result<Control, BindControlError> {
        let path = socket_path(dir, primary_port);
        if path.as_os_str().len() > SOCKET_PATH_BYTES {
            return Err(BindControlError::PathTooLong(path));
        }
        let text = |source: io::Error| BindControlError::Io { path: path.clone(), source };
        std::fs::create_dir_all(dir).map_err(text)?;
        match StdUnixStream::connect(&path) {
            Ok(_) => return Err(BindControlError::InUse(path)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(&path).map_err(text)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(text(error)),
        }
        let listener = bind_private(&path).map_err(text)?;
        let inode = std::fs::symlink_metadata(&path).map_err(text)?.ino();
        Ok(Control { listener, path, inode })
    }

    /// Serves forever.
    pub(super) async fn serve(self, commands: Arc<ControlCommands>) {
        let slots = Arc::new(Semaphore::new(CONTROL_CLIENTS));
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let commands = commands.clone();
                    tokio::spawn(async move {
                        answer(stream, &commands).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a control connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Another supervisor may have created its own file meanwhile.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Why a request on the control socket was refused.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    /// The client sent nothing in time.
    #[error("no request came")]
    NoRequest,
    /// The socket failed.
    #[error("the request could not be read: {0}")]
    Read(io::Error),
    /// The line has no end within the limit.
    #[error("a request is a line of at most {} bytes", limits::CONTROL_LINE_BYTES)]
    TooLong,
    /// The line is no request.
    #[error("not understood: {0}; ask {{\"op\":\"status\"}} or {{\"op\":\"restart\",\"rolling\":true}}")]
    NotUnderstood(serde_json::Error),
    /// A restart of all endpoints at once was asked for.
    #[error("only a rolling restart is offered: it loses nothing and refuses nobody")]
    NotRolling,
    /// The restart failed.
    #[error(transparent)]
    Restart(RestartError),
    /// The level is not changed.
    #[error(transparent)]
    Level(LevelError),
}

/// The client's connection; the client may disconnect while a restart continues.
struct ControlClient(Option<UnixStream>);

impl ControlClient {
    async fn send(&mut self, line: &ControlMessage) {
        let Some(stream) = &mut self.0 else { return };
        let mut bytes = serde_json::to_vec(line).unwrap_or_default();
        bytes.push(b'\n');
        let written = timeout(CLIENT_TIMEOUT, stream.write_all(&bytes)).await;
        if !matches!(written, Ok(Ok(()))) {
            self.0 = None;
        }
    }

    async fn done(&mut self, result: Result<String, ControlError>, endpoints: Vec<ProcessStatus>) {
        let done = result.is_ok();
        let message = result.unwrap_or_else(|why| why.to_string());
        self.send(&ControlMessage::Done { done, message, endpoints, log: None }).await;
    }

    async fn done_log(&mut self, log: LogDocument) {
        let (message, endpoints, log) = (String::new(), Vec::new(), Some(log));
        self.send(&ControlMessage::Done { done: true, message, endpoints, log }).await;
    }
}

const CLIENT_TIMEOUT: Duration = Duration::from_millis(limits::CONTROL_TIMEOUT_MS);

async fn answer(mut stream: UnixStream, commands: &ControlCommands) {
    let ControlCommands { restart, log, processes } = commands;
    let request = timeout(CLIENT_TIMEOUT, request(&mut stream)).await;
    let mut client = ControlClient(Some(stream));
    match request.unwrap_or(Err(ControlError::NoRequest)) {
        Err(why) => client.done(Err(why), Vec::new()).await,
        Ok(Request::Status) => client.done(Ok(String::new()), restart.statuses()).await,
        Ok(Request::Log { change }) => {
            let now = monotonic();
            match change.map_or(Ok(()), |change| log.levels.change(&change, now)) {
                Ok(()) => client.done_log(log.levels.document(now, processes.clone())).await,
                Err(why) => client.done(Err(ControlError::Level(why)), Vec::new()).await,
            }
        }
        Ok(Request::Restart { rolling: false, .. }) => {
            client.done(Err(ControlError::NotRolling), Vec::new()).await;
        }
        Ok(Request::Restart { rolling: true, tier }) => {
            tracing::info!(
                event_type = "supervisor.rolling_restart",
                ?tier,
                "a rolling restart was asked for"
            );
            let (steps, mut received) = mpsc::channel(16);
            let pass_on = async {
                while let Some(progress) = received.recv().await {
                    client.send(&ControlMessage::Progress(progress)).await;
                }
            };
            let (result, ()) = tokio::join!(restart.run(tier, steps), pass_on);
            client.done(result.map_err(ControlError::Restart), Vec::new()).await;
        }
    }
}

async fn request(stream: &mut UnixStream) -> Result<Request, ControlError> {
    let mut line = Vec::new();
    let most = limits::CONTROL_LINE_BYTES as u64;
    let read = BufReader::new(stream.take(most)).read_until(b'\n', &mut line).await;
    read.map_err(ControlError::Read)?;
    if line.last() != Some(&b'\n') {
        return Err(ControlError::TooLong);
    }
    serde_json::from_slice(&line).map_err(ControlError::NotUnderstood)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::process::control_socket::{socket_name, socket_port};

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("roverline-control-{}-{name}", std::process::id()))
    }

    fn send_request(path: PathBuf, request: Vec<u8>) -> tokio::task::JoinHandle<String> {
        tokio::task::spawn_blocking(move || {
            let mut stream = StdUnixStream::connect(path).unwrap();
            stream.write_all(&request).unwrap();
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text);
            text
        })
    }

    #[tokio::test]
    async fn the_socket_is_its_owners_alone_and_replaces_a_stale_one() {
        let dir = scratch("bind");
        let first = Control::bind(&dir, 1).unwrap();
        let path = dir.join(socket_name(1));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Control::bind(&dir, 1).is_err_and(|error| error.to_string().contains("another supervisor")));
        assert!(Control::bind(&dir, 2).is_ok());
        // In the state that a killed supervisor leaves behind.
        let Control { listener, .. } = &first;
        let fd = rustix::io::fcntl_dupfd_cloexec(listener, 3).unwrap();
        rustix::net::shutdown(&fd, rustix::net::Shutdown::Both).unwrap();
        let second = Control::bind(&dir, 1).unwrap();
        drop(first);
        assert!(path.exists(), "the new one's file stays");
        drop(second);
        assert!(!path.exists());
        let long = dir.join("x".repeat(super::SOCKET_PATH_BYTES));
        assert!(Control::bind(&long, 1).is_err_and(|error| error.to_string().contains("--state")));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[tokio::test]
    async fn requests_are_answered_or_explained() {
        let dir = scratch("request");
        let restart = Arc::new(RollingRestart::new(Vec::new()));
        let commands =
            ControlCommands { restart, log: Arc::default(), processes: vec!["supervisor".to_owned()] };
        let serving = tokio::spawn(Control::bind(&dir, 1).unwrap().serve(Arc::new(commands)));
        let path = dir.join(socket_name(1));
        let long = vec![b'x'; limits::CONTROL_LINE_BYTES + 1];
        for (request, done, word) in [
            (b"{\"op\":\"status\"}\n".to_vec(), true, ""),
            (b"{\"op\":\"restart\",\"rolling\":true,\"tier\":null}\n".to_vec(), true, "0 replaced"),
            (b"{\"op\":\"restart\",\"rolling\":false}\n".to_vec(), false, "rolling"),
            (b"{\"op\":\"dance\"}\n".to_vec(), false, "dance"),
            (b"{\"op\":\"log\"}\n".to_vec(), true, ""),
            (b"{\"op\":\"log\",\"change\":{\"level\":\"debug\"}}\n".to_vec(), false, "no log"),
            (long, false, "bytes"),
        ] {
            let text = send_request(path.clone(), request).await.unwrap();
            let line: ControlMessage = serde_json::from_str(text.trim()).unwrap();
            assert!(
                matches!(&line, ControlMessage::Done { done: d, message, .. } if *d == done && message.contains(word)),
                "{text}"
            );
        }
        serving.abort();
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn names_and_lines_read_back() {
        assert_eq!(socket_port(&socket_name(8080)), Some(8080));
        assert_eq!(socket_port("control-x.sock"), None);
        let text = r#"{"op":"restart","rolling":true,"tier":"primary"}"#;
        let request = Request::Restart { rolling: true, tier: Some(Tier::Primary) };
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        let progress = ControlMessage::Progress(Progress {
            tier: Tier::Primary,
            step: "ready".into(),
            pid: Some(1),
            after_ms: 2,
            text: String::new(),
        });
        let text = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<ControlMessage>(&text).unwrap(), progress);
    }
}
