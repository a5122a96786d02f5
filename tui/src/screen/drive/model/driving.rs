//! The driving mode: who drives, with what, and what was sent.

use std::time::Duration;

use roverline_protocol::api::authority::{AuthorityDocument, AuthorityList};
use serde_json::{Value, json};

use crate::model::api::Document;
use crate::screen::drive::model::pad::Pad;
use crate::screen::drive::model::stick::{Stick, Velocity};

/// Interval of the velocities that are sent.
pub const PERIOD: Duration = Duration::from_millis(50);
/// Zeros that are sent after the rover was let go: one that is lost does not leave it moving.
const ZEROS: u8 = 10;
/// A velocity is useless after this time.
const VELOCITY_TTL: Duration = Duration::from_millis(200);
/// A zero is late rather than never.
const ZERO_TTL: Duration = Duration::from_secs(1);
/// The topic, if the authority names none.
const USUAL_TOPIC: &str = "/cmd_vel";
const STAMPED: &str = "geometry_msgs/msg/TwistStamped";

/// The mode.
#[derive(Debug, Default)]
pub struct Driving {
    /// The keys.
    pub stick: Stick,
    /// A game controller.
    pub pad: Option<Pad>,
    /// Since when the lock is awaited; `None` once it is ours.
    pub waiting: Option<Duration>,
    /// Whether the lock was taken for this.
    pub took_lock: bool,
    /// Whether the terminal has the focus, as far as it reports that.
    pub has_focus: bool,
    /// The newest velocity that was sent, and when.
    pub sent: Option<(Duration, Velocity)>,
    /// Velocities that were sent.
    pub count: u64,
    zeros_left: u8,
    /// Who has which authority.
    pub authority: Document<AuthorityList>,
    /// The watch of it.
    pub watch: Option<u64>,
}

impl Driving {
    /// The mode with the limits and gears of the last time.
    pub fn new(mut stick: Stick, pad: Option<Pad>) -> Driving {
        stick.forget_terminal();
        Driving { stick, pad, has_focus: true, ..Driving::default() }
    }

    /// The velocity that is commanded now.
    pub fn velocity(&self, now: Duration) -> Velocity {
        if self.waiting.is_some() || !self.has_focus {
            return Velocity::ZERO;
        }
        match &self.pad {
            Some(pad) if pad.is_enabled() => pad.velocity(&self.stick),
            _ => self.stick.velocity(now),
        }
    }

    /// Nothing is held any more.
    pub fn clear(&mut self) {
        self.stick.clear();
        self.pad.iter_mut().for_each(Pad::clear);
    }

    /// The velocity that has to be sent now; `None` while the rover is at rest and has been told so often enough.
    pub fn due(&mut self, now: Duration) -> Option<Velocity> {
        let velocity = self.velocity(now);
        if !velocity.is_zero() {
            self.zeros_left = ZEROS;
        } else if self.zeros_left == 0 {
            return None;
        } else {
            self.zeros_left -= 1;
        }
        (self.sent, self.count) = (Some((now, velocity)), self.count + 1);
        Some(velocity)
    }

    /// Whether the newest velocity differs from the one that was sent.
    pub fn has_changed(&self, now: Duration) -> bool {
        self.sent.map_or(Velocity::ZERO, |(_, sent)| sent) != self.velocity(now)
    }

    /// Whether the rover was set in motion and not stopped since.
    pub fn is_moving(&self) -> bool {
        self.sent.is_some_and(|(_, sent)| !sent.is_zero())
    }

    /// The authority over driving.
    pub fn document(&self, name: &str) -> Option<&AuthorityDocument> {
        self.authority.value.as_ref()?.authorities.iter().find(|authority| authority.name == name)
    }

    /// The topic that is commanded: the first of the authority that is no pattern.
    pub fn topic(&self, name: &str) -> String {
        let topics = self.document(name).map(|authority| authority.topics.as_slice()).unwrap_or_default();
        let found =
            topics.iter().find(|topic| topic.starts_with('/') && !topic.contains(['*', '?', '[', '{']));
        found.map_or_else(|| USUAL_TOPIC.to_owned(), Clone::clone)
    }
}

/// How long a velocity is worth something on its way.
pub fn time_to_live(velocity: Velocity) -> Duration {
    if velocity.is_zero() { ZERO_TTL } else { VELOCITY_TTL }
}

/// The type and the message of a velocity, for a topic of this type.
pub fn message(type_name: Option<&str>, velocity: Velocity) -> (&'static str, Value) {
    let twist = json!({"linear": {"x": velocity.linear}, "angular": {"z": velocity.angular}});
    match type_name {
        Some(STAMPED) => {
            (STAMPED, json!({"header": {"stamp": "now", "frame_id": "base_link"}, "twist": twist}))
        }
        _ => ("geometry_msgs/msg/Twist", twist),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::drive::model::stick::Direction;

    #[test]
    fn zeros_follow_a_movement_and_end() {
        let mut driving = Driving::new(Stick::default(), None);
        let ms = |ms| Duration::from_secs(9) + Duration::from_millis(ms);
        assert_eq!(driving.due(ms(0)), None, "nothing was commanded");
        driving.stick.press(Direction::Forward, false, ms(0));
        assert!(driving.has_changed(ms(0)));
        assert_eq!(driving.due(ms(0)).map(|velocity| velocity.linear), Some(0.25));
        assert!(!driving.has_changed(ms(1)) && driving.is_moving());
        driving.clear();
        let zeros: Vec<_> = (1..20).filter_map(|n| driving.due(ms(n * 50))).collect();
        assert_eq!(zeros, [Velocity::ZERO; ZEROS as usize]);
        assert!(!driving.is_moving());
    }

    #[test]
    fn the_topic_is_that_of_the_authority_and_no_pattern() {
        let mut driving = Driving::default();
        assert_eq!(driving.topic("drive"), "/cmd_vel");
        let topics = vec!["/base/**".to_owned(), "/base/cmd".to_owned()];
        let drive = AuthorityDocument { name: "drive".to_owned(), topics, ..AuthorityDocument::default() };
        driving.authority.value = Some(AuthorityList { authorities: vec![drive] });
        assert_eq!((driving.topic("drive"), driving.topic("arm")), ("/base/cmd".into(), "/cmd_vel".into()));
        assert_eq!(message(Some(STAMPED), Velocity::ZERO).0, STAMPED);
        assert_eq!(message(Some("std_msgs/msg/Bool"), Velocity::ZERO).0, "geometry_msgs/msg/Twist");
    }
}
