//! The `restart` and `status` commands, sent to a running gateway through its control socket.

use roverline_protocol::api::log::LogDocument;
use roverline_protocol::printable::{printable_json, printable_lines};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::error::{CliError, runtime_error, usage_error};
use crate::cli::{RestartArgs, StatusArgs, Target};
use crate::config::xdg_state_home;
use crate::limits;
use crate::process::control_socket::socket_port;
use crate::supervisor::control::{ControlMessage, Request};
use crate::supervisor::{ProcessStatus, Progress};

pub(super) fn restart(args: &RestartArgs) -> Result<(), CliError> {
    if !args.rolling {
        return Err(usage_error(
            "add --rolling: the endpoints are replaced one after another, and nothing is lost; \
             to start all of them anew at once, stop the gateway and start it again",
        ));
    }
    let request = Request::Restart { rolling: true, tier: args.tier };
    let answer = send_request(&args.target, &request, show)?;
    print_text(&format!("{}\n", answer.message));
    Ok(())
}

pub(super) fn status(args: &StatusArgs) -> Result<(), CliError> {
    let Answer { endpoints: statuses, .. } = send_request(&args.target, &Request::Status, |_| ())?;
    if args.json {
        print_text(&printable_json(&format!(
            "{}\n",
            serde_json::to_string(&statuses).map_err(runtime_error)?
        )));
    } else {
        print_text(&table(&statuses));
    }
    Ok(())
}

/// Prints text that contains input from clients. A closed standard output is not an error.
pub(super) fn print_text(text: &str) {
    let _ = std::io::stdout().write_all(printable_lines(text).as_bytes());
}

fn show(progress: Progress) {
    let Progress { tier, step, after_ms, text, .. } = progress;
    print_text(&format!("{:<10} {step:<8} {:>5.1} s  {text}\n", tier.name(), after_ms as f64 / 1e3));
}

fn table(statuses: &[ProcessStatus]) -> String {
    let mut table = format!("{:<10} {:>5} {:>8} {:>10} {:>9}\n", "TIER", "PORT", "PID", "SERVES", "RESTARTS");
    for ProcessStatus { tier, port, pid, serving_s, restarts } in statuses {
        let pid = pid.map_or("none".to_owned(), |pid| pid.to_string());
        let serving = serving_s.map_or("not yet".to_owned(), |s| format!("{s:.0} s"));
        table += &format!("{:<10} {port:>5} {pid:>8} {serving:>10} {restarts:>9}\n", tier.name());
    }
    table
}

/// The last line of an answer to a request that was fulfilled.
pub(super) struct Answer {
    pub(super) message: String,
    pub(super) endpoints: Vec<ProcessStatus>,
    pub(super) log: Option<LogDocument>,
}

/// Sends a request to the selected gateway; returns the last line of its answer.
pub(super) fn send_request(
    target: &Target,
    request: &Request,
    mut progress: impl FnMut(Progress),
) -> Result<Answer, CliError> {
    let mut stream = find(target)?;
    // A single step takes less than this, and a tier reports several.
    let step_timeout = Duration::from_millis(limits::REPLACE_MS + limits::CONTROL_TIMEOUT_MS);
    stream.set_read_timeout(Some(step_timeout)).map_err(runtime_error)?;
    let line = serde_json::to_string(request).map_err(runtime_error)? + "\n";
    stream.write_all(line.as_bytes()).map_err(runtime_error)?;
    let mut answer = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let most = limits::CONTROL_LINE_BYTES as u64;
        let read = answer.by_ref().take(most).read_until(b'\n', &mut line);
        read.map_err(|error| runtime_error(format!("the gateway does not answer: {error}")))?;
        if line.is_empty() {
            return Err(runtime_error("the gateway ended before it was done"));
        }
        match serde_json::from_slice(&line).map_err(runtime_error)? {
            ControlMessage::Progress(step) => progress(step),
            ControlMessage::Done { done: false, message, .. } => return Err(runtime_error(message)),
            ControlMessage::Done { message, endpoints, log, .. } => {
                return Ok(Answer { message, endpoints, log });
            }
        }
    }
}

