//! Encodes the laser scan of the rocks around the rover.

use std::f64::consts::{PI, TAU};

use roverline_schema::cdr::Writer;

use crate::sim::messages::header;
use crate::sim::noise::Channel;
use crate::sim::state::State;
use crate::sim::terrain::wrap;

const RAYS: usize = 360;
const STEP: f64 = TAU / RAYS as f64;
const RANGE_MIN_M: f64 = 0.3;
const RANGE_MAX_M: f64 = 30.0;
/// The laser is mounted this far ahead of the rover's centre, metres.
const MOUNT_M: f64 = 0.4;

/// `sensor_msgs/msg/LaserScan`; a ray without a hit is infinite (REP-117).
pub(super) fn scan(w: &mut Writer, state: &State) {
    let mut ranges = [f32::INFINITY; RAYS];
    let (sin, cos) = state.drive.yaw.sin_cos();
    let (x, y) = (state.drive.x + MOUNT_M * cos, state.drive.y + MOUNT_M * sin);
    for rock in &state.route.rocks {
        let (dx, dy) = (rock.x - x, rock.y - y);
        let distance = dx.hypot(dy);
        if distance < RANGE_MAX_M && distance > rock.radius + RANGE_MIN_M {
            let bearing = wrap(dy.atan2(dx) - state.drive.yaw);
            hit(&mut ranges, bearing, distance, rock.radius);
        }
    }
    for (ray, range) in (0..).zip(&mut ranges).filter(|(_, range)| range.is_finite()) {
        *range += 0.01 * state.noise.normal(Channel::Scan, ray, state.tick) as f32;
    }
    header(w, state, "laser_link");
    w.f32(-PI as f32).f32((PI - STEP) as f32).f32(STEP as f32);
    w.f32(0.1 / RAYS as f32).f32(0.1).f32(RANGE_MIN_M as f32).f32(RANGE_MAX_M as f32);
    w.f32_seq(&ranges).len(0);
}

/// Shortens the rays that hit a circle at this bearing and distance.
fn hit(ranges: &mut [f32; RAYS], bearing: f64, distance: f64, radius: f64) {
    let half = (radius / distance).asin();
    let first = ((bearing - half + PI) / STEP).ceil() as i64;
    let last = ((bearing + half + PI) / STEP).floor() as i64;
    for ray in first..=last {
        let off = ray as f64 * STEP - PI - bearing;
        let across = distance * off.sin();
        let range = distance * off.cos() - (radius * radius - across * across).max(0.0).sqrt();
        let nearest = &mut ranges[ray.rem_euclid(RAYS as i64) as usize];
        *nearest = nearest.min(range as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rock_behind_wraps_around_the_ends() {
        let mut ranges = [f32::INFINITY; RAYS];
        hit(&mut ranges, PI, 10.0, 0.5);
        assert!((ranges[0] - 9.5).abs() < 1e-6);
        assert!(ranges[2].is_finite() && ranges[358].is_finite());
        assert!(ranges[4].is_infinite() && ranges[356].is_infinite());
    }
}
