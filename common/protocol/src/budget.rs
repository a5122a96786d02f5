//! Bandwidth budget: how many bytes per second a session, or all sessions of an endpoint, may use.
//! Urgent frames may overdraw it a little; the others wait for tokens.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Priority;

/// The longest a frame may occupy a budgeted link; larger ones are shed.
const BUDGET_FRAME_MS: u64 = 200;
/// Per-frame overhead in bytes: TCP and IP headers with options, at one packet per frame.
const BUDGET_FRAME_OVERHEAD_BYTES: usize = 60;
/// Burst size of a budgeted link after silence.
const BUDGET_BURST_MS: u64 = 100;
/// How far urgent frames (state, mission, safety) may overdraw a budget.
const BUDGET_OVERDRAFT_MS: u64 = 100;
/// How far emergency stops, heartbeats and responses may overdraw a budget.
const BUDGET_EMERGENCY_MS: u64 = 500;
/// Shortest sleep of a session that waits for its share of an endpoint's budget.
const BUDGET_MIN_SLEEP_MS: u64 = 5;
/// Smallest link budget.
const BUDGET_MIN_BYTES_PER_S: u64 = 1_000;

/// Bytes per second, written as `250kbit`, `1Mbit`, `30kB` or a plain number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ByteRate(u64);

impl ByteRate {
    /// A rate of at least 1,000 bytes per second.
    pub const fn new(bytes_per_s: u64) -> ByteRate {
        let least = BUDGET_MIN_BYTES_PER_S;
        ByteRate(if bytes_per_s < least { least } else { bytes_per_s })
    }

    /// Bytes per second.
    pub const fn bytes_per_s(self) -> u64 {
        self.0
    }

    /// The largest frame that does not occupy the link for too long.
    pub const fn frame_bytes(self) -> usize {
        (self.0.saturating_mul(BUDGET_FRAME_MS) / 1_000) as usize
    }
}

/// A text that is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a rate: write 250kbit, 2Mbit, 30kB or bytes per second, {least} or more", least = BUDGET_MIN_BYTES_PER_S)]
pub struct InvalidByteRate(String);

impl FromStr for ByteRate {
    type Err = InvalidByteRate;
    fn from_str(text: &str) -> Result<Self, InvalidByteRate> {
        let refuse = || InvalidByteRate(text.chars().take(32).collect());
        let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let factor = match text[end..].trim_end_matches("/s").trim_end_matches("ps") {
            "" | "B" => 1.0,
            "kB" => 1e3,
            "MB" => 1e6,
            "bit" => 0.125,
            "kbit" => 125.0,
            "Mbit" => 125e3,
            _ => return Err(refuse()),
        };
        let number: f64 = text[..end].trim().parse().map_err(|_| refuse())?;
        let rate = number * factor;
        if rate >= BUDGET_MIN_BYTES_PER_S as f64 && rate <= 1e12 {
            Ok(ByteRate(rate as u64))
        } else {
            Err(refuse())
        }
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes/s", self.0)
    }
}

impl<'de> Deserialize<'de> for ByteRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How far a frame may overdraw the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Emergency stop, heartbeats and responses.
    Vital,
    /// Safety, state, mission.
    Urgent,
    /// Waits until there are enough tokens.
    Deferrable,
}

impl Urgency {
    /// The urgency of samples with this priority.
    pub fn of(priority: Priority) -> Urgency {
        match priority {
            Priority::Emergency => Urgency::Vital,
            Priority::Safety | Priority::State | Priority::Mission => Urgency::Urgent,
            Priority::Vital | Priority::Sensors => Urgency::Deferrable,
        }
    }
}

/// Cost of a frame of this length on the link, headers included.
pub const fn cost(frame_bytes: usize) -> usize {
    frame_bytes + BUDGET_FRAME_OVERHEAD_BYTES
}

/// A token bucket: tokens are bytes, and urgent frames may take the balance below zero.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: f64,
    balance: f64,
    at: Duration,
}

impl TokenBucket {
    /// A bucket that is full at `now` (monotonic).
    pub fn new(rate: ByteRate, now: Duration) -> TokenBucket {
        let rate = rate.bytes_per_s() as f64;
        TokenBucket { rate, balance: rate * seconds(BUDGET_BURST_MS), at: now }
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.balance = (self.balance + self.rate * passed).min(self.rate * seconds(BUDGET_BURST_MS));
    }

