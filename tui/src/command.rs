//! The program's commands, one module each.

pub mod alarms;
pub mod commands;
pub mod console;
pub mod coordination;
pub mod demo;
pub mod echo;
mod gateway;
mod headless;
pub mod preflight;
pub mod print;
mod report;
mod session;
pub mod status;
pub mod stop;
pub mod themes;
pub mod topics;
pub mod traces;

use std::process::ExitCode;

use roverline_client::LinkState;

pub use crate::command::session::{Clock, HeadlessSession, perform, without_delay};
use crate::format;
use crate::model::Model;

/// Why a command failed; decides the exit code.
#[derive(Debug)]
pub enum Failure {
    /// Invalid usage.
    Usage(String),
    /// Nothing reachable, no data, or refused.
    Nothing(String),
    /// A lock that could not be acquired, or was lost.
    Lock(String),
    /// Reading or writing failed.
    Io(std::io::Error),
}

/// `EX_TEMPFAIL` of sysexits.h: unlikely to be the exit code of a command under a lock.
const NO_LOCK: u8 = 75;

impl Failure {
    /// The process exit code.
    pub fn code(&self) -> ExitCode {
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Lock(_) => ExitCode::from(NO_LOCK),
            Failure::Nothing(_) | Failure::Io(_) => ExitCode::from(1),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Usage(why) | Failure::Nothing(why) | Failure::Lock(why) => f.write_str(why),
            Failure::Io(error) => write!(f, "{error}"),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::Io(error)
    }
}

/// Whether every endpoint was tried and the best one that answers is in use. The first to answer is
/// used first, and it may have little to offer.
fn on_the_best(model: &Model) -> bool {
    let endpoints = &model.network.endpoints;
    let tried = endpoints.iter().all(|e| e.state != LinkState::Connecting || e.failures > 0);
    let best = endpoints.iter().find(|e| !matches!(e.state, LinkState::Down | LinkState::Connecting));
    tried && best.is_some_and(|best| best.state == LinkState::Active)
}

/// The error if no endpoint answers.
fn unreachable(watch: &HeadlessSession) -> Failure {
    let endpoints = watch.model.network.endpoints.iter();
    let tried: Vec<_> = endpoints.map(|e| (e.url.clone(), e.last_error.clone())).collect();
    no_answer(&tried)
}

/// The failure when no endpoint answers: the addresses that were tried, with their errors, and what to do.
fn no_answer(tried: &[(String, Option<String>)]) -> Failure {
    let refused =
        |(_, error): &(String, Option<String>)| error.as_ref().is_some_and(|e| e.contains("refused"));
    let why = match tried.iter().all(refused) && !tried.is_empty() {
        true => "the computer answers, and nothing listens there: start a gateway ('roverline-gateway up')",
        false => "is the gateway running, and the address right? Start one ('roverline-gateway up')",
    };
    let one = |(url, error): &(String, Option<String>)| {
        let error = error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
        format!("\n  {url}{}", format::printable(&error))
    };
    let list: String = tried.iter().map(one).collect();
    Failure::Nothing(format!(
        "no endpoint answers: {why}, name another computer with --host, or try 'roverline demo'. Tried:{list}"
    ))
}
