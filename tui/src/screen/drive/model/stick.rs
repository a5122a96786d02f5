//! From pressed keys and time to a velocity. Pure: what it returns depends on nothing but its calls.

use std::time::Duration;

/// How long a key counts on a terminal that does not report its release: longer than the pause between two repeats of a
/// held key (about 33 ms), and short, because a rover that is let go has to stop.
pub const HOLD: Duration = Duration::from_millis(250);
/// A terminal that reports releases may be lost together with one: without any key event for this long, nothing is held.
pub const KEYBOARD_SILENCE: Duration = Duration::from_secs(2);
/// The limit of speed at the beginning, and its bounds and step, metres per second.
const SPEED: Range = Range { start: 0.5, least: 0.1, most: 3.0, step: 0.1 };
/// The same of the rate of rotation, radians per second.
const ROTATION: Range = Range { start: 1.0, least: 0.1, most: 3.0, step: 0.1 };

struct Range {
    start: f64,
    least: f64,
    most: f64,
    step: f64,
}

impl Range {
    fn stepped(&self, value: f64, up: bool) -> f64 {
        let steps = (value / self.step).round() + if up { 1.0 } else { -1.0 };
        (steps * self.step).clamp(self.least, self.most)
    }
}

/// A key that moves the rover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Forward.
    Forward,
    /// Backward.
    Back,
    /// Counter-clockwise.
    Left,
    /// Clockwise.
    Right,
}

impl Direction {
    /// All of them.
    pub const ALL: [Direction; 4] = [Direction::Forward, Direction::Back, Direction::Left, Direction::Right];

    /// An arrow with a word.
    pub const fn word(self) -> &'static str {
        match self {
            Direction::Forward => "↑ forward",
            Direction::Back => "↓ back",
            Direction::Left => "← left",
            Direction::Right => "→ right",
        }
    }
}

/// How much of the limit is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gear {
    /// A quarter.
    Slow,
    /// Half.
    #[default]
    Normal,
    /// All.
    Turbo,
}

impl Gear {
    /// Its share of the limit.
    pub const fn share(self) -> f64 {
        match self {
            Gear::Slow => 0.25,
            Gear::Normal => 0.5,
            Gear::Turbo => 1.0,
        }
    }

    /// For people.
    pub const fn word(self) -> &'static str {
        match self {
            Gear::Slow => "slow 25 %",
            Gear::Normal => "normal 50 %",
            Gear::Turbo => "turbo 100 %",
        }
    }
}

/// A commanded velocity.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Velocity {
    /// Metres per second, forward positive.
    pub linear: f64,
    /// Radians per second, counter-clockwise positive.
    pub angular: f64,
}

impl Velocity {
    /// Standing still.
    pub const ZERO: Velocity = Velocity { linear: 0.0, angular: 0.0 };

    /// Whether it commands no movement.
    pub fn is_zero(self) -> bool {
        self == Velocity::ZERO
    }
}

/// The keys, and how fast they drive.
#[derive(Clone, Debug, PartialEq)]
pub struct Stick {
    /// When each direction was last pressed or repeated.
    held: [Option<Duration>; Direction::ALL.len()],
    /// The same of the dead-man key.
    dead_man: Option<Duration>,
    /// The last key event of any kind.
    last_sign: Duration,
    /// Whether the newest direction came with Shift.
    is_boosted: bool,
    /// Whether the terminal has reported a release: then a key counts until its own.
    pub reports_release: bool,
    /// Whether the dead-man key has to be held in addition to a direction.
    pub needs_dead_man: bool,
    /// The gear.
    pub gear: Gear,
    /// Limit of speed, metres per second.
    pub speed_limit: f64,
    /// Limit of rotation, radians per second.
    pub rotation_limit: f64,
}

impl Default for Stick {
    fn default() -> Stick {
        Stick {
            held: [None; Direction::ALL.len()],
            dead_man: None,
            last_sign: Duration::ZERO,
            is_boosted: false,
            reports_release: false,
            needs_dead_man: false,
            gear: Gear::Normal,
            speed_limit: SPEED.start,
            rotation_limit: ROTATION.start,
        }
    }
}

impl Stick {
    /// A direction was pressed or repeated; `is_boosted`: with Shift.
    pub fn press(&mut self, direction: Direction, is_boosted: bool, now: Duration) {
        (self.last_sign, self.is_boosted) = (now, is_boosted);
        // The opposite key counts no more where its release is not reported.
        if !self.reports_release {
            self.held[direction as usize ^ 1] = None;
        }
        self.held[direction as usize] = Some(now);
    }

