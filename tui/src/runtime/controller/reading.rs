//! What the axes and buttons of a controller mean, by the kernel's convention for gamepads
//! (`Documentation/input/gamepad.rst`).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use evdev::{AbsoluteAxisCode, EventSummary, KeyCode};

use crate::screen::drive::model::pad::{PadAxis, PadButton, PadEvent};

/// An analog trigger counts as pressed from here on, and as released below the second share.
const PRESSED: f64 = 0.5;
const RELEASED: f64 = 0.3;

/// Reads the events of one controller.
pub(super) struct Reading {
    ranges: BTreeMap<u16, RangeInclusive<i32>>,
    /// The axis of the right stick, right positive.
    right_stick: AbsoluteAxisCode,
    /// The axis of the left trigger, if it has one.
    left_trigger: Option<AbsoluteAxisCode>,
    is_trigger_pressed: bool,
}

impl Reading {
    /// A controller with these axes.
    pub(super) fn new(axes: impl Iterator<Item = (AbsoluteAxisCode, RangeInclusive<i32>)>) -> Reading {
        let ranges: BTreeMap<u16, _> = axes.map(|(code, range)| (code.0, range)).collect();
        // Older controllers have their right stick on Z and RZ, and no analog triggers.
        let is_usual = ranges.contains_key(&AbsoluteAxisCode::ABS_RX.0);
        let (right_stick, left_trigger) = match is_usual {
            true => (AbsoluteAxisCode::ABS_RX, Some(AbsoluteAxisCode::ABS_Z)),
            false => (AbsoluteAxisCode::ABS_Z, None),
        };
        Reading { ranges, right_stick, left_trigger, is_trigger_pressed: false }
    }

    /// Takes an event; `None` if it means nothing here.
    pub(super) fn event(&mut self, event: &EventSummary) -> Option<PadEvent> {
        match *event {
            // 2 repeats a press.
            EventSummary::Key(_, code, value @ (0 | 1)) => Some(PadEvent::Button(button(code)?, value == 1)),
            EventSummary::AbsoluteAxis(_, code, value) if Some(code) == self.left_trigger => {
                self.trigger(code, value)
            }
            EventSummary::AbsoluteAxis(_, code, value) => self.stick(code, value),
            _ => None,
        }
    }

    /// The deflection of a stick.
    pub(super) fn stick(&self, code: AbsoluteAxisCode, value: i32) -> Option<PadEvent> {
        let deflection = self.share(code, value)? * 2.0 - 1.0;
        match code {
            // Up is negative for the kernel.
            AbsoluteAxisCode::ABS_Y => Some(PadEvent::Axis(PadAxis::Linear, -deflection)),
            code if code == self.right_stick => Some(PadEvent::Axis(PadAxis::Angular, deflection)),
            _ => None,
        }
    }

    fn trigger(&mut self, code: AbsoluteAxisCode, value: i32) -> Option<PadEvent> {
        let share = self.share(code, value)?;
        let is_pressed = share > if self.is_trigger_pressed { RELEASED } else { PRESSED };
        let has_changed = std::mem::replace(&mut self.is_trigger_pressed, is_pressed) != is_pressed;
        has_changed.then_some(PadEvent::Button(PadButton::Slow, is_pressed))
    }

    /// Where a value lies in its range, 0 to 1.
    fn share(&self, code: AbsoluteAxisCode, value: i32) -> Option<f64> {
        let range = self.ranges.get(&code.0)?;
        let (low, high) = (f64::from(*range.start()), f64::from(*range.end()));
        (low < high).then(|| ((f64::from(value) - low) / (high - low)).clamp(0.0, 1.0))
    }
}

