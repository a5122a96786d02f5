//! Tests of the source on its own thread with real clocks.

use std::time::{Duration, Instant};

use roverline_test_support::wait::eventually;

use crate::clock::unix_ns;
use crate::sim::tests::*;

fn run(options: SimOptions, until: impl Fn(&Received) -> bool) -> (Arc<Recorder>, Duration) {
    let (sink, stop) = (Recorder::only(&[]), StopFlag::default());
    let source = Box::new(SimSource::new(options));
    let thread = {
        let (sink, stop) = (sink.clone(), stop.clone());
        std::thread::spawn(move || source.run(sink, stop))
    };
    let took = eventually("the samples", Duration::from_secs(20), || until(&sink.received()));
    stop.set();
    thread.join().unwrap().unwrap();
    (sink, took)
}

#[test]
fn it_starts_at_once_and_stops_on_request() {
    let (sink, _) = run(SimOptions::starting_now(1), |received| received.samples.len() > 200);
    let received = sink.received();
    assert_eq!(received.states, [SourceState::Starting, SourceState::Running]);
    assert_eq!(received.topics.len(), topics().len());
    let mut nodes = nodes();
    nodes.sort();
    assert_eq!(received.nodes, [nodes]);
}

#[test]
fn without_a_monotonic_epoch_it_uses_the_wall_clock() {
    let hour_ns = 3_600_000_000_000;
    let options = SimOptions { epoch_unix_ns: unix_ns() - hour_ns, ..SimOptions::default() };
    let (sink, _) = run(options, |received| received.samples.iter().any(|(t, _)| t == "/imu/data"));
    let (_, imu) = sink.received().samples.into_iter().find(|(t, _)| t == "/imu/data").unwrap();
    assert!(imu.id.seq >= 360_000, "{}", imu.id.seq);
}

#[test]
fn an_epoch_far_in_the_future_is_rejected() {
    let options = SimOptions { epoch_unix_ns: unix_ns() + 3_600_000_000_000, ..SimOptions::default() };
    let sink = Recorder::only(&[]);
    let error = Box::new(SimSource::new(options)).run(sink.clone(), StopFlag::default()).unwrap_err();
    assert!(error.to_string().contains("check this computer's clock"), "{error}");
    assert!(matches!(sink.received().states.last(), Some(SourceState::Failed(_))));
}

/// Prints the rover's CPU cost; `cargo test --release -- --ignored --nocapture cost`.
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
            SimOptions { epoch_unix_ns: unix_ns() - age_s * 1_000_000_000, ..SimOptions::default() };
        let (_, took) = run(options, |received| received.samples.iter().any(|(t, _)| t == "/imu/data"));
        println!("first live sample at age {age_s} s: {:.1} ms", took.as_secs_f64() * 1e3);
    }
}