    /// A direction was released, so the terminal reports that.
    pub fn release(&mut self, direction: Direction, now: Duration) {
        (self.last_sign, self.reports_release) = (now, true);
        self.held[direction as usize] = None;
    }

    /// The dead-man key was pressed or repeated.
    pub fn press_dead_man(&mut self, now: Duration) {
        (self.last_sign, self.dead_man) = (now, Some(now));
    }

    /// The dead-man key was released.
    pub fn release_dead_man(&mut self, now: Duration) {
        (self.last_sign, self.reports_release, self.dead_man) = (now, true, None);
    }

    /// Another key was released, so the terminal reports that.
    pub fn see_release(&mut self, now: Duration) {
        (self.last_sign, self.reports_release) = (now, true);
    }

    /// Nothing is held until a key is pressed again.
    pub fn clear(&mut self) {
        (self.held, self.dead_man, self.is_boosted) = ([None; Direction::ALL.len()], None, false);
    }

    /// Forgets whether the terminal reports releases: it may be another one.
    pub fn forget_terminal(&mut self) {
        self.clear();
        self.reports_release = false;
    }

    /// Raises or lowers the limit of speed.
    pub fn step_speed(&mut self, up: bool) {
        self.speed_limit = SPEED.stepped(self.speed_limit, up);
    }

    /// Raises or lowers the limit of rotation.
    pub fn step_rotation(&mut self, up: bool) {
        self.rotation_limit = ROTATION.stepped(self.rotation_limit, up);
    }

    fn counts(&self, at: Option<Duration>, now: Duration) -> bool {
        let Some(at) = at else { return false };
        match self.reports_release {
            true => now.saturating_sub(self.last_sign) < KEYBOARD_SILENCE,
            false => now.saturating_sub(at) < HOLD,
        }
    }

    /// Whether a direction counts as held.
    pub fn holds(&self, direction: Direction, now: Duration) -> bool {
        self.counts(self.held[direction as usize], now)
    }

    /// Whether the dead-man key counts as held.
    pub fn holds_dead_man(&self, now: Duration) -> bool {
        self.counts(self.dead_man, now)
    }

    /// Whether the rover may move by the keys: something is held that stands for the driver.
    pub fn is_enabled(&self, now: Duration) -> bool {
        let is_held = Direction::ALL.iter().any(|direction| self.holds(*direction, now));
        is_held && (!self.needs_dead_man || self.holds_dead_man(now))
    }

    /// The gear in effect: Shift is turbo.
    pub fn effective_gear(&self) -> Gear {
        if self.is_boosted { Gear::Turbo } else { self.gear }
    }

    /// The velocity that the keys command now.
    pub fn velocity(&self, now: Duration) -> Velocity {
        if !self.is_enabled(now) {
            return Velocity::ZERO;
        }
        let axis = |plus, minus| f64::from(self.holds(plus, now)) - f64::from(self.holds(minus, now));
        self.scaled(
            axis(Direction::Forward, Direction::Back),
            axis(Direction::Left, Direction::Right),
            self.effective_gear(),
        )
    }

