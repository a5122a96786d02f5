//! What fails during a campaign.

use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::gateway;
use roverline_tests::http;
use roverline_tests::process::{self, Signal};
use roverline_tests::wait::{observe_for, poll};
use rusqlite::Connection;

use crate::rover::CommandedRover;

/// Between the end of a fault and the next one.
const PAUSE: Duration = Duration::from_millis(1_200);
/// How long a fault lasts that has a duration: longer than the shortest time to live of a command.
const LASTING: Duration = Duration::from_millis(1_500);
const RESTART_TIMEOUT: Duration = Duration::from_secs(60);

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// For comparison.
    Nothing,
    /// An endpoint is killed.
    Kill,
    /// An endpoint is suspended for a while.
    Suspended,
    /// No packet passes.
    Cut,
    /// No packet passes in one direction, in turn.
    OneWayCut,
    /// Three of ten packets are lost.
    Loss,
    /// The radio comes and goes.
    Flapping,
    /// The relay behind which the clients are is killed.
    RelayKilled,
    /// The endpoints are replaced one after the other.
    RollingRestart,
    /// The store is moved away, or locked by another process.
    StoreAway,
}

/// All of them, in the order of the table.
pub(crate) const ALL: &[Fault] = &[
    Fault::Nothing,
    Fault::Kill,
    Fault::Suspended,
    Fault::Cut,
    Fault::OneWayCut,
    Fault::Loss,
    Fault::Flapping,
    Fault::RelayKilled,
    Fault::RollingRestart,
    Fault::StoreAway,
];

impl Fault {
    /// The name in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Fault::Nothing => "none",
            Fault::Kill => "kill -9",
            Fault::Suspended => "SIGSTOP",
            Fault::Cut => "cut",
            Fault::OneWayCut => "one-way cut",
            Fault::Loss => "30 % loss",
            Fault::Flapping => "flapping",
            Fault::RelayKilled => "relay killed",
            Fault::RollingRestart => "rolling restart",
            Fault::StoreAway => "store away",
        }
    }

    /// Whether it needs a radio between the rover and its clients.
    pub(crate) const fn is_of_radio(self) -> bool {
        matches!(self, Fault::Cut | Fault::OneWayCut | Fault::Loss | Fault::Flapping)
    }

    /// The DDS domain of its campaign.
    pub(crate) fn domain(self) -> String {
        let at = ALL.iter().position(|fault| *fault == self).unwrap_or_default();
        (140 + at).to_string()
    }

    /// Lets it happen for the `n`th time, and ends it.
    pub(crate) fn happen(self, rover: &CommandedRover, n: usize) {
        let radio = |line: &str| rover.net.lock().unwrap().send(line);
        match self {
            Fault::Nothing => {}
            Fault::Kill => kill(rover, Tier::ALL[n % 2]),
            Fault::RelayKilled => kill(rover, Tier::Primary),
            Fault::Suspended => {
                let Some(pid) = pid(rover, Tier::ALL[n % 2]) else { return };
                process::signal(pid, Signal::STOP);
                observe_for(LASTING, "commands wait in the sockets of the endpoint");
                process::resume(&[pid]);
            }
            Fault::Cut | Fault::OneWayCut => {
                let directions = if self == Fault::Cut { "both" } else { ["up", "down"][n % 2] };
                radio(&format!("cut {directions}"));
                observe_for(LASTING, "the duration of the cut");
                radio("heal both");
            }
            Fault::Loss => {
                radio("set both loss=0.3");
                observe_for(LASTING * 4, "the duration of the loss");
                radio("heal both");
            }
            Fault::Flapping => {
                for _ in 0..5 {
                    radio("cut both");
                    observe_for(LASTING / 5, "the radio is gone");
                    radio("heal both");
                    observe_for(LASTING / 5, "the radio is back");
                }
            }
            Fault::RollingRestart => {
                let state = rover.gateway.state().to_str().unwrap().to_owned();
                let restart = ["restart", "--rolling", "--state", &state];
                let (_, _, error) = gateway::run(&restart, RESTART_TIMEOUT);
                assert!(!error.contains("error"), "{error}");
            }
            Fault::StoreAway if n.is_multiple_of(2) => move_store(rover),
            Fault::StoreAway => lock_store(rover),
        }
        observe_for(if self == Fault::Loss { PAUSE / 4 } else { PAUSE }, "a pause between two faults");
    }
}

fn pid(rover: &CommandedRover, tier: Tier) -> Option<u32> {
    let port = rover.victim(tier);
    let is_up = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(());
    poll(RESTART_TIMEOUT, is_up)?;
    let status = http::get(port, "/status");
    serde_json::from_str::<serde_json::Value>(&status.body).ok()?["pid"].as_u64()?.try_into().ok()
}

fn kill(rover: &CommandedRover, tier: Tier) {
    if let Some(pid) = pid(rover, tier) {
        process::signal(pid, Signal::KILL);
    }
}

fn move_store(rover: &CommandedRover) {
    let (store, aside) = (rover.gateway.state().join("store"), rover.gateway.state().join("aside"));
    std::fs::rename(&store, &aside).unwrap();
    observe_for(LASTING, "the store is away");
    let _ = std::fs::remove_dir_all(&store);
    std::fs::rename(&aside, &store).unwrap();
}

/// Another process writes for a long time.
fn lock_store(rover: &CommandedRover) {
    let files = std::fs::read_dir(rover.gateway.state().join("store")).unwrap().flatten();
    let mut databases = files.map(|file| file.path()).filter(|path| is_database(path));
    let other = Connection::open(databases.next().unwrap()).unwrap();
    other.busy_timeout(RESTART_TIMEOUT).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    observe_for(LASTING, "the store takes no writes");
    other.execute_batch("ROLLBACK").unwrap();
}

fn is_database(path: &std::path::Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3"))
}