/// Connects to the one running gateway that matches the flags.
fn find(target: &Target) -> Result<UnixStream, CliError> {
    let (shown, dirs) = state_directories(target)?;
    choose(sockets(&dirs), target.base_port.filter(|port| *port != 0), &shown)
}

/// The state directories of the gateways that the flags select, and the directory to name in messages.
pub(super) fn state_directories(target: &Target) -> Result<(PathBuf, Vec<PathBuf>), CliError> {
    let (settings, _) = crate::config::load(target.config.as_deref()).map_err(usage_error)?;
    Ok(match target.state.clone().or(settings.gateway.state_dir) {
        Some(dir) => (dir.clone(), vec![dir]),
        None => {
            let home = xdg_state_home();
            let dirs = entries(&home);
            (home, dirs)
        }
    })
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.take(limits::CONTROL_SOCKET_FILES * 4).map(|entry| entry.path()).collect()
}

/// The control sockets in these directories.
fn sockets(dirs: &[PathBuf]) -> Vec<(u16, PathBuf)> {
    let found = dirs.iter().flat_map(|dir| entries(dir)).filter_map(|path| {
        let port = socket_port(path.file_name()?.to_str()?)?;
        Some((port, path))
    });
    let mut found: Vec<_> = found.take(limits::CONTROL_SOCKET_FILES).collect();
    found.sort();
    found
}

/// Connects to the only socket that answers.
fn choose(sockets: Vec<(u16, PathBuf)>, port: Option<u16>, dir: &Path) -> Result<UnixStream, CliError> {
    let mut answering = Vec::new();
    let mut refusals = String::new();
    for (found, path) in sockets {
        if port.is_some_and(|port| port != found) {
            continue;
        }
        match UnixStream::connect(&path) {
            Ok(stream) => answering.push((found, path, stream)),
            // A killed supervisor leaves its socket file behind.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => refusals += &format!("\n  {}: {error}", path.display()),
        }
    }
    if answering.len() > 1 {
        let list: String = answering
            .iter()
            .map(|(port, path, _)| format!("\n  --base-port {port}  {}", path.display()))
            .collect();
        return Err(runtime_error(format!(
            "several gateways run; say which, with --base-port or --state:{list}"
        )));
    }
    let which = port.map(|port| format!(" on port {port}")).unwrap_or_default();
    answering.pop().map(|(.., stream)| stream).ok_or_else(|| {
        runtime_error(format!(
            "no running gateway{which} has its control socket in {}; was it started by `up`, with this \
             --state, and by this user?{refusals}",
            dir.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use roverline_protocol::Tier;

    use super::*;
    use crate::process::control_socket::socket_name;

    #[test]
    fn the_selected_gateway_is_found_or_the_options_are_listed() {
        let home = std::env::temp_dir().join(format!("roverline-find-{}", std::process::id()));
        let sockets = || super::sockets(&entries(&home));
        assert!(choose(sockets(), None, &home).unwrap_err().message.contains("no running gateway"));
        let mut live = Vec::new();
        for port in [8080, 9000] {
            let dir = home.join(format!("gateway-{port}"));
            std::fs::create_dir_all(&dir).unwrap();
            live.push(UnixListener::bind(dir.join(socket_name(port))).unwrap());
        }
        let why = choose(sockets(), None, &home).unwrap_err().message;
        assert!(why.contains("--base-port 8080") && why.contains("--base-port 9000"), "{why}");
        assert!(choose(sockets(), Some(9000), &home).is_ok());
        assert!(choose(sockets(), Some(9001), &home).unwrap_err().message.contains("9001"));
        // One is killed and leaves its socket file; the other is then the only one.
        live.pop();
        assert!(choose(sockets(), None, &home).is_ok());
        assert!(choose(sockets(), Some(9000), &home).is_err());
        std::fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn the_table_has_a_line_per_endpoint() {
        let status =
            ProcessStatus { tier: Tier::Primary, port: 8080, pid: None, serving_s: None, restarts: 2 };
        let shown = table(&[status]);
        assert!(shown.contains("primary     8080     none    not yet         2\n"), "{shown}");
    }
}
