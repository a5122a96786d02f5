//! The rover's route: its way-points, and the rocks beside them.

use crate::sim::noise::{Channel, Noise};

/// How a way-point is reached: autonomously or by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Autonomous,
    Teleop,
}

/// The action at a way-point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Drive on.
    Pass,
    /// Stop and report the arrival.
    Arrive,
    /// Stop and take a sample.
    Sample,
    /// Stop and work with the arm.
    Service,
}

/// A way-point, and how the rover gets there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waypoint {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) mission: &'static str,
    pub(super) mode: Mode,
    pub(super) action: Action,
}

/// A rock: a circle on the map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rock {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) radius: f64,
}

/// A closed loop; the rover starts at its last way-point.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) waypoints: Vec<Waypoint>,
    pub(super) rocks: Vec<Rock>,
}

const WAYPOINTS: [(f64, f64, &str, Mode, Action); 8] = [
    (55.0, 5.0, "Autonomous Navigation", Mode::Autonomous, Action::Arrive),
    (38.0, 42.0, "Autonomous Navigation", Mode::Autonomous, Action::Arrive),
    (-5.0, 58.0, "Science Mission", Mode::Autonomous, Action::Sample),
    (-46.0, 36.0, "Science Mission", Mode::Autonomous, Action::Sample),
    (-57.0, -8.0, "Equipment Servicing", Mode::Teleop, Action::Service),
    (-34.0, -46.0, "Delivery", Mode::Teleop, Action::Pass),
    (8.0, -56.0, "Science Mission", Mode::Autonomous, Action::Sample),
    (44.0, -36.0, "Return to Base", Mode::Autonomous, Action::Arrive),
];

/// Maximum displacement of a way-point by the seed, metres.
const JITTER_M: f64 = 2.0;
const ROCKS: u32 = 80;
/// Minimum distance of rocks from the route, metres.
const CLEARANCE_M: f64 = 3.0;

impl Route {
    pub(super) fn new(noise: Noise) -> Self {
        let jitter = |lane| (noise.uniform(Channel::Route, lane, 0) * 2.0 - 1.0) * JITTER_M;
        let waypoints: Vec<Waypoint> = (0_u32..)
            .zip(WAYPOINTS)
            .map(|(i, (x, y, mission, mode, action))| Waypoint {
                x: x + jitter(2 * i),
                y: y + jitter(2 * i + 1),
                mission,
                mode,
                action,
            })
            .collect();
        let rocks = (0..ROCKS).map(|i| rock(noise, i)).filter(|r| is_clear_of(&waypoints, r)).collect();
        Self { waypoints, rocks }
    }

    /// The leg with this index, which continues over the laps.
    pub(super) fn waypoint(&self, index: usize) -> &Waypoint {
        &self.waypoints[index % self.waypoints.len()]
    }

    /// Start pose of a sortie: x, y, and the heading towards the first way-point.
    pub(super) fn start(&self) -> (f64, f64, f64) {
        let (last, first) = (self.waypoint(self.waypoints.len() - 1), self.waypoint(0));
        (last.x, last.y, (first.y - last.y).atan2(first.x - last.x))
    }
}

fn rock(noise: Noise, index: u32) -> Rock {
    let value = |lane| noise.uniform(Channel::Rocks, lane, u64::from(index));
    Rock { x: value(0) * 150.0 - 75.0, y: value(1) * 150.0 - 75.0, radius: 0.2 + 0.7 * value(2) }
}

/// Whether a rock keeps clear of the route.
fn is_clear_of(waypoints: &[Waypoint], rock: &Rock) -> bool {
    let after = waypoints.iter().cycle().skip(1);
    waypoints.iter().zip(after).all(|(a, b)| {
        let (dx, dy) = (b.x - a.x, b.y - a.y);
        let along = ((rock.x - a.x) * dx + (rock.y - a.y) * dy) / (dx * dx + dy * dy);
        let along = along.clamp(0.0, 1.0);
        (a.x + along * dx - rock.x).hypot(a.y + along * dy - rock.y) > CLEARANCE_M + rock.radius
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::terrain;

    #[test]
    fn every_seed_has_a_route_inside_the_boundary() {
        for seed in 0..50 {
            let route = Route::new(Noise::new(seed));
            assert!(
                route
                    .waypoints
                    .iter()
                    .all(|waypoint| !terrain::is_outside(waypoint.x * 1.05, waypoint.y * 1.05))
            );
            assert!(route.rocks.len() > 20);
        }
    }
}
