//! Which traced samples this client reports, and when they arrived.

use std::time::Duration;

use roverline_protocol::SampleId;
use roverline_protocol::trace::SampleTimes;
use tokio::time::Instant;

use crate::offset::ClockOffset;
use crate::trace::random;

/// Least time between two samples that are reported; the greatest is twice as long.
const REPORT_INTERVAL_MS: u64 = 200;

/// When a traced sample arrived, and by which connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleReceipt {
    pub(crate) connection: u64,
    id: SampleId,
    received: Instant,
    received_ns: i64,
    clock_error_ns: u64,
}

impl SampleReceipt {
    /// A sample that arrives now, at `now_ns` by our wall clock; `None` until the endpoint's clock is known.
    pub(crate) fn new(
        connection: u64,
        id: SampleId,
        now_ns: i64,
        clock: &ClockOffset,
    ) -> Option<SampleReceipt> {
        let offset_ns = (clock.seconds()? * 1e9) as i64;
        let clock_error_ns = (clock.error_seconds()? * 1e9) as u64;
        let received_ns = now_ns.saturating_add(offset_ns);
        Some(SampleReceipt { connection, id, received: Instant::now(), received_ns, clock_error_ns })
    }

    /// Time since the sample arrived.
    pub fn elapsed(&self) -> Duration {
        self.received.elapsed()
    }

    /// The report; both times are counted from the arrival.
    pub(crate) fn times(&self, decoded: Option<Duration>, drawn: Option<Duration>) -> SampleTimes {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let since_decoded = drawn.map(|drawn| drawn.saturating_sub(decoded.unwrap_or_default()));
        SampleTimes {
            source: self.id.source,
            seq: self.id.seq,
            received_ns: self.received_ns,
            clock_error_ns: Some(self.clock_error_ns),
            decoded_ns: decoded.map(ns),
            drawn_ns: since_decoded.map(ns),
        }
    }
}

/// Chooses the traced samples that are reported: a few a second, whatever their number.
#[derive(Debug, Default)]
pub(crate) struct ReportPacing {
    next: Duration,
}

impl ReportPacing {
    /// Admits a sample that arrives at `now`, a few a second. The interval varies, so that no topic whose samples come in
    /// step with others is always left out.
    pub(crate) fn admits(&mut self, now: Duration) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + Duration::from_millis(REPORT_INTERVAL_MS + random() % REPORT_INTERVAL_MS);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_receipt_is_in_the_endpoints_time() {
        let mut clock = ClockOffset::default();
        assert_eq!(SampleReceipt::new(1, SampleId::default(), 5, &clock), None);
        // The endpoint is an hour ahead; the round trip takes 20 ms.
        let hour_ns = 3_600_000_000_000;
        clock.record(0, hour_ns + 10_000_000, hour_ns + 10_000_000, 20 * MS);
        let receipt = SampleReceipt::new(1, SampleId::default(), 1_000, &clock).unwrap();
        let times = receipt.times(Some(2 * MS), Some(7 * MS));
        assert_eq!((times.received_ns, times.clock_error_ns), (hour_ns + 1_000, Some(10_000_000)));
        assert_eq!((times.decoded_ns, times.drawn_ns), (Some(2_000_000), Some(5_000_000)));
        assert_eq!(receipt.times(None, None).drawn_ns, None);
    }

    #[test]
    fn few_samples_are_reported_and_no_topic_is_left_out() {
        let (mut pacing, mut reported) = (ReportPacing::default(), [0; 40]);
        // Forty topics, once a second each, in step.
        for ms in 0..400_000_u64 {
            if ms % 25 == 0 && pacing.admits(Duration::from_millis(ms)) {
                reported[(ms / 25 % 40) as usize] += 1;
            }
        }
        let total: usize = reported.iter().sum();
        assert!((900..=2_000).contains(&total), "{total}");
        assert!(reported.iter().all(|count| *count > 0), "{reported:?}");
    }
}
