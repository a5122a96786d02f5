//! Scripted faults: what fails in the rover, and when.

use std::fmt;
use std::str::FromStr;

use crate::sim::ticks::TICKS_PER_S;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// `/gps/fix` reports no fix.
    GpsLoss,
    /// `/imu/data` stops.
    ImuLoss,
    /// One motor heats up far beyond its limit.
    MotorOverheat,
    /// The battery loses two percent per second, down to five.
    BatteryDrop,
    /// The rover drives out of its boundary and stays outside.
    Boundary,
    /// The arm's node dies: its heartbeat stops, and diagnostics report it as stale.
    NodeDeath,
    /// An emergency stop is engaged; it remains engaged unless the fault has an end.
    Estop,
    /// Nothing is published at all.
    CommsSilence,
}

impl FaultKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [FaultKind; 8] = [
        FaultKind::GpsLoss,
        FaultKind::ImuLoss,
        FaultKind::MotorOverheat,
        FaultKind::BatteryDrop,
        FaultKind::Boundary,
        FaultKind::NodeDeath,
        FaultKind::Estop,
        FaultKind::CommsSilence,
    ];

    /// The name used in scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::GpsLoss => "gps-loss",
            FaultKind::ImuLoss => "imu-loss",
            FaultKind::MotorOverheat => "motor-overheat",
            FaultKind::BatteryDrop => "battery-drop",
            FaultKind::Boundary => "boundary",
            FaultKind::NodeDeath => "node-death",
            FaultKind::Estop => "estop",
            FaultKind::CommsSilence => "comms-silence",
        }
    }
}

/// A fault with its start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of fault.
    pub kind: FaultKind,
    /// The first tick of the fault (10 ms each, from the epoch).
    pub start_tick: u64,
    /// The first tick after the fault; `None` if it is permanent.
    pub end_tick: Option<u64>,
}

/// Why a fault could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fault `{text}`: {kind}")]
pub struct FaultError {
    text: String,
    kind: FaultErrorKind,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum FaultErrorKind {
    #[error("write NAME@START, like gps-loss@60s")]
    Form,
    #[error("no fault has this name; there are {}", FaultKind::ALL.map(FaultKind::name).join(", "))]
    Name,
    #[error("`{0}` is not a time; write 250ms, 60s or 1.5m")]
    Unit(String),
    #[error("`{0}` is not a time from 0 s to a year")]
    Range(String),
    #[error("it ends before it starts")]
    Order,
}

impl Fault {
    /// Parses `NAME@START`, `NAME@START+DURATION` or `NAME@START-END`. Times are numbers with a unit:
    /// `60s`, `1.5m`, `250ms`.
    ///
    /// # Errors
    ///
    /// If the name is unknown or a time is invalid; the error lists what is allowed.
    pub fn parse(text: &str) -> Result<Self, FaultError> {
        read(text.trim()).map_err(|kind| FaultError { text: text.chars().take(64).collect(), kind })
    }

    /// Whether the fault is active at a tick.
    #[must_use]
    pub fn active(&self, tick: u64) -> bool {
        tick >= self.start_tick && self.end_tick.is_none_or(|end| tick < end)
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        Self::parse(text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}ms", self.kind.name(), self.start_tick * 10)?;
        self.end_tick.map_or(Ok(()), |end| write!(f, "-{}ms", end * 10))
    }
}

fn read(text: &str) -> Result<Fault, FaultErrorKind> {
    let (name, times) = text.split_once('@').ok_or(FaultErrorKind::Form)?;
    let kind = FaultKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or(FaultErrorKind::Name)?;
    let (start_tick, end_tick) = if let Some((start, duration)) = times.split_once('+') {
        let start = read_time(start)?;
        (start, Some(start + read_time(duration)?))
    } else if let Some((start, end)) = times.split_once('-') {
        (read_time(start)?, Some(read_time(end)?))
    } else {
        (read_time(times)?, None)
    };
    if end_tick.is_some_and(|end| end <= start_tick) {
        return Err(FaultErrorKind::Order);
    }
    Ok(Fault { kind, start_tick, end_tick })
}

/// Parses a time with its unit; returns ticks, rounded up.
fn read_time(text: &str) -> Result<u64, FaultErrorKind> {
    const LIMIT_S: f64 = 365.0 * 86_400.0;
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_s = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(FaultErrorKind::Unit(text.to_owned())),
    };
    let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    let number = if plain { digits.parse::<f64>().ok() } else { None };
    let seconds = number.map(|n| n * unit_s).filter(|s| (0.0..=LIMIT_S).contains(s));
    let seconds = seconds.ok_or_else(|| FaultErrorKind::Range(text.to_owned()))?;
    // Round to a microtick first, so that 0.07 s is 7 ticks and not 8.
    Ok(((seconds * TICKS_PER_S as f64 * 1e6).round() / 1e6).ceil() as u64)
}

