//! The way from an endpoint process to the supervisor's control socket: what one process is asked to change for all of
//! them goes through the supervisor, which also knows the processes that start later.

use std::path::{Path, PathBuf};
use std::time::Duration;

use roverline_protocol::api::log::LogDocument;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::limits;
use crate::log::levels::LevelChange;

/// How long the supervisor may take; it answers at once or is gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The file name of a gateway's control socket.
pub fn socket_name(primary_port: u16) -> String {
    format!("control-{primary_port}.sock")
}

/// The port in such a file name.
pub fn socket_port(name: &str) -> Option<u16> {
    name.strip_prefix("control-")?.strip_suffix(".sock")?.parse().ok()
}

/// The path of the control socket in a state directory.
pub(crate) fn socket_path(state_dir: &Path, primary_port: u16) -> PathBuf {
    state_dir.join(socket_name(primary_port))
}

/// The result line of the supervisor.
#[derive(Deserialize)]
struct Answer {
    done: bool,
    message: String,
    #[serde(default)]
    log: Option<LogDocument>,
}

/// Lets the supervisor change the level of the log in all processes: those that it told, or why it did not.
pub(crate) async fn change_level(path: &Path, change: &LevelChange) -> std::io::Result<Vec<String>> {
    let request = serde_json::json!({"op": "log", "change": change});
    let asking = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(format!("{request}\n").as_bytes()).await?;
        let mut line = Vec::new();
        BufReader::new(stream.take(limits::CONTROL_LINE_BYTES as u64)).read_until(b'\n', &mut line).await?;
        let Answer { done, message, log } = serde_json::from_slice(&line)?;
        match done {
            true => Ok(log.map(|log| log.processes).unwrap_or_default()),
            false => Err(std::io::Error::other(message)),
        }
    };
    tokio::time::timeout(ANSWER_TIMEOUT, asking).await?
}
