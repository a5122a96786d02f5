//! The terrain: its position on the Earth, its height, and the boundary.
//!
//! The `map` frame is east-north-up with its origin at the Mars Desert Research Station.

/// Latitude of the origin, degrees.
pub(super) const ORIGIN_LAT_DEG: f64 = 38.4064;
/// Longitude of the origin, degrees.
pub(super) const ORIGIN_LON_DEG: f64 = -110.7919;
/// Altitude of the origin, metres.
pub(super) const ORIGIN_ALT_M: f64 = 1_350.0;
/// Maximum allowed distance of the rover from the origin.
pub(super) const BOUNDARY_M: f64 = 68.0;

/// Equatorial radius of the Earth (WGS 84).
const EARTH_RADIUS_M: f64 = 6_378_137.0;
const EARTH_ECCENTRICITY_SQUARED: f64 = 6.694_379_990_14e-3;

/// The waves that form the terrain: height, and radians per metre eastwards and northwards.
const WAVES: [(f64, f64, f64); 3] = [(1.4, 0.061, 0.043), (0.5, -0.11, 0.15), (0.12, 0.41, 0.23)];

/// Height above the origin, metres.
pub(super) fn height(x: f64, y: f64) -> f64 {
    WAVES.iter().map(|(h, kx, ky)| h * (kx * x + ky * y).sin()).sum()
}

/// The slope eastwards and northwards.
pub(super) fn gradient(x: f64, y: f64) -> (f64, f64) {
    WAVES.iter().fold((0.0, 0.0), |(gx, gy), (h, kx, ky)| {
        let c = h * (kx * x + ky * y).cos();
        (gx + c * kx, gy + c * ky)
    })
}

/// Roll and pitch of a rover at this position, radians: pitch is positive nose down, roll is positive
/// left side up (REP-103).
pub(super) fn attitude(x: f64, y: f64, yaw: f64) -> (f64, f64) {
    let (gx, gy) = gradient(x, y);
    let (sin, cos) = yaw.sin_cos();
    let pitch = -(gx * cos + gy * sin).atan();
    let roll = ((gy * cos - gx * sin) * pitch.cos()).atan();
    (roll, pitch)
}

/// Converts a position in the `map` frame to latitude and longitude, degrees. The flat-earth formula is
/// accurate to a millimetre at these distances.
pub(super) fn geodetic(x: f64, y: f64) -> (f64, f64) {
    let (sin, cos) = ORIGIN_LAT_DEG.to_radians().sin_cos();
    let w = 1.0 - EARTH_ECCENTRICITY_SQUARED * sin * sin;
    let across = EARTH_RADIUS_M / w.sqrt();
    let along = across * (1.0 - EARTH_ECCENTRICITY_SQUARED) / w;
    (ORIGIN_LAT_DEG + (y / along).to_degrees(), ORIGIN_LON_DEG + (x / (across * cos)).to_degrees())
}

/// Whether a position is outside the boundary.
pub(super) fn is_outside(x: f64, y: f64) -> bool {
    x * x + y * y > BOUNDARY_M * BOUNDARY_M
}

/// Wraps an angle into `-π..=π`; it may be off by one turn at most.
pub(super) fn wrap(angle: f64) -> f64 {
    use std::f64::consts::{PI, TAU};
    if angle > PI {
        angle - TAU
    } else if angle < -PI {
        angle + TAU
    } else {
        angle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degree_of_latitude_is_111_km_here() {
        let (lat, lon) = geodetic(100.0, 100.0);
        assert!(((lat - ORIGIN_LAT_DEG) * 111_010.0 - 100.0).abs() < 0.1);
        assert!(((lon - ORIGIN_LON_DEG) * 87_350.0 - 100.0).abs() < 0.2);
    }

    #[test]
    fn uphill_is_nose_up_and_the_high_side_is_up() {
        let (gx, gy) = gradient(3.0, 4.0);
        let steps = (height(3.001, 4.0) - height(3.0, 4.0), height(3.0, 4.001) - height(3.0, 4.0));
        assert!((steps.0 / 0.001 - gx).abs() < 1e-3 && (steps.1 / 0.001 - gy).abs() < 1e-3);
        let uphill = gy.atan2(gx);
        assert!(attitude(3.0, 4.0, uphill).1 < -0.05);
        assert!(attitude(3.0, 4.0, uphill).0.abs() < 1e-9);
        assert!(attitude(3.0, 4.0, uphill - std::f64::consts::FRAC_PI_2).0 > 0.05);
    }
}
