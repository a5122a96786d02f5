//! The rover: a motor driver on CycloneDDS, and what its gateway knows about authorities.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use roverline_protocol::api::authority::{AuthorityDocument, AuthorityList};
use roverline_tests::http;
use roverline_tests::net::Namespace;
use roverline_tests::script::Script;
use roverline_tests::wait::{eventually, poll};

use crate::PATIENCE;

/// A motor driver: the velocities that it received, with their times of arrival.
pub(crate) struct Rover {
    pub(crate) received: Receiver<(Duration, f64)>,
}

impl Rover {
    pub(crate) fn start(python: &Path, domain: &str, seconds: u32) -> Rover {
        Rover::start_in(&Namespace::default(), python, domain, seconds)
    }

    /// The same in a network namespace.
    pub(crate) fn start_in(namespace: &Namespace, python: &Path, domain: &str, seconds: u32) -> Rover {
        let args = ["--domain", domain, "--seconds", &seconds.to_string(), "/cmd_vel"];
        let mut script = Script::start_in(namespace, python, "dds_velocity.py", &args);
        assert_eq!(script.line()["ready"], true);
        let (sender, received) = sync_channel(100_000);
        std::thread::spawn(move || {
            while let Some(line) = script.next_line() {
                let at = Duration::from_nanos(line["at"].as_u64().unwrap());
                if sender.send((at, line["x"].as_f64().unwrap())).is_err() {
                    return;
                }
            }
        });
        Rover { received }
    }

    /// What was received since the last call.
    pub(crate) fn take(&self) -> Vec<(Duration, f64)> {
        self.received.try_iter().collect()
    }

    /// Waits for a velocity.
    pub(crate) fn until(&self, x: f64) -> Duration {
        poll(PATIENCE, || self.received.try_iter().find(|(_, received)| *received == x)).unwrap().0
    }

    /// From the last velocity that is not zero to the first zero after it.
    pub(crate) fn time_to_stop(&self) -> Duration {
        self.time_to_stop_from(&[])
    }

    /// The same, if these were received before.
    pub(crate) fn time_to_stop_from(&self, before: &[(Duration, f64)]) -> Duration {
        let (mut last, mut stopped) = (before.last().map(|(at, _)| *at), None);
        eventually("the stop", PATIENCE, || {
            for (at, x) in self.take() {
                match (x == 0.0, stopped) {
                    (true, None) => stopped = Some(at),
                    (false, _) => (last, stopped) = (Some(at), None),
                    _ => {}
                }
            }
            last.is_some() && stopped.is_some()
        });
        stopped.unwrap() - last.unwrap()
    }
}

pub(crate) fn authority(port: u16, name: &str) -> AuthorityDocument {
    let list: AuthorityList = serde_json::from_str(&http::get(port, "/api/v2/authority").body).unwrap();
    list.authorities.into_iter().find(|authority| authority.name == name).unwrap()
}

/// The same at any address; `None` if the endpoint does not answer.
pub(crate) fn authority_at(server: SocketAddr, name: &str) -> Option<AuthorityDocument> {
    let request = format!("GET /api/v2/authority HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    let answer = http::exchange_with(server, request.as_bytes());
    let list: AuthorityList = serde_json::from_str(&answer.body).ok()?;
    list.authorities.into_iter().find(|authority| authority.name == name)
}

/// Waits until the endpoint knows who holds what.
pub(crate) fn wait_confirmed(port: u16) {
    eventually("the holders are known", PATIENCE, || authority(port, "drive").problem.is_none());
}
