//! The meter of one client's link: round-trip time, jitter and loss by WebSocket pings, and throughput. Any client
//! answers pings (RFC 6455, section 5.5.3), whatever its dialect.

use std::collections::VecDeque;
use std::time::Duration;

/// Pings that may wait for their answers at a time; the oldest gives way.
const WAITING_PINGS: usize = 16;
/// A ping without an answer for this long is lost, as in the client library.
const LOST_MS: u64 = 10_000;
/// The loss is that of as many pings.
const LOSS_PINGS: usize = 32;
/// Round trips kept until they are counted, several times a second.
const UNCOUNTED_ROUND_TRIPS: usize = 8;

/// One link, since its session began. Times are monotonic.
#[derive(Debug, Default)]
pub(crate) struct LinkMeter {
    last_number: u32,
    waiting: VecDeque<(u32, Duration)>,
    /// Of the last pings, whether each was answered; newest last.
    answered: VecDeque<bool>,
    rtt: Option<Duration>,
    jitter: Duration,
    received: (u64, u64),
    uncounted: LinkCounts,
    rate: Throughput,
}

/// What happened on a link since it was last counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkCounts {
    /// Round trips.
    pub(crate) round_trips: Vec<Duration>,
    /// Pings that were answered or are lost.
    pub(crate) pings: u64,
    /// Those that are lost.
    pub(crate) lost: u64,
    /// Messages received.
    pub(crate) received: u64,
    /// Their bytes.
    pub(crate) received_bytes: u64,
}

/// A link now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LinkStatus {
    /// Smoothed round-trip time and its mean deviation (RFC 6298, section 2); `None` before the first answer.
    pub(crate) round_trip: Option<(Duration, Duration)>,
    /// Share of recent pings that are lost; `None` before the first is answered or lost.
    pub(crate) loss: Option<f64>,
    /// Bytes sent to the client per second.
    pub(crate) sent_bytes_per_s: f64,
    /// Bytes received from the client per second.
    pub(crate) received_bytes_per_s: f64,
}

#[derive(Debug, Default)]
struct Throughput {
    at: Option<Duration>,
    totals: (u64, u64),
    per_s: (f64, f64),
}

impl LinkMeter {
    /// The number of a ping that is sent now.
    pub(crate) fn ping_sent(&mut self, now: Duration) -> u32 {
        self.last_number = self.last_number.wrapping_add(1);
        if self.waiting.len() == WAITING_PINGS {
            self.waiting.pop_front();
        }
        self.waiting.push_back((self.last_number, now));
        self.last_number
    }

    /// A pong arrived. One that answers no ping of ours says nothing about the link. A client may answer only the newest
    /// of several pings, so those before it are neither answered nor lost.
    pub(crate) fn pong(&mut self, payload: &[u8], now: Duration) {
        let Ok(number) = payload.try_into().map(u32::from_be_bytes) else { return };
        let Some(at) = self.waiting.iter().position(|(sent, _)| *sent == number) else { return };
        let sent = self.waiting[at].1;
        self.waiting.drain(..=at);
        self.note_answer(true);
        let round_trip = now.saturating_sub(sent);
        (self.rtt, self.jitter) = match self.rtt {
            None => (Some(round_trip), round_trip / 2),
            Some(rtt) => {
                let jitter = self.jitter * 3 / 4 + rtt.abs_diff(round_trip) / 4;
                (Some(rtt * 7 / 8 + round_trip / 8), jitter)
            }
        };
        if self.uncounted.round_trips.len() < UNCOUNTED_ROUND_TRIPS {
            self.uncounted.round_trips.push(round_trip);
        }
    }

    fn note_answer(&mut self, answered: bool) {
        if self.answered.len() == LOSS_PINGS {
            self.answered.pop_front();
        }
        self.answered.push_back(answered);
        self.uncounted.pings += 1;
        self.uncounted.lost += u64::from(!answered);
    }

