//! Runs scenarios trial by trial and compares the results with their bounds.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::environment::ScenarioEnv;
use super::listener::Report;
use super::measure::Quantiles;
use super::scenario::{Expect, Scenario};
use super::step::{self, TrialState};
use super::table::{ms, table};
use crate::scheduler_stall::StallWatch;
use crate::usage;
use crate::wait::observe_for;

/// A bystander is affected if its gap is this much longer than usual.
const AFFECTED_MS: f64 = 500.0;
/// How often a stall of the machine is subtracted from a bound: it may hit the gateway and its client.
const STALLS: f64 = 2.0;
/// Time for the last samples in flight to arrive before the report.
const LAST: Duration = Duration::from_millis(200);

/// Options of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    /// Trials of each scenario, overriding its own number.
    pub(crate) trials: Option<usize>,
    /// Few trials and short waits.
    pub(crate) quick: bool,
    /// Use the bounds for busy machines.
    pub(crate) wide: bool,
    /// A rover in a live ROS graph.
    pub(crate) live: bool,
}

/// The result of one trial.
#[derive(Clone, Debug, Serialize)]
struct Trial {
    report: Report,
    rss_kib: f64,
    others_affected: bool,
    /// The bystanders' report.
    others: Option<Report>,
    causes: Vec<String>,
    herd: Option<(usize, usize)>,
    /// The longest stall of the machine during the trial.
    machine_ms: f64,
}

/// The result of a scenario.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// The scenario's name.
    pub(crate) name: String,
    title: String,
    blackout_ms: Quantiles,
    link_blackout_ms: Quantiles,
    lost: u64,
    duplicated: u64,
    stale: u64,
    rss_mib: f64,
    machine_ms: f64,
    others_affected: Option<bool>,
    trials: Vec<Trial>,
    /// Missed bounds, as text.
    pub(crate) failures: Vec<String>,
    /// The reason why it could not run.
    pub(crate) skipped: Option<String>,
}

/// Runs one scenario; reports every trial through `log` as it ends.
pub(crate) fn run_scenario(scenario: &Scenario, mode: Mode, log: &dyn Fn(&str)) -> Outcome {
    let mut env = match ScenarioEnv::start(scenario, mode.live) {
        Ok(env) => env,
        Err(why) => {
            log(&format!("{}: SKIPPED: {why}", scenario.name));
            return Outcome { skipped: Some(why), ..evaluate(scenario, mode, Vec::new()) };
        }
    };
    env.settle();
    let own = if mode.quick { scenario.quick_trials } else { scenario.trials };
    let count = mode.trials.unwrap_or(own);
    let mut trials = Vec::new();
    for n in 1..=count {
        let start = Instant::now();
        let trial = trial(&mut env, scenario, mode.quick);
        let Report { lost, duplicated, stale, gap_ms, .. } = &trial.report;
        log(&format!(
            "{}: trial {n}/{count}: blackout {gap_ms:.0} ms, lost {lost}, twice {duplicated}, stale {stale}, {}{} \
             ({:.1} s)",
            scenario.name,
            trial.causes.join(", "),
            if trial.others_affected { ", others noticed" } else { "" },
            start.elapsed().as_secs_f64(),
        ));
        trials.push(trial);
    }
    let mut outcome = evaluate(scenario, mode, trials);
    if env.lying_peer_requests() == Some(0) {
        outcome.failures.push("the lying peer was never polled".to_owned());
    }
    if scenario.stepped_clock.is_some_and(|side| !env.has_stepped_clock(side)) {
        outcome.failures.push("the clock was not stepped: its library is not in the process".to_owned());
    }
    outcome
}

fn trial(env: &mut ScenarioEnv, scenario: &Scenario, quick: bool) -> Trial {
    env.client.report();
    env.client.take_switches();
    if let Some(bystanders) = &mut env.bystanders {
        bystanders.report();
    }
    let watch = StallWatch::start();
    let mut state = TrialState::default();
    let mut rss_kib: f64 = 0.0;
    for step in &scenario.steps {
        step::execute(env, step, &mut state, quick);
        rss_kib = env.pids().into_iter().filter_map(usage::peak_rss_kib).fold(rss_kib, f64::max);
    }
    state.finish();
    observe_for(LAST, "the last samples are in flight");
    let report = env.client.report();
    let spared = scenario.bystanders.is_some_and(|tier| !state.affected.contains(&tier));
    let others = env.bystanders.as_mut().map(super::listener_process::Listener::report);
    let machine_ms = watch.finish();
    let is_affected = |report: &Report| {
        report.lost + report.duplicated + report.switches + report.plain.closed > 0
            || report.gap_ms.max(report.plain.gap_ms - 200.0) - STALLS * machine_ms > AFFECTED_MS
    };
    let unserved = state.herd.is_some_and(|(served, all)| served < all);
    Trial {
        report,
        rss_kib,
        others_affected: unserved || spared && others.as_ref().is_some_and(is_affected),
        others,
        causes: env.client.take_switches().into_iter().map(|switch| switch.cause).collect(),
        herd: state.herd,
        machine_ms,
    }
}

