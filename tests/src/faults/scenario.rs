//! A scenario file: the rover, the network, the clients, the steps of a trial, and the bounds.

use std::path::{Path, PathBuf};

use roverline_protocol::Tier;
use serde::Deserialize;

use crate::net::Radio;

/// A file of `tests/scenarios`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The file's stem.
    #[serde(skip)]
    pub(crate) name: String,
    /// The title for the table.
    pub(crate) title: String,
    /// Number of trials.
    pub(crate) trials: usize,
    /// Number of trials with `--quick`.
    pub(crate) quick_trials: usize,
    /// The gateway's arguments after `up`.
    #[serde(default = "sim")]
    pub(crate) gateway: Vec<String>,
    /// Whether the endpoints serve on when their supervisor is killed.
    #[serde(default)]
    pub(crate) survivors: bool,
    /// Whether the links use TLS.
    #[serde(default)]
    pub(crate) tls: bool,
    /// The radio between rover and clients; without it, all processes are on loopback.
    pub(crate) radio: Option<Radio>,
    /// Whether the client connects through proxies that can cut a connection inside a frame.
    #[serde(default)]
    pub(crate) proxied: bool,
    /// The side whose wall clock is stepped.
    pub(crate) stepped_clock: Option<Side>,
    /// Whether there is another primary with a peer that answers `/health` like this.
    pub(crate) lying_peer: Option<HealthFault>,
    /// The topics to count (`NAME@HZ` measures gaps); they must be in the scopes of every endpoint.
    #[serde(default = "common_topics")]
    pub(crate) topics: Vec<String>,
    /// The endpoint of the clients that must not be affected.
    pub(crate) bystanders: Option<Tier>,
    /// The steps of a trial, in order.
    pub(crate) steps: Vec<Step>,
    /// Bounds on the results.
    pub(crate) expect: Expect,
}

/// One side of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// The gateway.
    Gateway,
    /// The measuring client.
    Client,
}

/// A defect in a response to `GET /health`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HealthFault {
    /// JSON of the wrong shape.
    Wrong,
    /// A body that never ends.
    Endless,
    /// A byte now and then.
    Drip,
    /// All of them in turn.
    All,
}

/// The endpoint that a step refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// The endpoint in use by the measuring client.
    Active,
    /// By tier.
    Primary,
    /// By tier.
    Secondary,
    /// By tier.
    Tertiary,
    /// By tier.
    Emergency,
}

/// A direction of the radio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// Ground to rover.
    Up,
    /// Rover to ground.
    Down,
    /// Both.
    Both,
}

impl Direction {
    /// The emulator's word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
            Direction::Both => "both",
        }
    }
}

/// A step of a trial.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Step {
    /// Kills an endpoint's process.
    Kill { target: Target },
    /// Freezes an endpoint's process.
    Stop { target: Target },
    /// Resumes the frozen processes.
    Cont,
    /// Freezes the measuring client for a time.
    FreezeClient { ms: u64, quick_ms: u64 },
    /// Kills the supervisor, and its endpoints with it unless they survive.
    KillSupervisor,
    /// Stops the supervisor with SIGTERM.
    StopRover,
    /// Starts the rover on the same ports.
    StartRover,
    /// Cuts the measuring client's connection inside a frame.
    BreakFrame { target: Target },
    /// Drops all packets of an endpoint's port.
    Block {
        target: Target,
        #[serde(rename = "way")]
        direction: Direction,
    },
    /// Drops all packets.
    Cut {
        #[serde(rename = "way")]
        direction: Direction,
    },
    /// Changes the radio: `loss=0.3 delay_ms=500`.
    Radio {
        #[serde(rename = "way")]
        direction: Direction,
        set: String,
    },
    /// Restores the radio's initial properties.
    Heal,
    /// Blocks and heals repeatedly.
    Flap { target: Target, ms: u64, times: u32 },
    /// Steps the clock of one side forward.
    Clock { hours: i64 },
    /// Starts clients that subscribe to everything and read nothing, until the trial ends.
    SlowReaders { count: usize },
    /// Starts many links at once, until the trial ends.
    Herd { links: usize },
    /// Waits.
    Wait { ms: u64 },
    /// Waits until the primary is in use and has been up for a while.
    Settle,
}

/// Bounds on the results of a scenario. An absent bound means that the figure is shown but not checked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// 99th percentile over all trials.
    pub(crate) blackout_p99_ms: Option<f64>,
    /// The same bound on a busy machine, for unoptimized binaries and few trials.
    pub(crate) wide_blackout_ms: Option<f64>,
    /// Total of all trials.
    pub(crate) lost: Option<u64>,
    /// Total of all trials.
    pub(crate) duplicated: Option<u64>,
    /// Total of all trials.
    pub(crate) stale: Option<u64>,
    /// Memory of the largest endpoint.
    pub(crate) rss_mib: Option<f64>,
    /// Whether the bystanders may be affected.
    pub(crate) others_affected: Option<bool>,
}

fn sim() -> Vec<String> {
    vec!["--source".into(), "sim".into()]
}

fn common_topics() -> Vec<String> {
    vec!["/odom@50".into(), "/emergency_stop".into()]
}

/// The folder of the scenarios.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))
}

/// Reads and checks one scenario.
pub(crate) fn read(path: &Path) -> Result<Scenario, String> {
    let explain = |why: String| format!("{}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| explain(error.to_string()))?;
    let mut scenario: Scenario = toml::from_str(&text).map_err(|error| explain(error.to_string()))?;
    scenario.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    scenario.check().map_err(explain)?;
    Ok(scenario)
}

/// All scenarios, sorted by name.
pub(crate) fn all() -> Result<Vec<Scenario>, String> {
    let folder = folder();
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

impl Scenario {
    fn check(&self) -> Result<(), String> {
        let needs =
            |what: &str, given: bool, step: fn(&Step) -> bool| match self.steps.iter().find(|s| step(s)) {
                Some(step) if !given => Err(format!("the step {step:?} needs `{what}`")),
                _ => Ok(()),
            };
        needs("radio", self.radio.is_some(), |step| {
            use Step::{Block, Cut, Flap, Heal, Radio};
            matches!(step, Block { .. } | Cut { .. } | Radio { .. } | Flap { .. } | Heal)
        })?;
        needs("proxied", self.proxied, |step| matches!(step, Step::BreakFrame { .. }))?;
        needs("stepped_clock", self.stepped_clock.is_some(), |step| matches!(step, Step::Clock { .. }))?;
        if self.radio.is_some() && (self.proxied || self.lying_peer.is_some()) {
            return Err("`radio` goes with neither `proxied` nor `lying_peer`".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_can_be_read() {
        let all = all().unwrap();
        assert!(all.len() >= 15, "{} scenarios", all.len());
        for scenario in all {
            assert!(
                scenario.trials >= scenario.quick_trials && scenario.quick_trials > 0,
                "{}",
                scenario.name
            );
        }
    }

    #[test]
    fn an_impossible_step_is_explained() {
        let text =
            "title = 'x'\ntrials = 1\nquick_trials = 1\nexpect = {}\nsteps = [{ do = 'cut', way = 'up' }]";
        let scenario: Scenario = toml::from_str(text).unwrap();
        assert!(scenario.check().unwrap_err().contains("needs `radio`"));
    }
}
