//! The effect of an act on other clients, and its limits.

use crate::hostile::well_behaved::Measurements;

/// The columns of the table.
pub(super) const HEAD: [&str; 12] = [
    "act",
    "acts/s",
    "native ms",
    "plain ms",
    "lock ms",
    "stop ms",
    "disk ms",
    "lost",
    "refused",
    "RSS MiB",
    "restarts",
    "verdict",
];

/// The longest that one stop in a hundred may take, milliseconds.
const STOP_P99_MS: f64 = 50.0;
/// How often one stop may wait for a stall of the disk: for its latch, and for the folder.
const DISK_WAITS: f64 = 2.0;
/// The p99 of a well-behaved client may double; below this much more it is noise, milliseconds.
const NOISE_MS: f64 = 20.0;
/// Memory is back within a fifth. Below this much more, MiB, it is noise and what an endpoint keeps once it has been
/// used: a fresh one has about 20 MiB, and 26 once it has read pages of 500 events, whatever the allocator's settings are.
const NOISE_MIB: u64 = 10;

/// Whether memory that was `before` is given back with `after`.
pub(super) fn is_released(before: u64, after: u64) -> bool {
    after <= (before + before / 5).max(before + NOISE_MIB)
}

/// The effect of an act on other clients.
#[derive(Debug)]
pub struct Outcome {
    pub(super) act: &'static str,
    pub(super) measured: Measurements,
    /// Of the primary: before, at the end of the act, and once it may have been given back.
    pub(super) rss_mib: [u64; 3],
    /// Endpoints whose process was replaced.
    pub(super) restarts: usize,
    /// Whether another endpoint was promoted because it took one for down.
    pub(super) promoted: bool,
    /// The attackers' requests, messages and connections per second.
    pub(super) rate: f64,
    /// The longest write to the disk meanwhile, milliseconds.
    pub(super) disk_ms: f64,
    /// Whether the attackers' own writes may have held the disk.
    pub(super) writes: bool,
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    let index = (sorted.len() as f64 * part) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

impl Outcome {
    /// Failures that a busy machine does not explain.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let measured = &self.measured;
        if self.restarts > 0 {
            failures.push(format!("{} endpoints were restarted", self.restarts));
        }
        if self.promoted {
            failures.push("an endpoint was believed to be down".to_owned());
        }
        if measured.lost > 0 || measured.ended > 0 {
            failures.push(format!("{} samples lost, {} clients ended", measured.lost, measured.ended));
        }
        if let Some(first) = measured.refused.first() {
            let count = measured.refused.len();
            failures.push(format!("{count} requests of the operator refused, the first: {first}"));
        }
        failures
    }

    /// Values that exceed the limits, relative to the measurements without an attack.
    pub(super) fn excesses(&self, baseline: &Measurements) -> Vec<String> {
        let mut excesses = Vec::new();
        let measured = &self.measured;
        let clients =
            [("native", &measured.native, &baseline.native), ("plain", &measured.plain, &baseline.plain)];
        for (name, values, baseline) in clients {
            let (now, then) = (quantile(values, 0.99), quantile(baseline, 0.99));
            let most = (2.0 * then).max(then + NOISE_MS);
            // A client that received nothing has no p99, which is no better.
            if now.is_nan() || now > most {
                excesses.push(format!("{name} client: p99 {now:.0} ms, at most {most:.0}"));
            }
        }
        let stop = quantile(&measured.stop, 0.99);
        // A stop is written to the disk before it is answered, and waits for what holds the disk.
        let disk = if self.writes { 0.0 } else { DISK_WAITS * self.disk_ms };
        if stop.is_nan() || stop - disk > STOP_P99_MS {
            let beyond = if disk > 0.0 { format!(" beyond the disk's {disk:.0}") } else { String::new() };
            excesses.push(format!("stop: p99 {stop:.0} ms, at most {STOP_P99_MS:.0}{beyond}"));
        }
        let [before, _, after] = self.rss_mib;
        if !is_released(before, after) {
            excesses.push(format!("memory: {before} MiB before, {after} after"));
        }
        excesses
    }

    /// Its row in the table.
    pub(super) fn row(&self, baseline: &Measurements) -> Vec<String> {
        let three = |values: &[f64]| {
            let at = |part: f64| quantile(values, part);
            format!("{:.0}/{:.0}/{:.0}", at(0.5), at(0.99), at(1.0))
        };
        let measured = &self.measured;
        let mut row = vec![self.act.to_owned(), format!("{:.0}", self.rate)];
        row.extend([&measured.native, &measured.plain, &measured.lock, &measured.stop].map(|all| three(all)));
        row.push(format!("{:.0}", self.disk_ms));
        row.extend([measured.lost, measured.refused.len() as u64].map(|count| count.to_string()));
        row.push(self.rss_mib.map(|mib| mib.to_string()).join("/"));
        row.push(self.restarts.to_string());
        let passed = self.failures().is_empty() && self.excesses(baseline).is_empty();
        row.push(if passed { "passed" } else { "failed" }.to_owned());
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(native: f64, stop: f64, after: u64) -> Outcome {
        let measured = Measurements {
            native: vec![native],
            plain: vec![200.0],
            stop: vec![stop],
            ..Measurements::default()
        };
        let rss_mib = [20, 300, after];
        Outcome {
            act: "x",
            measured,
            rss_mib,
            restarts: 0,
            promoted: false,
            rate: 0.0,
            disk_ms: 0.0,
            writes: false,
        }
    }

    #[test]
    fn an_act_is_compared_with_the_baseline() {
        let baseline = outcome(20.0, 5.0, 20).measured;
        let judge = |outcome: &Outcome| outcome.excesses(&baseline);
        assert!(judge(&outcome(40.0, 50.0, 30)).is_empty());
        assert!(judge(&outcome(41.0, 5.0, 20))[0].contains("native client: p99 41 ms, at most 40"));
        assert!(judge(&outcome(20.0, 51.0, 20))[0].contains("stop"));
        let held = |writes| Outcome { disk_ms: 100.0, writes, ..outcome(20.0, 250.0, 20) };
        assert!(judge(&held(false)).is_empty(), "the disk held it");
        assert!(judge(&held(true))[0].contains("stop"), "the attackers held the disk");
        assert!(judge(&outcome(20.0, 5.0, 31))[0].contains("31 after"));
        assert!(is_released(100, 120) && !is_released(100, 121));
        let silent = Outcome { measured: Measurements::default(), ..outcome(1.0, 1.0, 20) };
        assert_eq!(judge(&silent).len(), 3);
        let bad = Outcome { restarts: 1, promoted: true, ..outcome(1.0, 1.0, 20) };
        assert_eq!(bad.failures().len(), 2);
    }
}