fn evaluate(scenario: &Scenario, mode: Mode, trials: Vec<Trial>) -> Outcome {
    let sum = |of: fn(&Report) -> u64| trials.iter().map(|trial| of(&trial.report)).sum::<u64>();
    let all = |of: fn(&Report) -> f64| {
        Quantiles::of(&trials.iter().map(|trial| of(&trial.report)).collect::<Vec<_>>())
    };
    let others = scenario.bystanders.is_some() || trials.iter().any(|trial| trial.herd.is_some());
    let mut outcome = Outcome {
        name: scenario.name.clone(),
        title: scenario.title.clone(),
        blackout_ms: all(|report| report.gap_ms),
        link_blackout_ms: all(|report| report.link_blackout_ms),
        lost: sum(|report| report.lost),
        duplicated: sum(|report| report.duplicated),
        stale: sum(|report| report.stale),
        machine_ms: trials.iter().map(|trial| trial.machine_ms).fold(0.0, f64::max),
        rss_mib: trials.iter().map(|trial| trial.rss_kib).fold(0.0, f64::max) / 1024.0,
        others_affected: others.then(|| trials.iter().any(|trial| trial.others_affected)),
        trials,
        failures: Vec::new(),
        skipped: None,
    };
    outcome.failures = failures(&scenario.expect, mode.wide, &outcome);
    outcome
}

fn failures(expect: &Expect, wide: bool, outcome: &Outcome) -> Vec<String> {
    let mut failures = Vec::new();
    let mut at_most = |what: &str, is: f64, bound: Option<f64>| {
        if let Some(bound) = bound.filter(|bound| is > *bound) {
            failures.push(format!("{what} is {is:.0}, at most {bound:.0} expected"));
        }
    };
    let count = |bound: Option<u64>| bound.map(|bound| bound as f64);
    let blackout = if wide { expect.wide_blackout_ms } else { expect.blackout_p99_ms };
    let own: Vec<f64> =
        outcome.trials.iter().map(|trial| trial.report.gap_ms - STALLS * trial.machine_ms).collect();
    at_most("blackout p99 beyond the machine's stalls (ms)", Quantiles::of(&own).p99, blackout);
    at_most("lost", outcome.lost as f64, count(expect.lost));
    at_most("duplicated", outcome.duplicated as f64, count(expect.duplicated));
    at_most("stale", outcome.stale as f64, count(expect.stale));
    // The memory of an unoptimized binary is not representative.
    at_most("memory (MiB)", outcome.rss_mib, expect.rss_mib.filter(|_| !wide));
    if expect.others_affected == Some(false) && outcome.others_affected == Some(true) {
        failures.push("others noticed".to_owned());
    }
    if outcome.trials.iter().any(|trial| trial.report.samples == 0) {
        failures.push("a trial without samples shows nothing".to_owned());
    }
    failures
}

/// A table of all outcomes, and the missed bounds.
pub(crate) fn summary(outcomes: &[Outcome]) -> String {
    let head = [
        "fault",
        "trials",
        "p50 ms",
        "p99 ms",
        "max ms",
        "lost",
        "twice",
        "stale",
        "RSS MiB",
        "machine ms",
        "others noticed",
        "",
    ];
    let row = |outcome: &Outcome| {
        if outcome.skipped.is_some() {
            return vec![outcome.title.clone(), "skipped".to_owned()];
        }
        let Quantiles { p50, p99, max, .. } = outcome.blackout_ms;
        let others = outcome.others_affected.map_or("", |affected| if affected { "yes" } else { "no" });
        let verdict = if outcome.failures.is_empty() { "ok" } else { "FAILED" };
        vec![
            outcome.title.clone(),
            outcome.trials.len().to_string(),
            ms(p50),
            ms(p99),
            ms(max),
            outcome.lost.to_string(),
            outcome.duplicated.to_string(),
            outcome.stale.to_string(),
            format!("{:.1}", outcome.rss_mib),
            ms(outcome.machine_ms),
            others.to_owned(),
            verdict.to_owned(),
        ]
    };
    let mut text = table(&head, &outcomes.iter().map(row).collect::<Vec<_>>());
    for outcome in outcomes {
        for failure in &outcome.failures {
            text += &format!("FAILED {}: {failure}\n", outcome.name);
        }
        if let Some(why) = &outcome.skipped {
            text += &format!("SKIPPED {}: {why}\n", outcome.name);
        }
    }
    text
}
