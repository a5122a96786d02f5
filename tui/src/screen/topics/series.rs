//! The values of one numeric field over time: what a plot shows. Bounded in time, points and work.

use std::collections::VecDeque;
use std::time::Duration;

use roverline_schema::Value;

/// How far back a series goes.
pub const SPAN: Duration = Duration::from_secs(600);
/// The time that one point covers; of more values the lowest, the highest and the last are kept.
pub const STEP: Duration = Duration::from_millis(100);
/// Most points of a series.
pub const MAX_POINTS: usize = (SPAN.as_millis() / STEP.as_millis()) as usize;
/// Values that come faster are left out: each costs a decoded message.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(20);
/// A longer pause between two points is a gap, if their usual distance is not longer.
const GAP: Duration = Duration::from_secs(3);

/// The values of a short time. All are NaN where the value was no finite number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When the last one was created.
    pub at: Duration,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
    /// The last.
    pub last: f64,
}

/// Why nothing is plotted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesFault {
    /// The newest message has no number there.
    #[error("the newest message has no number there")]
    NoNumber,
    /// The newest message was not decoded.
    #[error("the newest message cannot be decoded")]
    Undecoded,
    /// The newest message is too large to be decoded for each value.
    #[error("the messages are too large to be plotted")]
    TooLarge,
}

/// The series of a field.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its topic.
    pub topic: String,
    /// The type of the topic when the first point was taken.
    pub type_name: String,
    /// Path of the field.
    pub field: String,
    /// Why the newest message has no value.
    pub fault: Option<SeriesFault>,
    points: VecDeque<Point>,
    /// When the last message was decoded for it.
    decoded: Option<Duration>,
    /// When the current point began.
    began: Duration,
}

impl Series {
    /// An empty series.
    pub fn new(topic: &str, type_name: &str, field: &str) -> Series {
        Series {
            topic: topic.to_owned(),
            type_name: type_name.to_owned(),
            field: field.to_owned(),
            fault: None,
            points: VecDeque::new(),
            decoded: None,
            began: Duration::ZERO,
        }
    }

    /// Whether it is of this field.
    pub fn is_of(&self, topic: &str, field: &str) -> bool {
        self.topic == topic && self.field == field
    }

    /// Whether a message from `at` is worth decoding.
    pub fn is_due(&self, at: Duration) -> bool {
        self.decoded.is_none_or(|last| at.saturating_sub(last) >= SHORTEST_INTERVAL)
    }

    /// A topic whose type has changed begins anew: the old values meant something else.
    pub fn set_type(&mut self, type_name: &str) {
        if self.type_name != type_name {
            *self = Series::new(&self.topic, type_name, &self.field);
        }
    }

    /// Takes the field's value of a decoded message.
    pub fn take(&mut self, message: &Value, at: Duration) {
        self.decoded = Some(at);
        match number_at(message, &self.field) {
            Some(value) => {
                self.fault = None;
                self.push(value, at);
            }
            None => self.fail(SeriesFault::NoNumber, at),
        }
    }

    /// The message from `at` has no value.
    pub fn fail(&mut self, fault: SeriesFault, at: Duration) {
        self.decoded = Some(at);
        self.fault = Some(fault);
        self.push(f64::NAN, at);
    }

    fn push(&mut self, value: f64, at: Duration) {
        let value = if value.is_finite() { value } else { f64::NAN };
        if let Some(last) = self.points.back_mut() {
            if at < last.at {
                return;
            }
            // A gap is a point of its own.
            if at.saturating_sub(self.began) < STEP && last.last.is_nan() == value.is_nan() {
                *last = Point { at, low: last.low.min(value), high: last.high.max(value), last: value };
                return self.forget(at);
            }
        }
        self.began = at;
        if self.points.len() >= MAX_POINTS {
            self.points.pop_front();
        }
        self.points.push_back(Point { at, low: value, high: value, last: value });
        self.forget(at);
    }

    /// Removes what is older than the time shown.
    fn forget(&mut self, at: Duration) {
        while self.points.front().is_some_and(|first| at.saturating_sub(first.at) > SPAN) {
            self.points.pop_front();
        }
    }

    /// The newest point.
    pub fn newest(&self) -> Option<Point> {
        self.points.back().copied()
    }

    /// The newest point until a moment.
    pub fn point_at(&self, at: Duration) -> Option<Point> {
        let count = self.points.partition_point(|point| point.at <= at);
        self.points.get(count.checked_sub(1)?).copied()
    }

    /// The series as it was at a moment.
    #[must_use]
    pub fn until(&self, at: Duration) -> Series {
        let count = self.points.partition_point(|point| point.at <= at);
        Series { points: self.points.iter().take(count).copied().collect(), ..self.clone() }
    }