    /// A message arrived.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.received.0 += 1;
        self.received.1 += bytes as u64;
        self.uncounted.received += 1;
        self.uncounted.received_bytes += bytes as u64;
    }

    /// Forgets lost pings and measures the throughput since the last call; once a second. `sent_bytes` is the total.
    pub(crate) fn measure(&mut self, sent_bytes: u64, now: Duration) {
        while let Some((_, sent)) = self.waiting.front()
            && now.saturating_sub(*sent) >= Duration::from_millis(LOST_MS)
        {
            self.waiting.pop_front();
            self.note_answer(false);
        }
        let totals = (sent_bytes, self.received.1);
        let before = std::mem::replace(&mut self.rate.totals, totals);
        if let Some(at) = self.rate.at.replace(now) {
            let seconds = now.saturating_sub(at).as_secs_f64().max(0.1);
            let per_s = |total: u64, before: u64| total.saturating_sub(before) as f64 / seconds;
            self.rate.per_s = (per_s(totals.0, before.0), per_s(totals.1, before.1));
        }
    }

    /// What happened since the last call.
    pub(crate) fn take_counts(&mut self) -> LinkCounts {
        std::mem::take(&mut self.uncounted)
    }

    /// The link now.
    pub(crate) fn status(&self) -> LinkStatus {
        let lost = self.answered.iter().filter(|answered| !**answered).count();
        LinkStatus {
            round_trip: self.rtt.map(|rtt| (rtt, self.jitter)),
            loss: (!self.answered.is_empty()).then(|| lost as f64 / self.answered.len() as f64),
            sent_bytes_per_s: self.rate.per_s.0,
            received_bytes_per_s: self.rate.per_s.1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Sends a ping at `at` that is answered `after` that time.
    fn ping(meter: &mut LinkMeter, at: u64, after: u64) {
        let number = meter.ping_sent(ms(at));
        meter.pong(&number.to_be_bytes(), ms(at + after));
    }

    #[test]
    fn round_trips_are_smoothed_and_counted_once() {
        let mut meter = LinkMeter::default();
        assert_eq!(meter.status(), LinkStatus::default());
        (0..40).for_each(|n| ping(&mut meter, n * 1_000, if n % 2 == 0 { 30 } else { 50 }));
        let LinkStatus { round_trip, loss, .. } = meter.status();
        let (rtt, jitter) = round_trip.unwrap();
        assert!((ms(37)..ms(43)).contains(&rtt) && (ms(8)..ms(12)).contains(&jitter), "{rtt:?} {jitter:?}");
        assert_eq!(loss, Some(0.0));
        let counts = meter.take_counts();
        assert_eq!((counts.pings, counts.lost, counts.round_trips.len()), (40, 0, UNCOUNTED_ROUND_TRIPS));
        assert_eq!(meter.take_counts(), LinkCounts::default());
    }

    #[test]
    fn pings_without_answers_are_lost_and_those_before_an_answer_are_not() {
        let mut meter = LinkMeter::default();
        let skipped = meter.ping_sent(ms(0));
        ping(&mut meter, 1_000, 20);
        meter.pong(&skipped.to_be_bytes(), ms(1_100));
        meter.ping_sent(ms(2_000));
        meter.measure(0, ms(2_000 + LOST_MS - 1));
        assert_eq!(meter.status().loss, Some(0.0));
        meter.measure(0, ms(2_000 + LOST_MS));
        assert_eq!((meter.status().loss, meter.take_counts().lost), (Some(0.5), 1));
    }

    #[test]
    fn what_a_client_invents_changes_nothing_and_nothing_grows() {
        let mut meter = LinkMeter::default();
        for payload in [&b""[..], b"x", b"\0\0\0\x09", &[7; 125]] {
            meter.pong(payload, ms(5));
        }
        assert_eq!((meter.status(), meter.take_counts()), Default::default());
        (0..1_000).for_each(|n| _ = meter.ping_sent(ms(n)));
        assert_eq!(meter.waiting.len(), WAITING_PINGS);
        // A clock that stands still or goes back.
        ping(&mut meter, 5_000, 0);
        meter.measure(100, ms(9_000));
        meter.measure(50, ms(8_000));
        let LinkStatus { sent_bytes_per_s, received_bytes_per_s, .. } = meter.status();
        assert!(sent_bytes_per_s >= 0.0 && received_bytes_per_s >= 0.0);
    }

    #[test]
    fn throughput_is_that_of_the_last_interval() {
        let mut meter = LinkMeter::default();
        meter.measure(1_000, ms(0));
        (0..4).for_each(|_| meter.received(250));
        meter.measure(21_000, ms(2_000));
        let LinkStatus { sent_bytes_per_s, received_bytes_per_s, .. } = meter.status();
        assert_eq!((sent_bytes_per_s, received_bytes_per_s), (10_000.0, 500.0));
    }
}
