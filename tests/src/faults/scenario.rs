//! A scenario file: a rover, a link, clients, what goes wrong, and what may come of it.

use std::path::{Path, PathBuf};

use roverline_protocol::Tier;
use serde::Deserialize;

use super::net::Radio;

/// One file of `tests/scenarios`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The file's name without its ending.
    #[serde(skip)]
    pub(crate) name: String,
    /// What goes wrong, for the table.
    pub(crate) title: String,
    /// How often, unless told otherwise.
    pub(crate) trials: usize,
    /// How often when it must be quick.
    pub(crate) quick_trials: usize,
    /// The gateway's arguments behind `up`.
    #[serde(default = "sim")]
    pub(crate) gateway: Vec<String>,
    /// The radio between rover and clients; without it all is on this computer's loopback.
    pub(crate) radio: Option<Radio>,
    /// Whether the client goes through proxies that can break a connection inside a frame.
    #[serde(default)]
    pub(crate) proxied: bool,
    /// Whose clock steps; needs libfaketime.
    pub(crate) stepped_clock: Option<Side>,
    /// Whether one more primary has a peer that answers `/health` with this.
    pub(crate) lying_peer: Option<Lie>,
    /// The topics to count, those with `@HZ` timed: in the scopes of every endpoint.
    #[serde(default = "common_topics")]
    pub(crate) topics: Vec<String>,
    /// The endpoint of the clients that are not to notice.
    pub(crate) bystanders: Option<Tier>,
    /// What happens in a trial, in order.
    pub(crate) steps: Vec<Step>,
    /// What may come of it.
    pub(crate) expect: Expect,
}

/// One side of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// The gateway.
    Gateway,
    /// The measuring client.
    Client,
}

/// What is wrong with an answer to `GET /health`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Lie {
    /// JSON of the wrong shape.
    Wrong,
    /// A body that never ends.
    Endless,
    /// A byte now and then.
    Drip,
    /// All of them, one after another.
    All,
}

/// Which endpoint a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// The one that the measuring client uses.
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

/// A way of the radio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    /// Ground to rover.
    Up,
    /// Rover to ground.
    Down,
    /// Both.
    Both,
}

impl Way {
    /// The emulator's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Way::Up => "up",
            Way::Down => "down",
            Way::Both => "both",
        }
    }
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Step {
    /// Ends an endpoint's process at once.
    Kill { target: Target },
    /// Freezes an endpoint's process.
    Stop { target: Target },
    /// Thaws what was frozen last.
    Cont,
    /// Freezes the measuring client for a time.
    FreezeClient { ms: u64, quick_ms: u64 },
    /// Ends the supervisor at once, and its endpoints with it.
    KillSupervisor,
    /// Ends the supervisor as it should be.
    StopRover,
    /// Starts the rover on the same ports.
    StartRover,
    /// Closes the measuring client's connection inside a frame.
    BreakFrame { target: Target },
    /// Drops all packets of an endpoint's port.
    Block { target: Target, way: Way },
    /// Drops all packets.
    Cut { way: Way },
    /// Changes the radio: `loss=0.3 delay_ms=500`.
    Radio { way: Way, set: String },
    /// The radio as it was at the start.
    Heal,
    /// Blocks and heals again and again.
    Flap { target: Target, ms: u64, times: u32 },
    /// The clock of the side that has one of its own goes ahead.
    Clock { hours: i64 },
    /// Clients that subscribe to everything and read nothing, until the trial ends.
    SlowReaders { count: usize },
    /// Links that come at once, and are gone with the trial.
    Herd { links: usize },
    /// Nothing.
    Wait { ms: u64 },
    /// Waits until the primary is in use, and has been up for a while.
    Settle,
}

/// Bounds on what a trial shows. What is absent is shown and not judged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// 99 of 100 trials at most.
    pub(crate) blackout_p99_ms: Option<f64>,
    /// The same on a busy machine, of unoptimized binaries, over few trials.
    pub(crate) wide_blackout_ms: Option<f64>,
    /// In all trials.
    pub(crate) lost: Option<u64>,
    /// In all trials.
    pub(crate) duplicated: Option<u64>,
    /// In all trials.
    pub(crate) stale: Option<u64>,
    /// Of the largest endpoint.
    pub(crate) rss_mib: Option<f64>,
    /// Whether the bystanders may notice.
    pub(crate) others_noticed: Option<bool>,
}

fn sim() -> Vec<String> {
    vec!["--source".into(), "sim".into()]
}

fn common_topics() -> Vec<String> {
    vec!["/odom@50".into(), "/emergency_stop".into()]
}

/// Where the scenarios are.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))
}

/// Reads one scenario, or says what is wrong with it.
pub(crate) fn read(path: &Path) -> Result<Scenario, String> {
    let explain = |why: String| format!("{}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| explain(error.to_string()))?;
    let mut scenario: Scenario = toml::from_str(&text).map_err(|error| explain(error.to_string()))?;
    scenario.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    scenario.check().map_err(explain)?;
    Ok(scenario)
}

/// All scenarios by name.
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
    fn a_step_that_cannot_be_is_explained() {
        let text =
            "title = 'x'\ntrials = 1\nquick_trials = 1\nexpect = {}\nsteps = [{ do = 'cut', way = 'up' }]";
        let scenario: Scenario = toml::from_str(text).unwrap();
        assert!(scenario.check().unwrap_err().contains("needs `radio`"));
    }
}
