//! A measuring client process, seen from the process that starts it.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::listener::{Line, Options, Report, Switch};
use crate::binary;
use crate::net::Namespace;
use crate::process::Guard;

/// Reports waiting to be read.
const REPORTS: usize = 8;
/// Deadline for a report on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running listener. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    child: Guard,
    stdin: ChildStdin,
    reports: Receiver<Report>,
    switches: Arc<Mutex<Vec<Switch>>>,
    /// The endpoint that last reported a lower service level to the only link.
    lowered: Arc<Mutex<Option<String>>>,
}

impl Listener {
    /// Starts a listener in this network, with extra environment variables.
    pub(crate) fn start(
        namespace: &Namespace,
        options: &Options,
        environment: &[(String, String)],
    ) -> Listener {
        let mut command = namespace.command(&binary::bin("faults"));
        command.arg("listen").args(arguments(options)).envs(environment.iter().cloned());
        Listener::spawn(command)
    }

    fn spawn(mut command: Command) -> Listener {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Guard(command.spawn().unwrap());
        let stdin = child.0.stdin.take().unwrap();
        let stdout = BufReader::new(child.0.stdout.take().unwrap());
        let (sender, reports) = sync_channel(REPORTS);
        let switches = Arc::<Mutex<Vec<Switch>>>::default();
        let lowered = Arc::<Mutex<Option<String>>>::default();
        let (recorded, level) = (switches.clone(), lowered.clone());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(Line::Switch(switch)) => recorded.lock().unwrap().push(switch),
                    Ok(Line::Service { url, full }) => *level.lock().unwrap() = (!full).then_some(url),
                    Ok(Line::Report(report)) => drop(sender.try_send(*report)),
                    Err(error) => eprintln!("unexpected output of a listener: {line:?}: {error}"),
                }
            }
        });
        Listener { child, stdin, reports, switches, lowered }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Its report since the previous call.
    pub(crate) fn report(&mut self) -> Report {
        writeln!(self.stdin, "report").unwrap();
        match self.reports.recv_timeout(PATIENCE) {
            Ok(report) => report,
            Err(RecvTimeoutError::Timeout) => panic!("a listener did not report within {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("a listener ended before its time"),
        }
    }

    /// The endpoint in use; `None` if there is none.
    pub(crate) fn active(&self) -> Option<String> {
        self.switches.lock().unwrap().last().and_then(|switch| switch.to.clone())
    }

    /// Whether the endpoint in use delivers everything, according to its last report.
    pub(crate) fn is_full_service(&self) -> bool {
        self.lowered.lock().unwrap().is_none() || *self.lowered.lock().unwrap() != self.active()
    }

    /// The switches since the previous call.
    pub(crate) fn take_switches(&self) -> Vec<Switch> {
        let mut switches = self.switches.lock().unwrap();
        let newest = switches.last().cloned();
        let all = std::mem::take(&mut *switches);
        switches.extend(newest.map(|newest| Switch { cause: String::new(), ..newest }));
        all.into_iter().filter(|switch| !switch.cause.is_empty()).collect()
    }
}

fn arguments(options: &Options) -> Vec<String> {
    let Options { urls, ca, topics, links, plain, plains, retry_ms } = options;
    let each = |flag: &str, values: &[String]| {
        values.iter().flat_map(|value| [flag.to_owned(), value.clone()]).collect::<Vec<_>>()
    };
    let mut all = [each("--url", urls), each("--topic", topics), each("--plain", plain)].concat();
    if let Some(ca) = ca {
        all.extend(["--ca".to_owned(), ca.display().to_string()]);
    }
    for (flag, value) in [("--links", *links as u64), ("--plains", *plains as u64), ("--retry-ms", *retry_ms)]
    {
        all.extend([flag.to_owned(), value.to_string()]);
    }
    all
}
