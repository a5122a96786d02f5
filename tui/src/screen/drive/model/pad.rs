//! A game controller as the driving mode uses it: two axes, a dead-man button, gears. What it is read by is the runtime's.

use crate::screen::drive::model::stick::{Gear, Stick, Velocity};

/// Deflections below this share are none: sticks do not return to zero.
const DEAD_ZONE: f64 = 0.12;
/// Characters of a controller's name.
const NAME_CHARS: usize = 32;

/// An axis that drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadAxis {
    /// Left stick, up positive.
    Linear,
    /// Right stick, right positive.
    Angular,
}

/// A button that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadButton {
    /// The left shoulder button: the rover moves only while it is held.
    DeadMan,
    /// The right shoulder button.
    Turbo,
    /// The left trigger.
    Slow,
    /// The right button of the four: the emergency stop.
    Stop,
}

/// An event of a controller.
#[derive(Clone, Debug, PartialEq)]
pub enum PadEvent {
    /// A controller of this name is there.
    Connected(String),
    /// It is gone.
    Disconnected,
    /// An axis moved, -1 to 1.
    Axis(PadAxis, f64),
    /// A button was pressed or released.
    Button(PadButton, bool),
}

/// A connected controller.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pad {
    /// Its name.
    pub name: String,
    linear: f64,
    angular: f64,
    is_enabled: bool,
    is_turbo: bool,
    is_slow: bool,
}

impl Pad {
    /// A controller that has just been connected.
    pub fn new(name: &str) -> Pad {
        Pad { name: name.chars().take(NAME_CHARS).collect(), ..Pad::default() }
    }

    /// An axis moved.
    pub fn set_axis(&mut self, axis: PadAxis, value: f64) {
        let value = outside_dead_zone(value);
        match axis {
            PadAxis::Linear => self.linear = value,
            PadAxis::Angular => self.angular = value,
        }
    }

    /// A button was pressed or released.
    pub fn set_button(&mut self, button: PadButton, is_pressed: bool) {
        match button {
            PadButton::DeadMan => self.is_enabled = is_pressed,
            PadButton::Turbo => self.is_turbo = is_pressed,
            PadButton::Slow => self.is_slow = is_pressed,
            PadButton::Stop => {}
        }
    }

    /// Nothing is held until the dead-man button is pressed again.
    pub fn clear(&mut self) {
        self.is_enabled = false;
    }

    /// Whether the dead-man button is held.
    pub const fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// The velocity that it commands, within the limits of the stick.
    pub fn velocity(&self, stick: &Stick) -> Velocity {
        if !self.is_enabled {
            return Velocity::ZERO;
        }
        let gear = match (self.is_slow, self.is_turbo) {
            (true, _) => Gear::Slow,
            (false, true) => Gear::Turbo,
            (false, false) => stick.gear,
        };
        stick.scaled(self.linear, -self.angular, gear)
    }
}

/// The share of the way from the dead zone's edge to the end.
fn outside_dead_zone(value: f64) -> f64 {
    if !value.is_finite() || value.abs() <= DEAD_ZONE {
        return 0.0;
    }
    let value = value.clamp(-1.0, 1.0);
    value.signum() * (value.abs() - DEAD_ZONE) / (1.0 - DEAD_ZONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_only_while_the_dead_man_button_is_held() {
        let (mut pad, stick) = (Pad::new("pad"), Stick::default());
        pad.set_axis(PadAxis::Linear, 1.0);
        pad.set_axis(PadAxis::Angular, 1.0);
        assert!(pad.velocity(&stick).is_zero());
        pad.set_button(PadButton::DeadMan, true);
        assert_eq!(pad.velocity(&stick), Velocity { linear: 0.25, angular: -0.5 });
        pad.set_button(PadButton::Turbo, true);
        assert_eq!(pad.velocity(&stick).linear, 0.5);
        pad.set_button(PadButton::Slow, true);
        assert_eq!(pad.velocity(&stick).linear, 0.125);
        pad.clear();
        assert!(pad.velocity(&stick).is_zero());
    }

    #[test]
    fn a_dead_zone_has_no_step_at_its_edge() {
        for (value, expected) in
            [(0.0, 0.0), (0.12, 0.0), (-0.1, 0.0), (1.0, 1.0), (-7.0, -1.0), (f64::NAN, 0.0)]
        {
            assert_eq!(outside_dead_zone(value), expected, "{value}");
        }
        assert!(outside_dead_zone(0.13) < 0.02);
        assert!(Pad::new(&"x".repeat(10_000)).name.len() <= NAME_CHARS);
    }
}
