//! Tests of the stop as a whole: what a command does, whatever happened before, on any disk.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use roverline_source::Publication;
use roverline_test_support::wait::poll_async;
use tokio::sync::mpsc;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn stop_in(dir: &Path) -> Arc<EmergencyStop> {
    EmergencyStop::new(dir, "/emergency_stop")
}

impl EmergencyStop {
    fn begin_here(&self, id: &str, engage: bool, reason: &str) -> BegunStop {
        self.begin(StopRequest { by: "127.0.0.1", id, engage, reason })
    }

    async fn execute(&self, id: &str, engage: bool, reason: &str) -> Result<StopAnswer, StopError> {
        self.finish(self.begin_here(id, engage, reason)).await
    }
}

async fn engage(stop: &EmergencyStop, id: &str) -> StopAnswer {
    stop.execute(id, true, "test").await.unwrap()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = poll_async(PATIENCE, async || condition().then_some(())).await;
    assert!(waited.is_some(), "{what}");
}

#[tokio::test]
async fn an_engage_always_engages_and_a_repeated_release_is_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let stop = stop_in(dir.path());
    assert!(stop.is_state(false) && stop.read().stored);
    assert_eq!(engage(&stop, "1").await.engaged, Some(true));
    assert_eq!(stop.execute("2", false, "").await.unwrap().engaged, Some(false));
    // The id of an engage again, then the id of a release.
    for id in ["1", "2"] {
        let answer = engage(&stop, id).await;
        assert!(answer.changed && answer.engaged == Some(true) && stop.read().engaged, "{answer:?}");
        assert!(matches!(stop.execute(id, false, "").await, Err(StopError::IdUsed { .. })), "{id}");
        assert!(stop.read().engaged);
        assert!(stop.execute(&format!("release-{id}"), false, "").await.unwrap().changed);
    }
    engage(&stop, "3").await;
    // It is late, or sent twice: the rover stays stopped.
    let late = stop.execute("release-1", false, "").await.unwrap();
    assert!(!late.changed && late.engaged == Some(true) && late.message.contains("already done"), "{late:?}");
    assert!(matches!(stop.execute("", false, "").await, Err(StopError::NoId)));
    assert!(engage(&stop, "").await.engaged == Some(true) && !engage(&stop, "").await.changed);
}

#[tokio::test]
async fn two_identities_use_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let stop = stop_in(dir.path());
    let by = |by, id, engage| stop.finish(stop.begin(StopRequest { by, id, engage, reason: "test" }));
    assert!(by("ada", "1", true).await.unwrap().changed);
    let released = by("bob", "1", false).await.unwrap();
    assert_eq!((released.changed, released.engaged), (true, Some(false)), "{released:?}");
    by("ada", "2", true).await.unwrap();
    // Each identity's id is done once.
    let repeated = by("bob", "1", false).await.unwrap();
    assert_eq!((repeated.changed, repeated.engaged), (false, Some(true)), "{repeated:?}");
    assert!(by("cem", "1", false).await.unwrap().changed);
}

#[tokio::test]
async fn another_process_and_the_next_one_know_the_state_and_the_ids() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (stop_in(dir.path()), stop_in(dir.path()));
    engage(&one, "1").await;
    until("the other one reads it", || other.read().engaged).await;
    assert!(other.execute("2", false, "").await.unwrap().changed);
    until("the first one reads it", || !one.read().engaged).await;
    engage(&one, "3").await;
    drop((one, other));
    let next = stop_in(dir.path());
    assert!(next.is_state(true) && next.read().id == "3");
    let late = next.execute("2", false, "").await.unwrap();
    assert!(!late.changed && late.engaged == Some(true), "{late:?}");
}

#[tokio::test]
async fn a_damaged_latch_is_engaged_until_a_person_releases_it() {
    for damaged in [&b""[..], b"{\"engaged\":false", b"\0\0\0\0\0\0\0\0", b"{}", b"null"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("emergency_stop.json");
        std::fs::write(&path, damaged).unwrap();
        let stop = stop_in(dir.path());
        let state = stop.read();
        assert!(state.engaged && state.reason.contains("emergency_stop.json"), "{state:?}");
        let answer = stop.execute("go", false, "looked at it").await.unwrap();
        assert_eq!((answer.engaged, answer.changed), (Some(false), true), "{answer:?}");
        assert!(stop_in(dir.path()).is_state(false));
    }
}

#[tokio::test]
async fn a_latch_that_is_damaged_or_removed_while_it_is_used_releases_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("emergency_stop.json");
    let stop = stop_in(dir.path());
    engage(&stop, "1").await;
    std::fs::remove_file(&path).unwrap();
    until("it is stored anew", || path.exists()).await;
    assert!(stop.read().engaged && stop_in(dir.path()).read().engaged);
    assert!(stop.execute("2", false, "").await.unwrap().changed);
    std::fs::write(&path, "{").unwrap();
    until("a damaged one is engaged", || stop.read().engaged).await;
}

