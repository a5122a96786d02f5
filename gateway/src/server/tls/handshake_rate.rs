//! The rate of TLS handshakes per address: each costs half a millisecond of processor time or more, so the
//! rate of each address is limited.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::connection::client_address::ClientAddress;

/// Handshakes of one address per second, in the long run.
const HANDSHAKES_PER_S: f64 = 100.0;
/// Handshakes of one address at once: as many as come back from one address after an outage. A burst of 200 on two
/// processors made a request wait for 100 to 190 ms.
const HANDSHAKE_BURST: f64 = 64.0;
/// Addresses that are remembered. With more, those are forgotten that may begin a whole burst again.
const ADDRESSES: usize = 1_024;

/// The handshakes that each address may begin now.
#[derive(Debug, Default)]
pub(super) struct HandshakeRate(Mutex<HashMap<ClientAddress, Allowance>>);

/// A token bucket.
#[derive(Debug)]
struct Allowance {
    handshakes: f64,
    at: Duration,
}

impl Allowance {
    fn refill(&mut self, now: Duration) {
        let grown = now.saturating_sub(self.at).as_secs_f64() * HANDSHAKES_PER_S;
        (self.handshakes, self.at) = ((self.handshakes + grown).min(HANDSHAKE_BURST), now);
    }
}

impl HandshakeRate {
    /// Counts a handshake that begins at `now` (monotonic); returns whether the address may have it.
    pub(super) fn may_begin(&self, address: ClientAddress, now: Duration) -> bool {
        let mut addresses = self.0.lock();
        if addresses.len() >= ADDRESSES && !addresses.contains_key(&address) {
            addresses.retain(|_, allowance| {
                allowance.refill(now);
                allowance.handshakes < HANDSHAKE_BURST
            });
            if addresses.len() >= ADDRESSES {
                // With so many addresses, the queue gives each a small share.
                return true;
            }
        }
        let full = Allowance { handshakes: HANDSHAKE_BURST, at: now };
        let allowance = addresses.entry(address).or_insert(full);
        allowance.refill(now);
        let is_allowed = allowance.handshakes >= 1.0;
        allowance.handshakes -= f64::from(u8::from(is_allowed));
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> ClientAddress {
        ClientAddress::of(std::net::Ipv4Addr::from(n).into())
    }

    #[test]
    fn an_address_has_a_burst_and_a_rate_and_takes_nothing_from_others() {
        let (rate, at) = (HandshakeRate::default(), Duration::from_millis);
        let begun = |n, times, now| (0..times).filter(|_| rate.may_begin(address(n), at(now))).count();
        assert_eq!(begun(1, 1_000, 0), 64);
        assert_eq!(begun(2, 1, 0), 1);
        assert_eq!(begun(1, 1_000, 100), 10);
        assert_eq!(begun(1, 1_000, 60_000), 64);
    }

    #[test]
    fn few_addresses_are_remembered() {
        let (rate, at) = (HandshakeRate::default(), Duration::from_millis);
        for n in 0..10_000 {
            assert!(rate.may_begin(address(n), at(0)));
        }
        assert_eq!(rate.0.lock().len(), ADDRESSES);
        assert!(rate.may_begin(address(20_000), at(1_000)));
        assert_eq!(rate.0.lock().len(), 1, "the others may begin a burst again");
    }
}
