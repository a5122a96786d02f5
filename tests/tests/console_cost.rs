//! What the console costs: time to the first frame, processor time, memory, bytes for the terminal, and the time from a key to
//! its frame. `scripts/console-cost` builds a release and prints the table.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mcap::records::MessageHeader;
use roverline_tests::console::Console;
use roverline_tests::gateway::Gateway;
use roverline_tests::{temp, usage};

const TOPICS: usize = 1_000;
/// Of each topic, Hz.
const RATE_HZ: u64 = 10;
const S: u64 = 1_000_000_000;
const T0: u64 = 1_700_000_000 * S;
/// How long processor time is measured.
const WINDOW: Duration = Duration::from_secs(30);
/// How long a console runs before it is measured: until it has connected and drawn everything once.
const SETTLE: Duration = Duration::from_secs(5);
/// Keys that are pressed, and frames of a start.
const KEYS: usize = 200;
const STARTS: usize = 20;

/// A recording in which each topic has a message ten times a second, or none but the first ones.
fn recording(folder: &Path, topics: usize, seconds: u64) -> PathBuf {
    let path = folder.join(format!("{topics}-{seconds}.mcap"));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let mut writer = mcap::WriteOptions::new().create(&mut file).unwrap();
    let schema = writer.add_schema("std_msgs/msg/Float64", "ros2msg", b"float64 data\n").unwrap();
    let channel =
        |n: usize| writer.add_channel(schema, &format!("/load/topic_{n}"), "cdr", &BTreeMap::new()).unwrap();
    let channels: Vec<u16> = (0..topics).map(channel).collect();
    for n in 0..(seconds * RATE_HZ).max(1) {
        for (place, channel_id) in channels.iter().enumerate() {
            let log_time = T0 + n * S / RATE_HZ + place as u64 * S / RATE_HZ / topics as u64;
            let header = MessageHeader {
                channel_id: *channel_id,
                sequence: n as u32,
                log_time,
                publish_time: log_time,
            };
            let mut body = vec![0, 1, 0, 0];
            body.extend_from_slice(&(n as f64).to_le_bytes());
            writer.write_to_known_channel(&header, &body).unwrap();
        }
    }
    writer.finish().unwrap();
    drop(writer);
    file.flush().unwrap();
    path
}

fn percentile(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
}

fn until(console: &Console, what: &str, shown: impl Fn(&str) -> bool) -> Instant {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !shown(&console.screen()) {
        assert!(Instant::now() < deadline, "not shown: {what}\n{}", console.screen());
        sleep(Duration::from_micros(200));
    }
    Instant::now()
}

fn first_frames(urls: &[String]) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..STARTS)
        .map(|_| {
            let start = Instant::now();
            let console = Console::open(urls, 160, 50);
            until(&console, "a first frame", |screen| !screen.trim().is_empty()) - start
        })
        .collect();
    times.sort_unstable();
    times
}

/// From a key to the screen that shows its effect: the help is opened and closed.
fn keys_to_frames(console: &mut Console) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..KEYS)
        .map(|n| {
            let opens = n % 2 == 0;
            let start = Instant::now();
            console.type_keys(if opens { "?" } else { "\u{1b}" });
            let took =
                until(console, "the help", |screen| screen.contains("It is not a replacement") == opens)
                    - start;
            // Keys that follow each other faster than a person types are a paste.
            sleep(Duration::from_millis(120));
            took
        })
        .collect();
    times.sort_unstable();
    times
}

/// Share of a core, bytes a second for the terminal, and resident MiB.
struct Cost {
    core_percent: f64,
    bytes_per_s: f64,
    rss_mib: f64,
}

fn cost(console: &Console) -> Cost {
    sleep(SETTLE);
    let (cpu, bytes, start) = (usage::cpu_s(console.pid()).unwrap(), console.written_bytes(), Instant::now());
    sleep(WINDOW);
    let elapsed = start.elapsed().as_secs_f64();
    Cost {
        core_percent: (usage::cpu_s(console.pid()).unwrap() - cpu) / elapsed * 100.0,
        bytes_per_s: (console.written_bytes() - bytes) as f64 / elapsed,
        rss_mib: usage::rss_kib(console.pid()).unwrap() / 1024.0,
    }
}

fn print_cost(what: &str, limit_percent: f64, cost: &Cost) {
    println!(
        "{what:<46} {:>6.2} % of a core (limit {limit_percent} %), {:>7.0} B/s, {:>5.1} MiB",
        cost.core_percent, cost.bytes_per_s, cost.rss_mib
    );
}

fn print_times(what: &str, limit_ms: f64, times: &[Duration]) {
    let ms = |share| percentile(times, share).as_secs_f64() * 1e3;
    println!(
        "{what:<46} p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms (limit {limit_ms} ms)",
        ms(0.5),
        ms(0.99),
        ms(1.0)
    );
}

fn with_recording(args: &[&str], screen: Option<&str>) -> Cost {
    let gateway = Gateway::serve(args);
    let mut console = Console::open(&gateway.urls(), 160, 50);
    console.until_shows("primary");
    if let Some(key) = screen {
        console.type_keys(key);
    }
    cost(&console)
}

#[test]
#[ignore = "takes minutes, and measures a release build on a quiet computer"]
fn figures_of_the_console() {
    let scratch = temp::dir();
    let gateway = Gateway::up(&["--source", "sim"]);
    let first = first_frames(&gateway.urls());
    print_times("first frame, 160x50", 50.0, &first);
    let mut console = Console::open(&gateway.urls(), 160, 50);
    console.until_shows("▶◇◇◇ primary");
    let sim = cost(&console);
    print_cost("simulated rover, 160x50, Drive", 2.0, &sim);
    let keys = keys_to_frames(&mut console);
    print_times("key to frame, 160x50, simulated rover", 16.0, &keys);
    drop((console, gateway));

    let still = recording(scratch.path(), 4, 0);
    let idle = with_recording(&["--source", "bag", "--file", still.to_str().unwrap()], None);
    print_cost("idle: a recording that has ended", 0.2, &idle);
    let many = recording(scratch.path(), TOPICS, 60);
    let loaded = with_recording(&["--source", "bag", "--file", many.to_str().unwrap(), "--loop"], Some("5"));
    print_cost("1,000 topics at 10 Hz, 160x50, Topics", 10.0, &loaded);

    // Wide margins: the table is what counts, these only catch a mistake.
    assert!(percentile(&first, 0.5) < Duration::from_millis(100), "the first frame is late");
    assert!(percentile(&keys, 0.5) < Duration::from_millis(32), "keys are late");
    assert!(idle.core_percent < 1.0 && sim.core_percent < 6.0 && loaded.core_percent < 30.0, "too much work");
}
