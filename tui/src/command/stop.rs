//! `roverline stop`: engages or releases the emergency stop, and believes only what the rover's gateway says
//! of its state afterwards.

use std::process::ExitCode;
use std::time::Duration;

use roverline_client::{Config, Event, Events, Link, LinkState, StopState, StopView};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cli::StopArgs;
use crate::command::Failure;
use crate::command::print::{print, print_line};
use crate::command::session::without_delay;
use crate::format;

const PATH: &str = "/api/v2/emergency-stop";
/// Interval at which the state is read while it is not what was asked for.
const READ_MS: u64 = 200;

/// The outcome of a stop command.
#[derive(Debug, Default)]
struct Outcome {
    /// An endpoint's answer to the command.
    accepted: Option<(String, String)>,
    refused: Option<String>,
    /// The state that an endpoint read back: engaged or not; a relay cannot tell.
    state: Option<Value>,
}

/// Engages or releases the stop; success only if the state says so.
pub async fn run(config: Config, args: StopArgs) -> Result<ExitCode, Failure> {
    let engage = !args.release;
    let default = if engage { "roverline stop" } else { "roverline stop --release" };
    let (link, mut events) = Link::open(without_delay(config));
    let reason = args.reason.clone().unwrap_or_else(|| default.to_owned());
    // An engage is asked for at once; a release is not sent before an endpoint can hear it.
    let command = Command { id: engage.then(|| link.emergency_stop(true, &reason)), reason };
    let mut outcome = Outcome::default();
    // At the time limit the outcome so far is the result.
    let done = tokio::time::timeout(args.timeout, follow(&link, &mut events, command, engage, &mut outcome));
    let done = done.await.unwrap_or(false);
    let result = report(&outcome, engage, done, &args);
    link.close(events).await;
    result
}

/// The command; its id once it has been asked for.
struct Command {
    id: Option<String>,
    reason: String,
}

/// Follows the command until the state is what was asked for; false if it was refused.
async fn follow(
    link: &Link,
    events: &mut Events,
    mut command: Command,
    engage: bool,
    outcome: &mut Outcome,
) -> bool {
    let (mut read, mut read_at): (Option<u64>, Option<Instant>) = (None, None);
    let mut tick = tokio::time::interval(Duration::from_millis(READ_MS / 2));
    loop {
        let event = tokio::select! {
            event = events.next() => match event {
                Some(event) => Some(event),
                None => return false,
            },
            _ = tick.tick() => None,
        };
        let mut is_over = false;
        match event {
            Some(Event::Endpoints(views))
                if command.id.is_none() && views.iter().any(|view| view.state == LinkState::Active) =>
            {
                command.id = Some(link.emergency_stop(engage, &command.reason));
            }
            Some(Event::Stop(view)) if command.id.as_ref() == Some(&view.id) => {
                is_over = !outcome.take(view);
            }
            Some(Event::Response { id, status: 200, body }) if Some(id) == read => {
                read = None;
                let engaged = body["engaged"].as_bool();
                outcome.state = Some(body);
                // A relay does not know the state; the rover's confirmation has to do.
                if outcome.accepted.is_some() && engaged.is_none_or(|engaged| engaged == engage) {
                    return true;
                }
            }
            Some(Event::Response { id, .. }) if Some(id) == read => read = None,
            _ => {}
        }
        if is_over {
            return false;
        }
        let is_due = read_at.is_none_or(|at| at.elapsed() >= Duration::from_millis(READ_MS));
        if outcome.accepted.is_some() && read.is_none() && is_due {
            (read, read_at) = (Some(link.request("GET", PATH, None)), Some(Instant::now()));
        }
    }
}

impl Outcome {
    /// Takes the progress of the command; false if it is over without success.
    fn take(&mut self, view: StopView) -> bool {
        match view.state {
            StopState::Accepted { endpoint, message } => {
                self.accepted = Some((endpoint, message));
                true
            }
            StopState::Refused { message, .. } => {
                self.refused = Some(message);
                true
            }
            StopState::Unheard { message } => {
                self.refused.get_or_insert(message);
                false
            }
            StopState::Pending => true,
            StopState::Withdrawn => false,
        }
    }

    fn engaged(&self) -> Option<bool> {
        self.state.as_ref()?["engaged"].as_bool()
    }

    /// Why it failed, and what to do.
    fn failure(&self, engage: bool, timeout: Duration) -> String {
        let waited = format::age(timeout);
        let what = match (&self.accepted, &self.refused) {
            (Some((endpoint, _)), _) if self.state.is_none() => {
                format!("{endpoint} accepted it, but its state could not be read within {waited}")
            }
            (Some((endpoint, _)), _) if engage => {
                format!("{endpoint} accepted it, but the stop is not engaged")
            }
            (Some((endpoint, message)), _) => {
                format!("{endpoint} says '{}', and the stop is still engaged", format::printable(message))
            }
            (None, Some(why)) => format!("refused: {}", format::printable(why)),
            (None, None) => format!("no endpoint answered within {waited}"),
        };
        match engage {
            true => format!("the emergency stop is NOT confirmed: {what}. Use the red button on the rover"),
            false => format!("the emergency stop is not released: {what}"),
        }
    }
}

fn report(outcome: &Outcome, engage: bool, done: bool, args: &StopArgs) -> Result<ExitCode, Failure> {
    if !done && !args.json {
        return Err(Failure::Nothing(outcome.failure(engage, args.timeout)));
    }
    let message = match &outcome.accepted {
        Some((endpoint, message)) if done => format!("{}: {}", endpoint, format::printable(message)),
        _ => outcome.failure(engage, args.timeout),
    };
    match args.json {
        false => print(&message),
        true => print_line(&json!({
            "asked": if engage { "engage" } else { "release" }, "done": done,
            "engaged": outcome.engaged(), "endpoint": outcome.accepted.as_ref().map(|(url, _)| url),
            "message": message, "state": outcome.state,
        })),
    }?;
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(state: StopState) -> StopView {
        let (id, reason, pending_for) = ("1".to_owned(), String::new(), Duration::ZERO);
        StopView { id, engage: true, reason, pending_for, state }
    }

    #[test]
    fn every_failure_says_what_happened_and_what_to_do() {
        let endpoint = "ws://rover:8080".to_owned();
        let mut outcome = Outcome::default();
        let why = |outcome: &Outcome| outcome.failure(true, Duration::from_secs(5));
        assert!(why(&outcome).contains("no endpoint answered within 5"), "{}", why(&outcome));
        assert!(
            outcome.take(view(StopState::Refused { endpoint: endpoint.clone(), message: "no right".into() }))
        );
        assert!(why(&outcome).contains("refused: no right") && why(&outcome).contains("red button"));
        assert!(outcome.take(view(StopState::Accepted { endpoint, message: "engaged".into() })));
        assert!(why(&outcome).contains("could not be read"));
        outcome.state = Some(json!({"engaged": false}));
        assert!(why(&outcome).contains("not engaged") && outcome.engaged() == Some(false));
        assert!(!outcome.take(view(StopState::Unheard { message: "none".into() })));
    }
}
