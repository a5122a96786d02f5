//! The emergency stop: latched in a file shared by all endpoints of a computer, and published into ROS by
//! each of them until it is released. A relay has no latch: the rover's own gateway keeps it and confirms
//! each command.
//!
//! It is a software stop and never a replacement for the red button (ISO 13850).

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use roverline_protocol::limits;
use roverline_schema::cdr;
use roverline_source::clock::unix_ns;
use roverline_source::{EmergencyStopRequest, Publication, PublishError, SourceControl};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

const POLL: Duration = Duration::from_millis(50);
const REPEAT: Duration = Duration::from_secs(1);
const REMEMBERED_IDS: usize = 256;
const ID_CHARS: usize = 128;
const REASON_CHARS: usize = 256;
/// Longer than the source's own timeout, because the source gives a better reason.
const FORWARD: Duration = Duration::from_millis(limits::STOP_CONFIRM_MS + 500);

/// The latch as stored on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latch {
    /// Whether the stop is engaged.
    pub engaged: bool,
    /// The command that set this state.
    pub id: String,
    /// The reason given.
    pub reason: String,
    /// The time of the command, nanoseconds since the Unix epoch.
    pub at_ns: i64,
}

/// The emergency stop latch and its publisher.
pub struct EmergencyStop {
    path: PathBuf,
    topic: String,
    done: Mutex<VecDeque<String>>,
    forward: Option<Arc<dyn SourceControl>>,
}

impl EmergencyStop {
    /// Uses the latch in this state directory and publishes on `topic` (std_msgs/msg/Bool).
    pub fn new(state_dir: &Path, topic: &str) -> Arc<EmergencyStop> {
        let path = state_dir.join("emergency_stop.json");
        Arc::new(EmergencyStop { path, topic: topic.to_owned(), done: Mutex::default(), forward: None })
    }

    /// Forwards every command to the gateway that this source reads from.
    pub fn forwarded(source: Arc<dyn SourceControl>) -> Arc<EmergencyStop> {
        let (path, topic) = (PathBuf::new(), String::new());
        Arc::new(EmergencyStop { path, topic, done: Mutex::default(), forward: Some(source) })
    }

    /// Engages or releases the stop, here or at the upstream gateway. `Ok` means done: stored on disk, or
    /// confirmed by the rover.
    pub async fn execute(&self, id: &str, engage: bool, reason: &str) -> Result<String, String> {
        let Some(source) = &self.forward else { return self.command(id, engage, reason) };
        let (answer, answered) = oneshot::channel();
        let (id, reason) = (bounded(id, ID_CHARS), bounded(reason, REASON_CHARS));
        let request = EmergencyStopRequest { id, engage, reason, answer };
        source.forward_emergency_stop(request).map_err(|error| error.to_string())?;
        match tokio::time::timeout(FORWARD, answered).await {
            Ok(Ok(answer)) => answer.map_err(|error| error.to_string()),
            Ok(Err(_)) | Err(_) => Err(PublishError::Unconfirmed.to_string()),
        }
    }

    /// Whether the stop is known to be in this state already, so that repeating the command changes
    /// nothing.
    pub fn is_state(&self, engaged: bool) -> bool {
        self.forward.is_none() && self.read().engaged == engaged
    }

    /// Engages or releases the stop. The state is on disk when this returns `Ok`; each command id is
    /// executed once.
    pub fn command(&self, id: &str, engage: bool, reason: &str) -> Result<String, String> {
        let id = bounded(id, ID_CHARS);
        let mut done = self.done.lock();
        let now = self.read();
        if done.contains(&id) || now.id == id {
            return Ok("already done".to_owned());
        }
        let latch = Latch {
            engaged: engage,
            id: id.clone(),
            reason: bounded(reason, REASON_CHARS),
            at_ns: unix_ns(),
        };
        self.write(&latch).map_err(|error| format!("cannot write {}: {error}", self.path.display()))?;
        if done.len() == REMEMBERED_IDS {
            done.pop_front();
        }
        done.push_back(id);
        tracing::warn!(engage, reason = latch.reason, "emergency stop");
        Ok(if engage { "emergency stop engaged" } else { "emergency stop released" }.to_owned())
    }

