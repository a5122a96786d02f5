//! Wrong tokens by address: counted, logged at a bounded rate, and answered with a wait when there are too many.
//! A valid token is always accepted, so a client cannot lock out others behind its address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Wrong tokens that an address may show at once.
const WRONG_TOKEN_ATTEMPTS: u32 = 10;
/// One more is allowed after this time.
const WRONG_TOKEN_REFILL_MS: u64 = 6_000;
/// Addresses that are remembered; the one whose last attempt is oldest goes first.
const ATTEMPT_ADDRESSES: usize = 1_024;
/// Interval between two log lines about wrong tokens.
const WRONG_TOKEN_LOG_MS: u64 = 1_000;

/// The wrong tokens that were shown.
#[derive(Debug, Default)]
pub struct Attempts {
    table: Mutex<Table>,
    wrong: AtomicU64,
    limited: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    /// The attempts of an address that count now, and when that was computed.
    addresses: HashMap<IpAddr, (f64, Duration)>,
    logged_at: Option<Duration>,
    unlogged: u64,
}

impl Attempts {
    /// Records a wrong token at `now` (monotonic); the time to wait if the address has shown too many.
    pub(super) fn record(&self, peer: IpAddr, now: Duration) -> Option<Duration> {
        self.wrong.fetch_add(1, Ordering::Relaxed);
        let address = network(peer);
        let mut table = self.table.lock();
        let wait = table.record(address, now);
        if wait.is_some() {
            self.limited.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(count) = table.log_due(now) {
            tracing::warn!(%address, count, limited = wait.is_some(), "wrong tokens were shown");
        }
        wait
    }

    /// Wrong tokens so far, and how many of them were beyond the limit.
    pub fn counts(&self) -> (u64, u64) {
        (self.wrong.load(Ordering::Relaxed), self.limited.load(Ordering::Relaxed))
    }
}

impl Table {
    fn record(&mut self, address: IpAddr, now: Duration) -> Option<Duration> {
        if self.addresses.len() >= ATTEMPT_ADDRESSES && !self.addresses.contains_key(&address) {
            let oldest = self.addresses.iter().min_by_key(|(_, (_, at))| *at).map(|(address, _)| *address);
            oldest.and_then(|oldest| self.addresses.remove(&oldest));
        }
        let refill = Duration::from_millis(WRONG_TOKEN_REFILL_MS);
        let (count, at) = self.addresses.entry(address).or_insert((0.0, now));
        let passed = now.saturating_sub(*at).as_secs_f64() / refill.as_secs_f64();
        // Attempts beyond the limit do not lengthen the wait.
        *count = ((*count - passed).max(0.0) + 1.0).min(f64::from(WRONG_TOKEN_ATTEMPTS) + 1.0);
        *at = now;
        let excess = *count - f64::from(WRONG_TOKEN_ATTEMPTS);
        (excess > 0.0).then(|| refill.mul_f64(excess).max(Duration::from_secs(1)))
    }

    /// The number of attempts that a log line at `now` covers, if one is due.
    fn log_due(&mut self, now: Duration) -> Option<u64> {
        self.unlogged += 1;
        let interval = Duration::from_millis(WRONG_TOKEN_LOG_MS);
        let is_due = self.logged_at.is_none_or(|at| now.saturating_sub(at) >= interval);
        is_due.then(|| {
            self.logged_at = Some(now);
            std::mem::take(&mut self.unlogged)
        })
    }
}

/// The address, or the network of an IPv6 address: a host may choose among 2^64 of those.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn an_address_may_err_and_has_to_wait_when_it_guesses() {
        let attempts = Attempts::default();
        let (guesser, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..WRONG_TOKEN_ATTEMPTS {
            assert_eq!(attempts.record(guesser, S), None);
        }
        for _ in 0..1_000 {
            assert!(attempts.record(guesser, S).is_some_and(|wait| wait <= 7 * S));
        }
        assert_eq!(attempts.record(other, S), None);
        assert_eq!(attempts.record(guesser, 20 * S), None, "after a while");
        assert_eq!(attempts.counts(), (1_012, 1_000));
    }

    #[test]
    fn a_network_is_one_address_and_the_table_is_bounded() {
        let attempts = Attempts::default();
        for n in 0..=WRONG_TOKEN_ATTEMPTS {
            let wait = attempts.record(format!("fd00::{n}").parse().unwrap(), S);
            assert_eq!(wait.is_some(), n == WRONG_TOKEN_ATTEMPTS, "{n}");
        }
        for n in 0..100_000_u32 {
            attempts.record(IpAddr::V4(n.into()), S);
        }
        assert!(attempts.table.lock().addresses.len() <= ATTEMPT_ADDRESSES);
    }

    #[test]
    fn log_lines_are_bounded_and_stand_for_all() {
        let mut table = Table::default();
        let lines: Vec<u64> =
            (0..6_500).filter_map(|n| table.log_due(S + Duration::from_millis(n))).collect();
        assert_eq!(lines, [1, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000]);
    }
}