#[tokio::test]
async fn something_else_in_the_latchs_place_is_engaged_until_a_person_releases_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("emergency_stop.json");
    let puts: [(&str, &dyn Fn()); 4] = [
        ("a directory", &|| std::fs::create_dir(&path).unwrap()),
        ("a directory with content", &|| std::fs::create_dir_all(path.join("a")).unwrap()),
        ("a link to nothing", &|| std::os::unix::fs::symlink("nowhere", &path).unwrap()),
        ("an empty file", &|| std::fs::write(&path, "").unwrap()),
    ];
    for (n, (what, put)) in puts.iter().enumerate() {
        let _ = std::fs::remove_file(&path);
        put();
        let stop = stop_in(dir.path());
        assert!(stop.read().engaged, "{what}");
        // It is removed before the latch is mended.
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
        until("it is stored anew", || path.is_file()).await;
        assert!(stop.read().engaged && stop_in(dir.path()).read().engaged, "{what}");
        let _ = std::fs::remove_file(&path);
        put();
        let stop = stop_in(dir.path());
        let released = stop.execute(&n.to_string(), false, "looked at it").await.unwrap();
        assert_eq!(released.engaged, Some(false), "{what}");
        assert!(stop_in(dir.path()).is_state(false), "{what}");
    }
}

#[tokio::test]
async fn without_a_disk_an_engage_is_in_effect_and_a_release_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing can be written below a file.
    let below = dir.path().join("file");
    let stop = stop_in(&below);
    std::fs::write(&below, "x").unwrap();
    let begun = stop.begin_here("1", true, "test");
    assert!(stop.read().engaged, "before the disk is asked");
    let answer = stop.finish(begun).await.unwrap();
    assert!(answer.message.contains("not stored") && answer.engaged == Some(true), "{answer:?}");
    assert!(stop.execute("2", false, "").await.is_err() && stop.read().engaged);
    let state = stop.read();
    assert!(!state.stored && state.problem.is_some(), "{state:?}");
    // There is room again: it is stored by itself.
    std::fs::remove_file(&below).unwrap();
    until("it is stored", || stop_in(&below).read().stored && stop.read().stored).await;
    assert!(stop_in(&below).read().engaged);
}

#[tokio::test]
async fn an_engage_that_follows_a_release_at_once_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let stop = stop_in(dir.path());
    for n in 0..50 {
        engage(&stop, &format!("a{n}")).await;
        let release = stop.begin_here(&format!("b{n}"), false, "");
        assert!(!stop.is_state(true), "it may change at any moment");
        let again = stop.begin_here(&format!("a{n}"), true, "");
        let _ = stop.finish(release).await;
        stop.finish(again).await.unwrap();
        assert!(stop.read().engaged, "{n}");
    }
}

/// The gateway that a relay reads from: remembers the ids of commands.
#[derive(Default)]
struct Upstream(Mutex<Vec<String>>);

impl SourceControl for Upstream {
    fn publish(&self, _: Publication) -> Result<(), PublishError> {
        Ok(())
    }

    fn forward_emergency_stop(&self, request: EmergencyStopRequest) -> Result<(), PublishError> {
        self.0.lock().push(request.id);
        Ok(())
    }
}

/// To the rover all of them are commands of the relay.
#[test]
fn a_relay_keeps_the_ids_of_its_clients_apart() {
    let upstream = Arc::new(Upstream::default());
    let stop = EmergencyStop::forwarded(upstream.clone());
    for (by, id) in [("ada", "1"), ("mallory", "1"), ("127.0.0.1", "1"), ("ada", "")] {
        let _ = stop.begin(StopRequest { by, id, engage: false, reason: "" });
    }
    assert_eq!(*upstream.0.lock(), ["ada/1", "mallory/1", "127.0.0.1/1", ""]);
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
    let dir = tempfile::tempdir().unwrap();
    let stop = stop_in(dir.path());
    engage(&stop, "a").await;
    let (sender, mut taken) = mpsc::channel(1);
    let published = async {
        tokio::select! {
            publication = taken.recv() => publication,
            () = stop.publish(Arc::new(Busy(AtomicUsize::new(0), sender)), false) => None,
        }
    };
    assert!(!stop.is_published());
    let publication = tokio::time::timeout(PATIENCE, published).await.unwrap().unwrap();
    assert_eq!(publication.payload[4], 1);
    assert!(stop.is_published());
}

#[tokio::test]
async fn many_engages_are_bounded_and_the_stop_is_engaged() {
    let dir = tempfile::tempdir().unwrap();
    let stop = stop_in(dir.path());
    let begun: Vec<_> = (0..1_000).map(|n| stop.begin_here(&n.to_string(), true, "")).collect();
    assert!(stop.read().engaged);
    let mut given_up = 0;
    for begun in begun {
        given_up += usize::from(stop.finish(begun).await.unwrap().message.contains("not stored"));
    }
    assert!(given_up < 1_000 && stop.is_state(true));
    until("the last one is stored", || stop.read().stored).await;
}

/// An engage that was stored is engaged at every moment until somebody releases it.
#[test]
fn no_moment_between_an_engage_and_its_storage_reads_as_released() {
    let dir = tempfile::tempdir().unwrap();
    let latch = LatchThread::start(LatchFile::new(dir.path()), PATIENCE);
    for n in 0..200 {
        let mut answer = latch.engage(StopCommand::new(&format!("engage-{n}"), true, "test", n));
        let begun = Instant::now();
        while answer.try_recv().is_err() {
            assert!(latch.state().engaged, "engage {n} reads as released");
            assert!(begun.elapsed() < PATIENCE, "engage {n} is not stored");
        }
        assert!(latch.state().engaged);
        let release = StopCommand::new(&format!("release-{n}"), false, "test", n);
        latch.release(release).unwrap().blocking_recv().unwrap().unwrap();
        assert!(!latch.state().engaged);
    }
}
