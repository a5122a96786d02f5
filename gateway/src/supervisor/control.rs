//! The supervisor's control socket: a Unix socket in the state directory, for its owner only. A
//! request is a line of JSON; lines of progress follow, and one that says how it ended.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::{Tier, limits};
use rustix::fs::Mode;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::supervisor::rolling_restart::{Post, Progress, Roller};

/// What may be asked of a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Replace the endpoints' processes.
    Restart {
        /// One after another, so that nothing is lost; there is no other way.
        rolling: bool,
        /// Only this one; absent or null: all.
        #[serde(default)]
        tier: Option<Tier>,
    },
    /// Which processes there are.
    Status,
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// There is more to come.
    Progress(Progress),
    /// The last line.
    Done {
        /// Whether it was carried out.
        done: bool,
        /// A sentence.
        message: String,
        /// The answer to `status`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        endpoints: Vec<Post>,
    },
}

/// The name of a control socket in the state directory.
pub fn socket_name(primary_port: u16) -> String {
    format!("control-{primary_port}.sock")
}

/// The port in such a name.
pub fn socket_port(name: &str) -> Option<u16> {
    name.strip_prefix("control-")?.strip_suffix(".sock")?.parse().ok()
}

/// A bound control socket; its file is removed when it is dropped.
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Control {
    /// Binds the socket in `dir`. A file that nobody answers at is removed first. An error is a
    /// sentence.
    pub(super) fn bind(dir: &Path, primary_port: u16) -> Result<Control, String> {
        let path = dir.join(socket_name(primary_port));
        let shown = path.display();
        let length = path.as_os_str().len();
        if length > limits::SOCKET_PATH_BYTES {
            let most = limits::SOCKET_PATH_BYTES;
            return Err(format!(
                "{shown} has {length} bytes and a socket's path at most {most}; see --state"
            ));
        }
        let text = |error: io::Error| format!("{shown}: {error}");
        std::fs::create_dir_all(dir).map_err(text)?;
        match StdUnixStream::connect(&path) {
            Ok(_) => return Err(format!("{shown}: another supervisor answers there; see --state")),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(&path).map_err(text)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(text(error)),
        }
        // Made with its mode: there is no moment at which others could connect.
        let umask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(&path);
        rustix::process::umask(umask);
        let listener = listener.map_err(text)?;
        let inode = std::fs::symlink_metadata(&path).map_err(text)?.ino();
        Ok(Control { listener, path, inode })
    }

    /// Serves for ever.
    pub(super) async fn serve(self, roller: Arc<Roller>) {
        let places = Arc::new(Semaphore::new(limits::CONTROL_CLIENTS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let roller = roller.clone();
                    tokio::spawn(async move {
                        answer(stream, &roller).await;
                        drop(place);
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
        // Not one that another has put there meanwhile.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The client's side; it may go while a restart goes on.
struct Teller(Option<UnixStream>);

impl Teller {
    async fn say(&mut self, line: &Line) {
        let Some(stream) = &mut self.0 else { return };
        let mut bytes = serde_json::to_vec(line).unwrap_or_default();
        bytes.push(b'\n');
        let written = timeout(PATIENCE, stream.write_all(&bytes)).await;
        if !matches!(written, Ok(Ok(()))) {
            self.0 = None;
        }
    }

    async fn done(&mut self, result: Result<String, String>, endpoints: Vec<Post>) {
        let done = result.is_ok();
        let message = result.unwrap_or_else(|why| why);
        self.say(&Line::Done { done, message, endpoints }).await;
    }
}

const PATIENCE: Duration = Duration::from_millis(limits::CONTROL_PATIENCE_MS);

async fn answer(mut stream: UnixStream, roller: &Roller) {
    let request = timeout(PATIENCE, request(&mut stream)).await;
    let mut teller = Teller(Some(stream));
    match request.unwrap_or_else(|_| Err("no request came".to_owned())) {
        Err(why) => teller.done(Err(why), Vec::new()).await,
        Ok(Request::Status) => teller.done(Ok(String::new()), roller.posts()).await,
        Ok(Request::Restart { rolling: false, .. }) => {
            let why = "only a rolling restart is offered: it loses nothing and refuses nobody";
            teller.done(Err(why.to_owned()), Vec::new()).await;
        }
        Ok(Request::Restart { rolling: true, tier }) => {
            tracing::info!(?tier, "a rolling restart was asked for");
            let (tell, mut told) = mpsc::channel(16);
            let pass_on = async {
                while let Some(progress) = told.recv().await {
                    teller.say(&Line::Progress(progress)).await;
                }
            };
            let (result, ()) = tokio::join!(roller.roll(tier, tell), pass_on);
            teller.done(result, Vec::new()).await;
        }
    }
}

async fn request(stream: &mut UnixStream) -> Result<Request, String> {
    let mut line = Vec::new();
    let most = limits::CONTROL_LINE_BYTES as u64;
    let read = BufReader::new(stream.take(most)).read_until(b'\n', &mut line).await;
    read.map_err(|error| error.to_string())?;
    if line.last() != Some(&b'\n') {
        return Err(format!("a request is a line of at most {most} bytes"));
    }
    serde_json::from_slice(&line).map_err(|error| {
        format!(
            "not understood: {error}; ask {{\"op\":\"status\"}} or {{\"op\":\"restart\",\"rolling\":true}}"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("roverline-control-{}-{name}", std::process::id()))
    }

    fn ask(path: PathBuf, request: Vec<u8>) -> tokio::task::JoinHandle<String> {
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
        assert!(Control::bind(&dir, 1).is_err_and(|why| why.contains("another supervisor")));
        assert!(Control::bind(&dir, 2).is_ok());
        // As a killed supervisor leaves it.
        let Control { listener, .. } = &first;
        let fd = rustix::io::fcntl_dupfd_cloexec(listener, 3).unwrap();
        rustix::net::shutdown(&fd, rustix::net::Shutdown::Both).unwrap();
        let second = Control::bind(&dir, 1).unwrap();
        drop(first);
        assert!(path.exists(), "the new one's file stays");
        drop(second);
        assert!(!path.exists());
        let long = dir.join("x".repeat(limits::SOCKET_PATH_BYTES));
        assert!(Control::bind(&long, 1).is_err_and(|why| why.contains("--state")));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[tokio::test]
    async fn requests_are_answered_or_explained() {
        let dir = scratch("ask");
        let serving = tokio::spawn(Control::bind(&dir, 1).unwrap().serve(Arc::new(Roller::new(Vec::new()))));
        let path = dir.join(socket_name(1));
        let long = vec![b'x'; limits::CONTROL_LINE_BYTES + 1];
        for (request, done, word) in [
            (b"{\"op\":\"status\"}\n".to_vec(), true, ""),
            (b"{\"op\":\"restart\",\"rolling\":true,\"tier\":null}\n".to_vec(), true, "0 replaced"),
            (b"{\"op\":\"restart\",\"rolling\":false}\n".to_vec(), false, "rolling"),
            (b"{\"op\":\"dance\"}\n".to_vec(), false, "dance"),
            (long, false, "bytes"),
        ] {
            let text = ask(path.clone(), request).await.unwrap();
            let line: Line = serde_json::from_str(text.trim()).unwrap();
            assert!(
                matches!(&line, Line::Done { done: d, message, .. } if *d == done && message.contains(word)),
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
        let progress = Line::Progress(Progress {
            tier: Tier::Primary,
            step: "ready".into(),
            pid: Some(1),
            after_ms: 2,
            text: String::new(),
        });
        let text = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), progress);
    }
}
