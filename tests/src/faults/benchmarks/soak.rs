//! A soak test: random kills for a long time; memory must not grow, nothing must be lost.

use std::collections::BTreeMap;
use std::time::Instant;

use roverline_protocol::Tier;

use super::load::{Rover, random_seconds, random_tier};
use super::{BenchmarkReport, secs};
use crate::faults::measure::slope;
use crate::usage;
use crate::wait::observe_for;

/// Samples before this are warm-up and ignored; in a short run it is a quarter of the duration.
const WARM_S: f64 = 60.0;
/// Range of the time between two kills, in seconds.
const APART_S: (f64, f64) = (8.0, 25.0);

/// Command line options.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Duration in minutes
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Links
    #[arg(long, default_value_t = 16)]
    links: usize,
    /// Plain clients on the tertiary
    #[arg(long, default_value_t = 4)]
    plains: usize,
    /// Seed of the random kills
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Growth of all processes together that still counts as flat, KiB per hour
    #[arg(long, default_value_t = 2_048.0)]
    flat: f64,
}

/// Runs the test.
pub(super) fn run(options: &Options) -> Result<BenchmarkReport, String> {
    let rover = Rover::loopback(&["--source", "sim"]);
    let mut listening = rover.links(options.links, &["/odom@50", "/emergency_stop"]);
    listening.plain = vec![rover.url(Tier::Tertiary)];
    listening.plains = options.plains;
    let mut clients = rover.listen(&listening);
    let (start, mut rng) = (Instant::now(), fastrand::Rng::with_seed(options.seed));
    let now_s = || start.elapsed().as_secs_f64();
    let mut memory = BTreeMap::<String, Vec<(f64, f64)>>::new();
    let (mut lost, mut twice, mut refused, mut kills, mut longest_ms) = (0, 0, 0, 0u32, 0.0f64);
    let mut next_kill_s = 15.0;
    while now_s() < options.minutes * 60.0 {
        observe_for(secs(5.0), "the interval of the measurements");
        sample(&rover, clients.pid(), now_s(), &mut memory);
        if now_s() >= next_kill_s {
            let tier = random_tier(&mut rng);
            kills += u32::from(rover.kill(tier));
            next_kill_s = now_s() + random_seconds(&mut rng, APART_S.0, APART_S.1);
            observe_for(secs(2.0), "the failover is measured");
            let report = clients.report();
            lost += report.lost;
            twice += report.duplicated;
            refused += report.plain.refused;
            longest_ms = longest_ms.max(report.gap_ms);
            println!(
                "{:>6.0} s: {tier} killed, longest wait {:.0} ms, lost {}, twice {}, {} of {} links served",
                now_s(),
                report.gap_ms,
                report.lost,
                report.duplicated,
                report.served,
                options.links
            );
        }
    }
    let last = clients.report();
    let warm_s = WARM_S.min(options.minutes * 15.0);
    let mut result = BenchmarkReport::default();
    for (what, points) in &memory {
        let grown: Vec<(f64, f64)> =
            points.iter().filter(|(at, _)| *at >= warm_s).map(|(at, kib)| (at / 3_600.0, *kib)).collect();
        let newest = points.last().map_or(0.0, |(_, kib)| kib / 1024.0);
        let line = format!("{what}: slope over {} points (KiB/h), now {newest:.1} MiB", grown.len());
        if what == "all" {
            result.check(&line, slope(&grown), options.flat)
        } else {
            result.line(format!("{line}: {:.0}", slope(&grown)))
        }
    }
    result.line(format!("{kills} kills in {:.0} min, longest wait {longest_ms:.0} ms", options.minutes));
    result.check("lost", (lost + last.lost) as f64, 0.0);
    result.check("duplicated", (twice + last.duplicated) as f64, 0.0);
    result.check("refused", (refused + last.plain.refused) as f64, 0.0);
    Ok(result)
}

/// Samples memory. A killed endpoint starts small again, so the supervisor, the clients and the sum say more
/// than one endpoint's curve. A sum is recorded only if no endpoint is missing or still warming up.
fn sample(rover: &Rover, clients: u32, at: f64, memory: &mut BTreeMap<String, Vec<(f64, f64)>>) {
    let mut note = |what: &str, kib: f64| memory.entry(what.to_owned()).or_default().push((at, kib));
    let mut sum = 0.0;
    let mut whole = true;
    for tier in Tier::ALL {
        let pid = rover.pid(tier).filter(|pid| usage::age(*pid).is_some_and(|age| age > secs(4.0)));
        match pid.and_then(usage::rss_kib) {
            Some(kib) => {
                note(tier.name(), kib);
                sum += kib;
            }
            None => whole = false,
        }
    }
    if let Some(kib) = usage::rss_kib(rover.gateway.pid()) {
        note("supervisor", kib);
        sum += kib;
    }
    if let Some(kib) = usage::rss_kib(clients) {
        note("clients (not judged)", kib);
    }
    if whole {
        note("all", sum);
    }
}