/// The faults of a run, with a cache of the active ones.
#[derive(Clone, Debug)]
pub(super) struct FaultScript {
    faults: Vec<Fault>,
    /// One bit per kind.
    active: u8,
    /// The next tick at which `active` may change.
    next_edge: u64,
}

impl FaultScript {
    pub(super) fn new(faults: &[Fault]) -> Self {
        Self { faults: faults.to_vec(), active: 0, next_edge: 0 }
    }

    /// Updates `active` to a tick; it may skip ticks, but only forwards.
    pub(super) fn advance(&mut self, tick: u64) {
        if tick < self.next_edge {
            return;
        }
        self.active =
            self.faults.iter().filter(|f| f.active(tick)).fold(0, |bits, f| bits | 1 << f.kind as u8);
        let edges = self.faults.iter().flat_map(|f| [Some(f.start_tick), f.end_tick]).flatten();
        self.next_edge = edges.filter(|edge| *edge > tick).min().unwrap_or(u64::MAX);
    }

    /// Resets the cache, to start again at an earlier tick.
    pub(super) fn rewind(&mut self) {
        self.next_edge = 0;
    }

    pub(super) fn is_active(&self, kind: FaultKind) -> bool {
        self.active & (1 << kind as u8) != 0
    }

    /// The tick since which a kind has been active.
    pub(super) fn since(&self, kind: FaultKind, tick: u64) -> Option<u64> {
        self.faults.iter().filter(|f| f.kind == kind && f.active(tick)).map(|f| f.start_tick).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_parsed() {
        let table = [
            ("gps-loss@60s", FaultKind::GpsLoss, 6_000, None),
            ("imu-loss@500ms+2s", FaultKind::ImuLoss, 50, Some(250)),
            ("motor-overheat@1m-90s", FaultKind::MotorOverheat, 6_000, Some(9_000)),
            ("battery-drop@0s", FaultKind::BatteryDrop, 0, None),
            ("boundary@1.5m", FaultKind::Boundary, 9_000, None),
            ("node-death@15ms", FaultKind::NodeDeath, 2, None),
            (" estop@0.07s+1s ", FaultKind::Estop, 7, Some(107)),
            ("comms-silence@10s - 20s", FaultKind::CommsSilence, 1_000, Some(2_000)),
        ];
        for (text, kind, start_tick, end_tick) in table {
            assert_eq!(Fault::parse(text), Ok(Fault { kind, start_tick, end_tick }), "{text}");
        }
        let fault = Fault::parse("motor-overheat@1m-90s").unwrap();
        assert_eq!(Fault::parse(&fault.to_string()), Ok(fault));
    }

    #[test]
    fn errors_list_what_is_allowed() {
        let table = [
            ("gps-loss", "NAME@START"),
            ("gps@60s", "gps-loss, imu-loss, motor-overheat"),
            ("gps-loss@60", "write 250ms, 60s or 1.5m"),
            ("gps-loss@", "write 250ms"),
            ("gps-loss@s", "not a time"),
            ("gps-loss@1e3s", "not a time"),
            ("gps-loss@infs", "not a time"),
            ("gps-loss@1h", "write 250ms"),
            ("gps-loss@-5s", "write 250ms"),
            ("gps-loss@99999999999m", "to a year"),
            ("gps-loss@20s-10s", "ends before it starts"),
            ("gps-loss@20s+0s", "ends before it starts"),
            ("gps-loss@1s+2s+3s", "not a time"),
            ("gps-loss@1ü", "not a time"),
        ];
        for (text, expected) in table {
            let error = Fault::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_script_tracks_active_faults() {
        let faults = ["gps-loss@1s+1s", "gps-loss@1500ms-3s", "estop@2s"].map(|f| Fault::parse(f).unwrap());
        let mut script = FaultScript::new(&faults);
        for tick in 0..400 {
            script.advance(tick);
            for kind in FaultKind::ALL {
                let expected = faults.iter().any(|f| f.kind == kind && f.active(tick));
                assert_eq!(script.is_active(kind), expected, "{kind:?} at {tick}");
            }
        }
        assert_eq!(script.since(FaultKind::GpsLoss, 250), Some(150));
    }
}