    /// The range of values of the time between two moments, in `columns` parts of equal length; `None` where there is
    /// none. A part without a point has the value before it, unless that is a gap.
    pub fn columns(&self, from: Duration, to: Duration, columns: usize) -> Vec<Option<(f64, f64)>> {
        let mut parts = vec![None; columns];
        let span = to.saturating_sub(from).as_secs_f64();
        if columns == 0 || span <= 0.0 {
            return parts;
        }
        let longest = self.longest_pause();
        let index = |at: Duration| {
            ((at.saturating_sub(from).as_secs_f64() / span * columns as f64) as usize).min(columns - 1)
        };
        let first = self.points.partition_point(|point| point.at < from);
        let mut before: Option<Point> = None;
        for point in self.points.iter().skip(first).take_while(|point| point.at <= to) {
            let here = index(point.at);
            if let Some(before) = before
                && point.at.saturating_sub(before.at) <= longest
            {
                let held = (!before.last.is_nan()).then_some((before.last, before.last));
                parts[index(before.at) + 1..here.max(index(before.at) + 1)].fill(held);
            }
            before = Some(*point);
            if !point.last.is_nan() {
                let (low, high) = parts[here].unwrap_or((point.low, point.high));
                parts[here] = Some((low.min(point.low), high.max(point.high)));
            }
        }
        parts
    }

    /// The longest pause that is not a gap: four times the usual distance of points, or [`GAP`].
    fn longest_pause(&self) -> Duration {
        let (Some(first), Some(last)) = (self.points.front(), self.points.back()) else { return GAP };
        let steps = u32::try_from(self.points.len().saturating_sub(1)).unwrap_or(u32::MAX).max(1);
        (last.at.saturating_sub(first.at) / steps).saturating_mul(4).max(GAP)
    }
}

/// The number at a path of a message.
pub fn number_at(message: &Value, path: &str) -> Option<f64> {
    // A message of JSON may be the number itself.
    if path.is_empty() { message.as_f64() } else { message.get(path)?.as_f64() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roverline_schema::Struct;

    use super::*;

    fn message(value: f64) -> Value {
        Value::Struct([("x", Value::F64(value))].into_iter().collect::<Struct>())
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn nan_and_infinities_are_gaps_and_the_extremes_of_a_step_are_kept() {
        let mut series = Series::new("/a", "T", "x");
        for (n, value) in [1.0, 5.0, -2.0, f64::NAN, f64::INFINITY, 3.0].into_iter().enumerate() {
            series.take(&message(value), ms(1_000 + 20 * n as u64));
        }
        assert_eq!(series.points.len(), 3);
        let first = series.point_at(ms(1_041)).unwrap();
        assert_eq!((first.low, first.high, first.last), (-2.0, 5.0, -2.0));
        assert!(series.point_at(ms(1_080)).unwrap().last.is_nan());
        assert_eq!(series.newest().unwrap().last, 3.0);
        assert_eq!(series.point_at(ms(999)), None);
    }

    #[test]
    fn another_type_begins_anew_and_a_missing_field_says_so() {
        let mut series = Series::new("/a", "T", "x");
        series.take(&message(1.0), ms(1));
        series.set_type("T");
        assert_eq!(series.points.len(), 1);
        series.set_type("U");
        assert_eq!((series.points.len(), series.type_name.as_str()), (0, "U"));
        series.take(&Value::Bool(true), ms(2));
        assert_eq!(series.fault, Some(SeriesFault::NoNumber));
        let mut whole = Series::new("/a", "T", "");
        whole.take(&Value::Bool(true), ms(2));
        assert_eq!(whole.newest().unwrap().last, 1.0);
    }

    #[test]
    fn a_pause_is_a_gap_and_a_slow_topic_is_not() {
        let mut series = Series::new("/a", "T", "x");
        for s in [0, 1, 2, 8, 9, 10] {
            series.take(&message(1.0), ms(s * 1_000));
        }
        let shown = |series: &Series| -> String {
            let parts = series.columns(ms(0), ms(10_000), 10);
            parts.iter().map(|part| if part.is_some() { '#' } else { '.' }).collect()
        };
        // The mean distance is two seconds: six are within four times as many.
        assert_eq!(shown(&series), "##########");
        let mut series = Series::new("/a", "T", "x");
        for s in (0..20).chain([80, 90, 100]) {
            series.take(&message(1.0), ms(s * 100));
        }
        assert_eq!(shown(&series), "##......##");
    }

    proptest! {
        #[test]
        fn points_are_bounded_in_number_and_time(steps in prop::collection::vec((0u64..40_000, any::<f64>()), 1..300)) {
            let mut series = Series::new("/a", "T", "x");
            let mut at = Duration::from_secs(1);
            for (wait, value) in steps {
                at += ms(wait);
                series.take(&message(value), at);
                prop_assert!(series.points.len() <= MAX_POINTS);
                let first = series.points.front().unwrap().at;
                prop_assert!(at - first <= SPAN);
            }
            let parts = series.columns(at.saturating_sub(SPAN), at, 97);
            prop_assert_eq!(parts.len(), 97);
            prop_assert!(parts.iter().flatten().all(|(low, high)| low.is_finite() && low <= high));
        }
    }
}
