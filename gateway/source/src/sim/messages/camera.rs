//! The front camera's image: sky, a horizon that tilts with the rover, and approaching gravel.

use roverline_schema::cdr::Writer;

use crate::sim::messages::header;
use crate::sim::noise::Channel;
use crate::sim::state::State;
use crate::sim::{png, terrain};

const WIDTH: u32 = 96;
const HEIGHT: u32 = 80;
/// Focal length, pixels per radian.
const FOCAL: f64 = 110.0;

/// Four colours of the sky, then twelve of the ground, far to near.
const PALETTE: [[u8; 3]; 16] = [
    [196, 170, 140],
    [208, 184, 152],
    [220, 198, 168],
    [230, 212, 186],
    [150, 86, 58],
    [158, 90, 58],
    [166, 94, 60],
    [174, 98, 60],
    [180, 102, 62],
    [186, 106, 64],
    [190, 108, 64],
    [176, 98, 58],
    [152, 84, 52],
    [130, 72, 46],
    [104, 58, 40],
    [80, 46, 34],
];

/// `sensor_msgs/msg/CompressedImage` with a PNG of about 4 kB.
pub(super) fn camera(w: &mut Writer, state: &State) {
    let drive = &state.drive;
    let (roll, pitch) = terrain::attitude(drive.x, drive.y, drive.yaw);
    let middle = f64::from(HEIGHT) / 2.0 - pitch * FOCAL;
    let tilt = roll.tan();
    let way = drive.odometer_m;
    let image = png::encode(WIDTH, HEIGHT, &PALETTE, |x, y| {
        let across = f64::from(x) - f64::from(WIDTH) / 2.0;
        // Roll with the left side up lowers the horizon on the left of the picture.
        let below = f64::from(y) - (middle - across * tilt);
        if below < 0.0 {
            return (3.0 + below / 12.0).clamp(0.0, 3.0) as u8;
        }
        // On flat ground, a row this far `below` the horizon has this distance; the grain is fixed to
        // the ground.
        let distance = 0.6 * FOCAL / (below + 1.0);
        let (cell_x, cell_y) = (across * distance / FOCAL / 0.15, (distance + way) / 0.15);
        let cell = ((cell_x.floor() as i64 as u64) & 0xffff) << 32 | (cell_y.floor() as u64 & 0xffff_ffff);
        let grain = state.noise.bits(Channel::Camera, 0, cell);
        let shade = (below / 12.0) as u8;
        let stone = if grain.is_multiple_of(23) { 6 } else { (grain >> 8 & 1) as u8 };
        (4 + shade.min(5) + stone).min(15)
    });
    // Writing into memory does not fail.
    let image = image.unwrap_or_default();
    header(w, state, "camera_front_optical_frame");
    w.string("png").bytes_seq(&image);
}
