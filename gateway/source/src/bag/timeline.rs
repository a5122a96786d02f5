//! Where a recording is at any moment: a pure function of when its playing began, what was ordered
//! since, and the moment. Processes that know the same orders therefore play the same message under
//! the same number, at the same time, without talking.
//!
//! A pass is one way through the recording. Every jump begins another: one that somebody orders, and
//! the one from the end to the beginning. A sample's number is its ordinal in the file, plus the
//! whole recording's count for every pass before, so that numbers rise whichever way the jump goes.
//!
//! Moments are wall-clock nanoseconds, positions recorded ones after the recording's base.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Recorded time that passes between the last message of a pass and the first of the next. It
/// is a constant so that every process that plays the file computes the same length of a pass.
pub(super) const LOOP_GAP_NS: i64 = 100_000_000;

/// A jump is made at once by a player that is this late; before that it catches up first.
const HOPELESS_NS: i64 = 1_000_000_000;

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Course {
    /// The log time that a pass begins with.
    pub(super) base: i64,
    /// How long a pass is, without the gap; `None` while nobody knows.
    pub(super) length: Option<i64>,
    /// Begins again at its end.
    pub(super) looped: bool,
}

impl Course {
    fn cycle(&self) -> i64 {
        self.length.unwrap_or(0).max(0).saturating_add(LOOP_GAP_NS)
    }
}

/// What everybody has to do at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    /// When.
    pub(super) at: i64,
    /// Play, or stand still.
    pub(super) play: bool,
    /// Recorded seconds per second.
    pub(super) speed: f64,
    /// The log time to go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seek: Option<i64>,
    /// Whose request it was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) request: String,
}

/// A stretch that is played evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Leg {
    /// When it begins.
    pub(super) at: i64,
    /// In which pass.
    pub(super) pass: u64,
    /// Where in the pass.
    pub(super) offset: i64,
    /// Recorded seconds per second.
    pub(super) speed: f64,
    /// Moves at all.
    pub(super) playing: bool,
}

impl Leg {
    /// The first one.
    pub(super) fn first(at: i64, speed: f64) -> Leg {
        Leg { at, pass: 0, offset: 0, speed, playing: true }
    }

    /// The pass, and where in it: not past its end, unless the gap to another one follows.
    pub(super) fn place(&self, course: &Course, now: i64) -> (u64, i64) {
        if !self.playing || now <= self.at {
            return (self.pass, self.offset);
        }
        // Casts from floating point saturate.
        let moved = (now.saturating_sub(self.at) as f64 * self.speed) as i64;
        let offset = self.offset.saturating_add(moved);
        match course.length {
            Some(length) if !course.looped => (self.pass, offset.min(length.max(self.offset))),
            Some(_) => {
                let passes = offset / course.cycle();
                (self.pass.saturating_add(passes.unsigned_abs()), offset - passes * course.cycle())
            }
            None => (self.pass, offset),
        }
    }

    /// When a place is due; far off for what lies ahead of one that stands still.
    pub(super) fn due(&self, course: &Course, pass: u64, offset: i64) -> i64 {
        let passes = i128::from(pass) - i128::from(self.pass);
        let ahead = passes * i128::from(course.cycle()) + i128::from(offset) - i128::from(self.offset);
        match ahead {
            ahead if ahead < 0 => self.at,
            _ if !self.playing => i64::MAX,
            ahead => self.at.saturating_add((ahead as f64 / self.speed) as i64),
        }
    }

    /// The leg that follows from an order.
    fn then(&self, course: &Course, order: &Order) -> Leg {
        let at = order.at.max(self.at);
        let (pass, offset) = self.place(course, at);
        let leg = Leg { at, pass, offset, speed: order.speed, playing: order.play };
        match order.seek {
            Some(time) => {
                let last = course.length.unwrap_or(i64::MAX).max(0);
                Leg {
                    pass: pass.saturating_add(1),
                    offset: time.saturating_sub(course.base).clamp(0, last),
                    ..leg
                }
            }
            None => leg,
        }
    }
}

/// An order that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Done {
    /// It was a jump.
    pub(super) jumped: bool,
    /// Whose request it was.
    pub(super) request: String,
}

/// The present leg, and the orders that are still to come.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    pub(super) course: Course,
    pub(super) leg: Leg,
    coming: VecDeque<Order>,
}

impl Timeline {
    pub(super) fn new(course: Course, leg: Leg) -> Timeline {
        Timeline { course, leg, coming: VecDeque::new() }
    }

    /// One more order. They count in the order in which they are given, which is the same for all.
    pub(super) fn add(&mut self, order: Order) {
        self.coming.push_back(order);
    }

    /// When the next order is to be carried out.
    pub(super) fn next_at(&self) -> Option<i64> {
        self.coming.front().map(|order| order.at.max(self.leg.at))
    }

    /// Carries out the next order, if it is time at `now` and what is due at `due` does not come first.
    /// Of jumps that are all in the past only the last is made.
    pub(super) fn obey(&mut self, now: i64, due: i64) -> Option<Done> {
        let next = self.next_at().filter(|at| *at <= now)?;
        let late = now.saturating_sub(next) > HOPELESS_NS && self.coming.front()?.seek.is_some();
        if due < next && !late {
            return None;
        }
        let mut done = self.carry_out()?;
        while done.jumped && self.jump_is_past(now) {
            done.jumped = false;
            while !done.jumped {
                done = self.carry_out()?;
            }
        }
        Some(done)
    }

    /// Carries out everything up to `now`.
    pub(super) fn catch_up(&mut self, now: i64) {
        while self.next_at().is_some_and(|at| at <= now) && self.carry_out().is_some() {}
    }

    fn jump_is_past(&self, now: i64) -> bool {
        let mut past = self.coming.iter().take_while(|order| order.at <= now);
        past.any(|order| order.seek.is_some())
    }

    fn carry_out(&mut self) -> Option<Done> {
        let order = self.coming.pop_front()?;
        self.leg = self.leg.then(&self.course, &order);
        Some(Done { jumped: order.seek.is_some(), request: order.request })
    }

    /// The pass at `now`, and where in it.
    pub(super) fn place(&self, now: i64) -> (u64, i64) {
        self.leg.place(&self.course, now)
    }

    /// When a message of this pass is due.
    pub(super) fn due(&self, pass: u64, log_time: i64) -> i64 {
        self.leg.due(&self.course, pass, log_time.saturating_sub(self.course.base))
    }

    /// Whether this place is the end of all.
    pub(super) fn is_end(&self, offset: i64) -> bool {
        !self.course.looped && self.course.length.is_some_and(|length| offset >= length)
    }
}