    /// How long a frame of this cost must wait; zero if it may be sent now.
    pub fn wait(&mut self, cost: usize, urgency: Urgency, now: Duration) -> Duration {
        self.refill(now);
        let needed = match urgency {
            Urgency::Vital => -self.rate * seconds(BUDGET_EMERGENCY_MS),
            Urgency::Urgent => -self.rate * seconds(BUDGET_OVERDRAFT_MS),
            // A frame that costs more than the bucket holds is sent when the bucket is full.
            Urgency::Deferrable => (cost as f64).min(self.rate * seconds(BUDGET_BURST_MS)),
        };
        // Tolerance of a tenth of a byte, as floats do not add up exactly.
        if self.balance + 0.1 >= needed {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((needed - self.balance) / self.rate)
    }

    /// Deducts the cost of a frame.
    pub fn spend(&mut self, cost: usize) {
        self.balance -= cost as f64;
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

/// One bucket shared by many sessions without starvation: the session that has used least goes
/// first (start-time fair queueing), and unused capacity is available to the others.
#[derive(Clone, Debug)]
pub struct FairBucket {
    bucket: TokenBucket,
    quantum: f64,
    members: BTreeMap<u64, Member>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Member {
    had: f64,
    waits_since: Option<Duration>,
}

/// A waiting session that has not asked again for this long is no longer considered waiting.
const GONE: Duration = Duration::from_millis(200);

impl FairBucket {
    /// A bucket that is full at `now` (monotonic).
    pub fn new(rate: ByteRate, now: Duration) -> FairBucket {
        // At least one full packet, so that the quantum is not finer than the wire.
        let quantum = (rate.bytes_per_s() as f64 / 100.0).max(1_500.0);
        FairBucket { bucket: TokenBucket::new(rate, now), quantum, members: BTreeMap::new() }
    }

    /// How long this session's frame must wait; zero if it may be sent now.
    pub fn wait(&mut self, member: u64, cost: usize, urgency: Urgency, now: Duration) -> Duration {
        let tokens = self.bucket.wait(cost, urgency, now);
        let waiting = |m: &Member| m.waits_since.is_some_and(|at| now.saturating_sub(at) < GONE);
        let least = self.members.iter().filter(|(id, m)| **id != member && waiting(m)).map(|(_, m)| m.had);
        let least = least.fold(f64::INFINITY, f64::min);
        let me = self.members.entry(member).or_default();
        if !waiting(me) && least.is_finite() {
            // Idle time earns no credit.
            me.had = me.had.max(least);
        }
        let mine = urgency == Urgency::Vital || me.had <= least + self.quantum;
        if tokens.is_zero() && mine {
            return Duration::ZERO;
        }
        me.waits_since = Some(now);
        tokens.max(Duration::from_millis(BUDGET_MIN_SLEEP_MS))
    }

    /// Deducts the cost of this session's frame.
    pub fn spend(&mut self, member: u64, cost: usize) {
        self.bucket.spend(cost);
        self.members.entry(member).or_default().had += cost as f64;
    }

    /// Records that this session has nothing to send.
    pub fn idle(&mut self, member: u64) {
        if let Some(member) = self.members.get_mut(&member) {
            member.waits_since = None;
        }
    }

    /// Removes this session.
    pub fn leave(&mut self, member: u64) {
        self.members.remove(&member);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn rates_are_parsed() {
        let rate = |text: &str| text.parse::<ByteRate>().map(ByteRate::bytes_per_s);
        assert_eq!(rate("250kbit"), Ok(31_250));
        assert_eq!(rate("2Mbit/s"), Ok(250_000));
        assert_eq!(rate("30kB"), Ok(30_000));
        assert_eq!(rate("1.5 MB"), Ok(1_500_000));
        assert_eq!(rate("5000"), Ok(5_000));
        for wrong in ["", "fast", "-1", "NaN", "10", "5k", "1kbit", "inf"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert_eq!(serde_json::from_str::<ByteRate>("31250").unwrap(), "250kbit".parse().unwrap());
        assert!(serde_json::from_str::<ByteRate>("3").is_err());
    }

    #[test]
    fn urgent_frames_overdraw_a_little_and_the_others_wait() {
        let mut bucket = TokenBucket::new(ByteRate::new(10_000), ms(0));
        bucket.spend(1_000);
        assert_eq!(bucket.wait(100, Urgency::Deferrable, ms(0)), ms(10));
        assert_eq!(bucket.wait(100, Urgency::Urgent, ms(0)), ms(0));
        bucket.spend(1_100);
        assert_eq!(bucket.wait(100, Urgency::Urgent, ms(0)), ms(10));
        assert_eq!(bucket.wait(100, Urgency::Vital, ms(0)), ms(0));
        // A frame that costs more than the bucket holds is sent when it is full.
        assert_eq!(bucket.wait(5_000, Urgency::Deferrable, ms(300)), ms(0));
    }

    fn serve(bucket: &mut FairBucket, wants: &[(u64, usize)], until_ms: u64) -> BTreeMap<u64, usize> {
        let (mut next, mut had) = (BTreeMap::new(), BTreeMap::new());
        for now in 0..until_ms {
            for &(id, cost) in wants {
                while next.get(&id).is_none_or(|at| *at <= ms(now)) {
                    let wait = bucket.wait(id, cost, Urgency::Deferrable, ms(now));
                    if !wait.is_zero() {
                        next.insert(id, ms(now) + wait);
                        break;
                    }
                    bucket.spend(id, cost);
                    *had.entry(id).or_default() += cost;
                }
            }
        }
        had
    }

    #[test]
    fn greedy_sessions_do_not_starve_modest_ones() {
        let mut bucket = FairBucket::new(ByteRate::new(100_000), ms(0));
        let had = serve(&mut bucket, &[(1, 3_000), (2, 200), (3, 1_000)], 10_000);
        let total: usize = had.values().sum();
        assert!((900_000..=1_015_000).contains(&total), "{had:?}");
        assert!(had.values().all(|share| (280_000..=390_000).contains(share)), "{had:?}");
        // A lone session gets the whole budget.
        let mut bucket = FairBucket::new(ByteRate::new(100_000), ms(0));
        bucket.spend(9, 50);
        assert!(serve(&mut bucket, &[(1, 500)], 10_000)[&1] > 950_000);
    }

    proptest! {
        #[test]
        fn a_bucket_never_gives_more_than_its_rate(frames in prop::collection::vec((1usize..2_000, 0u64..300, 0usize..3), 1..200)) {
            let rate = ByteRate::new(20_000);
            let mut bucket = TokenBucket::new(rate, ms(0));
            let (mut now, mut given) = (ms(0), 0);
            for (size, later, urgency) in frames {
                now += ms(later);
                let urgency = [Urgency::Vital, Urgency::Urgent, Urgency::Deferrable][urgency];
                now += bucket.wait(size, urgency, now);
                bucket.spend(size);
                given += size;
                let allowed = 20_000.0 * (now.as_secs_f64() + 0.1 + 0.5) + 2_000.0;
                prop_assert!(given as f64 <= allowed, "{given} in {now:?}");
            }
        }
    }
}