    /// Shares of the limits (-1 to 1) in a gear as a velocity; what is no number is zero.
    pub fn scaled(&self, linear: f64, angular: f64, gear: Gear) -> Velocity {
        let part = |share: f64, limit: f64| {
            let share = if share.is_finite() { share.clamp(-1.0, 1.0) } else { 0.0 };
            // Adding zero makes a negative one positive.
            share * limit * gear.share() + 0.0
        };
        Velocity { linear: part(linear, self.speed_limit), angular: part(angular, self.rotation_limit) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_secs(1_000) + Duration::from_millis(ms)
    }

    #[test]
    fn without_releases_a_key_counts_while_it_repeats() {
        let mut stick = Stick::default();
        stick.press(Direction::Forward, false, ms(0));
        assert_eq!(stick.velocity(ms(0)), Velocity { linear: 0.25, angular: 0.0 });
        for n in 1..20 {
            stick.press(Direction::Forward, false, ms(n * 33));
        }
        assert!(!stick.velocity(ms(19 * 33 + 249)).is_zero());
        assert!(stick.velocity(ms(19 * 33 + 250)).is_zero(), "let go");
        stick.press(Direction::Forward, false, ms(1_000));
        stick.press(Direction::Back, false, ms(1_010));
        assert!(stick.velocity(ms(1_020)).linear < 0.0, "the newer of two opposite keys counts");
    }

    #[test]
    fn with_releases_several_keys_are_held_at_once() {
        let mut stick = Stick::default();
        stick.see_release(ms(0));
        stick.press(Direction::Forward, false, ms(0));
        stick.press(Direction::Left, false, ms(900));
        assert_eq!(stick.velocity(ms(1_500)), Velocity { linear: 0.25, angular: 0.5 });
        stick.release(Direction::Left, ms(1_600));
        assert_eq!(stick.velocity(ms(1_700)), Velocity { linear: 0.25, angular: 0.0 });
        stick.release(Direction::Forward, ms(1_800));
        assert!(stick.velocity(ms(1_800)).is_zero());
        stick.press(Direction::Right, true, ms(1_900));
        assert_eq!(stick.velocity(ms(1_900)).angular, -1.0, "Shift is turbo");
        assert!(stick.velocity(ms(1_900) + KEYBOARD_SILENCE).is_zero(), "the keyboard is silent");
    }

    #[test]
    fn opposite_keys_cancel_each_other() {
        let mut stick = Stick { reports_release: true, ..Stick::default() };
        stick.press(Direction::Forward, false, ms(0));
        stick.press(Direction::Back, false, ms(1));
        assert!(stick.velocity(ms(2)).is_zero());
    }

    #[test]
    fn a_dead_man_key_stops_when_it_is_released() {
        let mut stick = Stick { reports_release: true, needs_dead_man: true, ..Stick::default() };
        stick.press(Direction::Forward, false, ms(0));
        assert!(stick.velocity(ms(1)).is_zero());
        stick.press_dead_man(ms(2));
        assert!(!stick.velocity(ms(3)).is_zero());
        stick.release_dead_man(ms(4));
        assert!(stick.velocity(ms(5)).is_zero());
    }

    #[test]
    fn limits_have_bounds_and_gears_shares() {
        let mut stick = Stick::default();
        (0..100).for_each(|_| stick.step_speed(true));
        assert_eq!(stick.speed_limit, 3.0);
        (0..100).for_each(|_| stick.step_rotation(false));
        assert_eq!(stick.rotation_limit, 0.1);
        assert_eq!(stick.scaled(f64::NAN, f64::INFINITY, Gear::Turbo), Velocity::ZERO);
        assert_eq!(stick.scaled(-9.0, 0.0, Gear::Slow).linear, -0.75);
    }

    /// A key event: its kind, a direction, whether with Shift, and the milliseconds since the last one.
    fn events() -> impl Strategy<Value = Vec<(u8, usize, bool, u64)>> {
        proptest::collection::vec((0_u8..8, 0_usize..4, any::<bool>(), 0_u64..700), 0..60)
    }

    proptest! {
        #[test]
        fn a_rover_moves_only_within_its_limits_and_while_keys_are_held(events in events(), wait in 0_u64..4_000) {
            let (mut stick, mut at) = (Stick::default(), 0);
            let mut pressed = [false; 4];
            for (kind, n, is_boosted, pause) in events {
                at += pause;
                let direction = Direction::ALL[n];
                match kind {
                    0..=2 => {
                        stick.press(direction, is_boosted, ms(at));
                        pressed[n] = true;
                    }
                    3 | 4 => {
                        stick.release(direction, ms(at));
                        pressed[n] = false;
                    }
                    5 => stick.press_dead_man(ms(at)),
                    6 => {
                        stick.clear();
                        pressed = [false; 4];
                    }
                    _ => stick.step_speed(is_boosted),
                }
                let velocity = stick.velocity(ms(at));
                prop_assert!(velocity.linear.abs() <= stick.speed_limit && velocity.angular.abs() <= stick.rotation_limit);
                prop_assert!(pressed.contains(&true) || velocity.is_zero());
            }
            // Whatever happened: without a sign of the keyboard it ends.
            if Duration::from_millis(wait) >= KEYBOARD_SILENCE {
                prop_assert!(stick.velocity(ms(at + wait)).is_zero());
            }
            if !stick.reports_release && Duration::from_millis(wait) >= HOLD {
                prop_assert!(stick.velocity(ms(at + wait)).is_zero());
            }
        }
    }
}