/// The buttons that are used.
const fn button(code: KeyCode) -> Option<PadButton> {
    match code {
        KeyCode::BTN_TL => Some(PadButton::DeadMan),
        KeyCode::BTN_TR => Some(PadButton::Turbo),
        KeyCode::BTN_TL2 => Some(PadButton::Slow),
        KeyCode::BTN_EAST => Some(PadButton::Stop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use evdev::{AbsoluteAxisEvent, EventType, InputEvent, KeyEvent};
    use proptest::prelude::*;

    use super::*;

    fn xbox() -> Reading {
        let sticks = [AbsoluteAxisCode::ABS_X, AbsoluteAxisCode::ABS_Y, AbsoluteAxisCode::ABS_RX];
        let axes = sticks.map(|code| (code, -32_768..=32_767));
        Reading::new(axes.into_iter().chain([(AbsoluteAxisCode::ABS_Z, 0..=1_023)]))
    }

    fn axis(reading: &mut Reading, code: AbsoluteAxisCode, value: i32) -> Option<PadEvent> {
        reading.event(&EventSummary::AbsoluteAxis(AbsoluteAxisEvent::new(code, value), code, value))
    }

    fn key(reading: &mut Reading, code: KeyCode, value: i32) -> Option<PadEvent> {
        reading.event(&EventSummary::Key(KeyEvent::new(code, value), code, value))
    }

    #[test]
    fn up_is_forward_and_right_is_right() {
        let mut reading = xbox();
        let (linear, angular) = (AbsoluteAxisCode::ABS_Y, AbsoluteAxisCode::ABS_RX);
        assert_eq!(axis(&mut reading, linear, -32_768), Some(PadEvent::Axis(PadAxis::Linear, 1.0)));
        assert_eq!(axis(&mut reading, linear, 32_767), Some(PadEvent::Axis(PadAxis::Linear, -1.0)));
        assert_eq!(axis(&mut reading, angular, 32_767), Some(PadEvent::Axis(PadAxis::Angular, 1.0)));
        assert_eq!(axis(&mut reading, AbsoluteAxisCode::ABS_X, 9), None, "the left stick does not steer");
        assert_eq!(axis(&mut reading, AbsoluteAxisCode::ABS_HAT0X, 1), None);
    }

    #[test]
    fn buttons_are_pressed_and_released_and_repeats_mean_nothing() {
        let mut reading = xbox();
        for (code, button) in [
            (KeyCode::BTN_TL, PadButton::DeadMan),
            (KeyCode::BTN_TR, PadButton::Turbo),
            (KeyCode::BTN_EAST, PadButton::Stop),
        ] {
            assert_eq!(key(&mut reading, code, 1), Some(PadEvent::Button(button, true)));
            assert_eq!(key(&mut reading, code, 2), None);
            assert_eq!(key(&mut reading, code, 0), Some(PadEvent::Button(button, false)));
        }
        assert_eq!(key(&mut reading, KeyCode::BTN_SOUTH, 1), None);
    }

    #[test]
    fn a_trigger_does_not_flutter_between_pressed_and_released() {
        let mut reading = xbox();
        let values = [0, 500, 600, 450, 520, 400, 200, 500];
        let seen: Vec<_> =
            values.into_iter().filter_map(|n| axis(&mut reading, AbsoluteAxisCode::ABS_Z, n)).collect();
        let slow = |is_pressed| PadEvent::Button(PadButton::Slow, is_pressed);
        assert_eq!(seen, [slow(true), slow(false)]);
    }

    #[test]
    fn an_older_controller_steers_with_z() {
        let axes = [AbsoluteAxisCode::ABS_Y, AbsoluteAxisCode::ABS_Z].map(|code| (code, 0..=255));
        let mut reading = Reading::new(axes.into_iter());
        assert_eq!(
            axis(&mut reading, AbsoluteAxisCode::ABS_Z, 255),
            Some(PadEvent::Axis(PadAxis::Angular, 1.0))
        );
        assert_eq!(key(&mut reading, KeyCode::BTN_TL2, 1), Some(PadEvent::Button(PadButton::Slow, true)));
    }

    proptest! {
        /// Whatever a device announces and sends, a deflection is one.
        #[test]
        fn a_deflection_is_within_its_limits(
            low in any::<i32>(), high in any::<i32>(), kind in any::<u16>(), code in any::<u16>(), value in any::<i32>(),
        ) {
            let axes = [AbsoluteAxisCode::ABS_Y, AbsoluteAxisCode::ABS_RX, AbsoluteAxisCode::ABS_Z];
            let mut reading = Reading::new(axes.into_iter().map(|code| (code, low..=high)));
            for (kind, code) in [(kind % 0x20, code), (EventType::ABSOLUTE.0, code % 0x40)] {
                let event = InputEvent::new(kind, code, value).destructure();
                if let Some(PadEvent::Axis(_, deflection)) = reading.event(&event) {
                    prop_assert!((-1.0..=1.0).contains(&deflection));
                }
            }
        }
    }
}
