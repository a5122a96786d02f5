//! Plays scenarios, trial by trial, and judges them.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::listener::Report;
use super::measure::Quantiles;
use super::scenario::{Expect, Scenario};
use super::stage::Stage;
use super::stall::StallWatch;
use super::step::{self, Running};
use super::table::{ms, table};
use super::usage;

/// A bystander has noticed when it waited this much longer than usual.
const NOTICED_MS: f64 = 500.0;
/// A stall of the machine counts so often in a bound: it may hit the gateway as well as its client.
const STALLS: f64 = 2.0;
/// Between what is done and what came of it: the last samples are under way.
const LAST: Duration = Duration::from_millis(200);

/// How to play.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    /// Trials of each scenario, instead of its own number.
    pub(crate) trials: Option<usize>,
    /// Few and short ones.
    pub(crate) quick: bool,
    /// With the bounds for busy machines.
    pub(crate) wide: bool,
}

/// What one trial showed.
#[derive(Clone, Debug, Serialize)]
struct Trial {
    report: Report,
    rss_kib: f64,
    others_noticed: bool,
    /// What the bystanders went through.
    others: Option<Report>,
    causes: Vec<String>,
    herd: Option<(usize, usize)>,
    /// The longest that the machine stood still meanwhile.
    machine_ms: f64,
}

/// What a scenario showed.
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
    others_noticed: Option<bool>,
    trials: Vec<Trial>,
    /// What was not as expected, in words.
    pub(crate) failures: Vec<String>,
    /// Why it was not played.
    pub(crate) skipped: Option<String>,
}

/// Plays one scenario; tells every trial as it goes.
pub(crate) fn play(scenario: &Scenario, mode: Mode, tell: &dyn Fn(&str)) -> Outcome {
    let mut stage = match Stage::set(scenario) {
        Ok(stage) => stage,
        Err(why) => {
            tell(&format!("{}: SKIPPED: {why}", scenario.name));
            return Outcome { skipped: Some(why), ..judged(scenario, mode, Vec::new()) };
        }
    };
    stage.settle();
    let own = if mode.quick { scenario.quick_trials } else { scenario.trials };
    let count = mode.trials.unwrap_or(own);
    let mut trials = Vec::new();
    for n in 1..=count {
        let start = Instant::now();
        let trial = trial(&mut stage, scenario, mode.quick);
        let Report { lost, duplicated, stale, gap_ms, .. } = &trial.report;
        tell(&format!(
            "{}: trial {n}/{count}: blackout {gap_ms:.0} ms, lost {lost}, twice {duplicated}, stale {stale}, {}{} \
             ({:.1} s)",
            scenario.name,
            trial.causes.join(", "),
            if trial.others_noticed { ", others noticed" } else { "" },
            start.elapsed().as_secs_f64(),
        ));
        trials.push(trial);
    }
    let mut outcome = judged(scenario, mode, trials);
    if stage.lies_told() == Some(0) {
        outcome.failures.push("the liar was never asked".to_owned());
    }
    if scenario.stepped_clock.is_some_and(|side| !stage.has_stepped_clock(side)) {
        outcome.failures.push("the clock was not stepped: libfaketime is not in the process".to_owned());
    }
    outcome
}

fn trial(stage: &mut Stage, scenario: &Scenario, quick: bool) -> Trial {
    stage.client.report();
    stage.client.take_switches();
    if let Some(bystanders) = &mut stage.bystanders {
        bystanders.report();
    }
    let watch = StallWatch::start();
    let mut running = Running::default();
    let mut rss_kib: f64 = 0.0;
    for step in &scenario.steps {
        step::take(stage, step, &mut running, quick);
        rss_kib = stage.pids().into_iter().filter_map(usage::peak_rss_kib).fold(rss_kib, f64::max);
    }
    running.finish();
    std::thread::sleep(LAST);
    let report = stage.client.report();
    let spared = scenario.bystanders.is_some_and(|tier| !running.harmed.contains(&tier));
    let others = stage.bystanders.as_mut().map(super::child::Listener::report);
    let machine_ms = watch.finish();
    let noticed = |report: &Report| {
        report.lost + report.duplicated + report.switches + report.plain.closed > 0
            || report.gap_ms.max(report.plain.gap_ms - 200.0) - STALLS * machine_ms > NOTICED_MS
    };
    let unserved = running.herd.is_some_and(|(served, all)| served < all);
    Trial {
        report,
        rss_kib,
        others_noticed: unserved || spared && others.as_ref().is_some_and(noticed),
        others,
        causes: stage.client.take_switches().into_iter().map(|switch| switch.cause).collect(),
        herd: running.herd,
        machine_ms,
    }
}

fn judged(scenario: &Scenario, mode: Mode, trials: Vec<Trial>) -> Outcome {
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
        others_noticed: others.then(|| trials.iter().any(|trial| trial.others_noticed)),
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
    // What an unoptimized binary takes says little.
    at_most("memory (MiB)", outcome.rss_mib, expect.rss_mib.filter(|_| !wide));
    if expect.others_noticed == Some(false) && outcome.others_noticed == Some(true) {
        failures.push("others noticed".to_owned());
    }
    if outcome.trials.iter().any(|trial| trial.report.samples == 0) {
        failures.push("a trial in which nothing was heard shows nothing".to_owned());
    }
    failures
}

/// All outcomes in one table, and what was not as expected.
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
        let others = outcome.others_noticed.map_or("", |noticed| if noticed { "yes" } else { "no" });
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
