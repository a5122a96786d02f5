//! The source on its own thread and on real clocks. What is timed here is timed generously.

use std::time::{Duration, Instant};

use crate::sim::tests::*;

fn run(options: SimOptions, until: impl Fn(&Heard) -> bool) -> (Arc<Recorder>, Duration) {
    let (sink, stop) = (Recorder::only(&[]), Stop::default());
    let source = Box::new(SimSource::new(options));
    let start = Instant::now();
    let thread = {
        let (sink, stop) = (sink.clone(), stop.clone());
        std::thread::spawn(move || source.run(sink, stop))
    };
    while !until(&sink.heard()) && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = start.elapsed();
    stop.set();
    thread.join().unwrap().unwrap();
    (sink, took)
}

#[test]
fn it_starts_at_once_and_stops_when_told() {
    let (sink, took) = run(SimOptions::starting_now(1), |heard| heard.samples.len() > 200);
    assert!(took < Duration::from_secs(10), "{took:?}");
    let heard = sink.heard();
    assert_eq!(heard.states, [SourceState::Starting, SourceState::Running]);
    assert_eq!(heard.topics.len(), topics().len());
    let mut nodes = nodes();
    nodes.sort();
    assert_eq!(heard.nodes, [nodes]);
}

#[test]
fn without_a_monotonic_epoch_it_goes_by_the_wall_clock() {
    let hour_ns = 3_600_000_000_000;
    let options = SimOptions { epoch_unix_ns: wall_ns() - hour_ns, ..SimOptions::default() };
    let (sink, _) = run(options, |heard| heard.samples.iter().any(|(t, _)| t == "/imu/data"));
    let (_, imu) = sink.heard().samples.into_iter().find(|(t, _)| t == "/imu/data").unwrap();
    assert!(imu.id.seq >= 360_000, "{}", imu.id.seq);
}

#[test]
fn an_epoch_far_ahead_is_refused() {
    let options = SimOptions { epoch_unix_ns: wall_ns() + 3_600_000_000_000, ..SimOptions::default() };
    let sink = Recorder::only(&[]);
    let error = Box::new(SimSource::new(options)).run(sink.clone(), Stop::default()).unwrap_err();
    assert!(error.to_string().contains("check this computer's clock"), "{error}");
    assert!(matches!(sink.heard().states.last(), Some(SourceState::Failed(_))));
}

/// Prints what the rover costs; `cargo test --release -- --ignored --nocapture cost`.
#[test]
#[ignore = "a measurement, not a check"]
fn cost() {
    let mut rover = rover(1, &[], &[]);
    let start = Instant::now();
    let (mut messages, mut bytes) = (0, 0);
    for _ in 0..60_000 {
        for message in rover.step() {
            messages += 1;
            bytes += message.payload.len();
        }
    }
    let second_us = start.elapsed().as_secs_f64() * 1e6 / 600.0;
    println!(
        "1 s with serialization: {second_us:.0} us, {} messages, {} kB",
        messages / 600,
        bytes / 600_000
    );
    for (hours, ticks) in
        [("1 h", 360_000), ("2 h (the most there is)", 720_000), ("a year", 3_153_600_000_u64)]
    {
        let mut rover = crate::sim::tests::rover(1, &[], &[]);
        let start = Instant::now();
        rover.advance_to(ticks);
        println!("catching up {hours}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    }
    for age_s in [0, 3_600, 7_190] {
        let options =
            SimOptions { epoch_unix_ns: wall_ns() - age_s * 1_000_000_000, ..SimOptions::default() };
        let (_, took) = run(options, |heard| heard.samples.iter().any(|(t, _)| t == "/imu/data"));
        println!("first live sample at age {age_s} s: {:.1} ms", took.as_secs_f64() * 1e3);
    }
}