    /// Reads the latch; not engaged if there is no file.
    pub fn read(&self) -> Latch {
        fs::read(&self.path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    fn write(&self, latch: &Latch) -> std::io::Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        // Written to a temporary file and renamed, so that readers never see a partial file.
        let aside = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = fs::File::create(&aside)?;
        file.write_all(&serde_json::to_vec(latch)?)?;
        file.sync_all()?;
        fs::rename(&aside, &self.path)
    }

    /// Publishes the latch forever: at each change until the publisher accepts it, and if `repeated` once a
    /// second while engaged.
    pub async fn publish(&self, publisher: Arc<dyn SourceControl>, repeated: bool) {
        let mut known = Latch::default();
        let mut published_at = tokio::time::Instant::now();
        let mut failing = false;
        loop {
            let latch = self.read();
            let repeat = repeated && latch.engaged && published_at.elapsed() >= REPEAT;
            if latch.engaged != known.engaged || repeat {
                let published = publisher.publish(self.publication(latch.engaged));
                if let Err(error) = &published
                    && !failing
                {
                    tracing::warn!(%error, "emergency stop was not published");
                }
                failing = published.is_err();
                // If the publisher is busy, it is tried again at the next poll; a recording never accepts
                // it.
                if matches!(published, Ok(()) | Err(PublishError::ReadOnly(_))) {
                    published_at = tokio::time::Instant::now();
                    known = latch;
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn publication(&self, engaged: bool) -> Publication {
        let mut writer = cdr::Writer::new();
        writer.bool(engaged);
        Publication {
            topic: self.topic.clone(),
            type_name: "std_msgs/msg/Bool".to_owned(),
            payload: Bytes::from(writer.finish()),
            latched: true,
        }
    }
}

fn bounded(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn engages_once_per_id_and_survives_a_restart() {
        let dir = std::env::temp_dir().join(format!("roverline-estop-{}", std::process::id()));
        let stop = EmergencyStop::new(&dir, "/emergency_stop");
        assert!(!stop.read().engaged && stop.is_state(false) && !stop.is_state(true));
        assert_eq!(stop.command("a", true, "test").unwrap(), "emergency stop engaged");
        let again = EmergencyStop::new(&dir, "/emergency_stop");
        assert!(again.read().engaged && again.is_state(true) && !again.is_state(false));
        assert_eq!(again.command("b", false, "").unwrap(), "emergency stop released");
        assert_eq!(stop.command("a", true, "test").unwrap(), "already done");
        assert!(!stop.read().engaged, "a repeated command must not engage it anew");
        fs::remove_dir_all(&dir).unwrap();
    }

    /// Is busy twice, then accepts publications.
    struct Busy(AtomicUsize, mpsc::Sender<Publication>);

    impl SourceControl for Busy {
        fn publish(&self, publication: Publication) -> Result<(), PublishError> {
            if self.0.fetch_add(1, Ordering::Relaxed) < 2 {
                return Err(PublishError::Busy(1));
            }
            self.1.try_send(publication).map_err(|error| PublishError::Failed(error.to_string()))
        }
    }

    #[tokio::test]
    async fn a_stop_is_published_until_it_is_accepted() {
        let dir = std::env::temp_dir().join(format!("roverline-estop-busy-{}", std::process::id()));
        let stop = EmergencyStop::new(&dir, "/emergency_stop");
        stop.command("a", true, "test").unwrap();
        let (sender, mut taken) = mpsc::channel(1);
        let published = async {
            tokio::select! {
                publication = taken.recv() => publication,
                () = stop.publish(Arc::new(Busy(AtomicUsize::new(0), sender)), false) => None,
            }
        };
        let publication = tokio::time::timeout(Duration::from_secs(10), published).await.unwrap().unwrap();
        assert_eq!(publication.payload[4], 1);
        fs::remove_dir_all(&dir).unwrap();
    }
}
