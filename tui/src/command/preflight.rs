//! `roverline preflight`: the go or no-go list without a screen.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use roverline_client::Config;
use serde_json::{Value as Json, json};

use crate::cli::PreflightArgs;
use crate::command::print::{print_json, print_text};
use crate::command::{Failure, HeadlessSession, on_the_best, unreachable};
use crate::effect::Effect;
use crate::format;
use crate::model::Model;
use crate::preflight::{Check, Evaluation, Verdict, evaluate};
use crate::screen::preflight::model::StopCheck;
use crate::screen::preflight::{begin, begin_stop_check, follow_stop_check, title};

/// A rate needs a full second to be measured, and slow topics come once a second.
const MEASURE: Duration = Duration::from_millis(1_500);
/// Longest wait for the release of the tried stop.
const RELEASE: Duration = Duration::from_secs(5);

/// Evaluates, after everything has been received or the time is over.
pub async fn run(config: Config, args: PreflightArgs) -> Result<ExitCode, Failure> {
    let mut session = HeadlessSession::open(config);
    session.until(args.timeout, |model| on_the_best(model) && !model.topics.rows.is_empty()).await;
    if session.model.network.active().is_none() {
        return Err(unreachable(&session));
    }
    session.with(begin);
    session.until(MEASURE, |_| false).await;
    session.until(args.timeout, is_complete).await;
    if args.stop_check {
        try_stop(&mut session).await;
    }
    let evaluation = evaluate(&session.model);
    // Whoever wants the stop to be tried wants it to work.
    let is_tried = matches!(session.model.screens.preflight.stop_check, StopCheck::Done { .. });
    let is_go = evaluation.verdict() != Verdict::NoGo && (is_tried || !args.stop_check);
    match args.json {
        true => print_json(&document(&evaluation, is_go)),
        false => print_text(&text(&session.model, &evaluation)),
    }?;
    Ok(if is_go { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn is_complete(model: &Model) -> bool {
    let state = &model.screens.preflight;
    let documents = state.topics.value.is_some() && state.queues.value.is_some();
    let team = model.screens.team.locks.value.is_some() && model.screens.alarms.list.value.is_some();
    let rover = model.rover.battery.is_some() && model.rover.fix.is_some();
    documents && team && rover && model.rover.emergency_stop.is_some()
}

/// Engages the stop and releases it again, once the rover has said that it is engaged.
async fn try_stop(session: &mut HeadlessSession) {
    session.with(begin_stop_check);
    if session.model.screens.preflight.stop_check == StopCheck::NotTried {
        session.model.screens.preflight.stop_check =
            StopCheck::Failed("not tried: it is not known to be released");
        return;
    }
    let is_waiting = |model: &Model| matches!(model.screens.preflight.stop_check, StopCheck::Engaging { .. });
    while is_waiting(&session.model) {
        session.until(Duration::from_millis(50), |_| false).await;
        session.with(|model| {
            follow_stop_check(model);
            Vec::new()
        });
    }
    // A stop that the rover has not confirmed is not released: somebody may need it.
    if !matches!(session.model.screens.preflight.stop_check, StopCheck::Engaged { .. }) {
        return;
    }
    session.with(|_| vec![Effect::EmergencyStop { engage: false }]);
    session.until(RELEASE, |model| model.stop_state() == crate::model::StopState::Released).await;
    session.with(|model| {
        follow_stop_check(model);
        Vec::new()
    });
}

fn document(evaluation: &Evaluation, is_go: bool) -> Json {
    let check = |check: &Check| {
        json!({
            "id": check.id,
            "verdict": check.verdict.word(),
            "text": check.text,
            "confirmed_by": check.confirmed.as_ref().map(|confirmation| &confirmation.by),
            "confirmed_ns": check.confirmed.as_ref().map(|confirmation| confirmation.at_ns),
        })
    };
    let checks: Vec<Json> = evaluation.checks.iter().map(check).collect();
    json!({"go": is_go, "checks": checks})
}

fn text(model: &Model, evaluation: &Evaluation) -> String {
    let mut out = String::new();
    for check in &evaluation.checks {
        let confirmed = check.confirmed.as_ref().map_or_else(String::new, |confirmation| {
            let ago = format::age(model.now.since_wall(confirmation.at_ns));
            format!("  (confirmed by {} {ago} ago)", format::printable(&confirmation.by))
        });
        let (glyph, word) = (check.verdict.glyph(), check.verdict.word());
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{glyph} {word:<6} {:<11} {}{confirmed}", check.name, check.text);
    }
    let _ = writeln!(out, "\n{}", title(evaluation));
    out
}
