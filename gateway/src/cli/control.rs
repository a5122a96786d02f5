//! `restart` and `status`: what a running gateway is told and asked through its control socket.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roverline_protocol::limits;

use crate::cli::commands::{failed, usage};
use crate::cli::{Failure, RestartArgs, StatusArgs, Target};
use crate::config::{Flags, xdg_state_home};
use crate::supervisor::control::{Line, Request, socket_port};
use crate::supervisor::{Post, Progress};

pub(super) fn restart(args: &RestartArgs) -> Result<(), Failure> {
    if !args.rolling {
        return Err(usage(
            "add --rolling: the endpoints are replaced one after another, and nothing is lost; \
             to start all of them anew at once, stop the gateway and start it again",
        ));
    }
    let request = Request::Restart { rolling: true, tier: args.tier };
    let (done, message, _) = ask(&args.target, request, show)?;
    if !done {
        return Err(failed(message));
    }
    say(&format!("{message}\n"));
    Ok(())
}

pub(super) fn status(args: &StatusArgs) -> Result<(), Failure> {
    let (done, message, posts) = ask(&args.target, Request::Status, |_| ())?;
    if !done {
        return Err(failed(message));
    }
    if args.json {
        say(&format!("{}\n", serde_json::to_string(&posts).map_err(failed)?));
    } else {
        say(&table(&posts));
    }
    Ok(())
}

/// Nobody may be reading; that is no reason to fail.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn show(progress: Progress) {
    let Progress { tier, step, after_ms, text, .. } = progress;
    say(&format!("{:<10} {step:<8} {:>5.1} s  {text}\n", tier.name(), after_ms as f64 / 1e3));
}

fn table(posts: &[Post]) -> String {
    let mut table = format!("{:<10} {:>5} {:>8} {:>10} {:>9}\n", "TIER", "PORT", "PID", "SERVES", "RESTARTS");
    for Post { tier, port, pid, serving_s, restarts } in posts {
        let pid = pid.map_or("none".to_owned(), |pid| pid.to_string());
        let serving = serving_s.map_or("not yet".to_owned(), |s| format!("{s:.0} s"));
        table += &format!("{:<10} {port:>5} {pid:>8} {serving:>10} {restarts:>9}\n", tier.name());
    }
    table
}

/// Asks the gateway that is meant; the last line of its answer.
fn ask(
    target: &Target,
    request: Request,
    mut progress: impl FnMut(Progress),
) -> Result<(bool, String, Vec<Post>), Failure> {
    let mut stream = find(target)?;
    // A step takes less than this, and a tier tells several.
    let patience = Duration::from_millis(limits::REPLACE_MS + limits::CONTROL_PATIENCE_MS);
    stream.set_read_timeout(Some(patience)).map_err(failed)?;
    let line = serde_json::to_string(&request).map_err(failed)? + "\n";
    stream.write_all(line.as_bytes()).map_err(failed)?;
    let mut answer = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let most = limits::CONTROL_LINE_BYTES as u64;
        let read = answer.by_ref().take(most).read_until(b'\n', &mut line);
        read.map_err(|error| failed(format!("the gateway does not answer: {error}")))?;
        if line.is_empty() {
            return Err(failed("the gateway ended before it was done"));
        }
        match serde_json::from_slice(&line).map_err(failed)? {
            Line::Progress(step) => progress(step),
            Line::Done { done, message, endpoints } => return Ok((done, message, endpoints)),
        }
    }
}

/// Connects to the one running gateway that the flags leave.
fn find(target: &Target) -> Result<UnixStream, Failure> {
    let flags = Flags { config: target.config.clone(), state: target.state.clone(), ..Flags::default() };
    let (mut settings, _) = crate::config::load(flags.config.as_deref()).map_err(usage)?;
    if flags.state.is_some() {
        settings.gateway.state_dir = flags.state;
    }
    let named = settings.gateway.state_dir;
    let shown = named.clone().unwrap_or_else(xdg_state_home);
    let sockets = sockets(named.as_deref(), &shown);
    choose(sockets, target.base_port.filter(|port| *port != 0), &shown).map_err(failed)
}

/// The control sockets in a gateway's directory, or in those of all gateways in the XDG directory.
fn sockets(named: Option<&Path>, home: &Path) -> Vec<(u16, PathBuf)> {
    let entries = |dir: &Path| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.take(limits::CONTROL_SOCKET_FILES * 4).map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let dirs = match named {
        Some(dir) => vec![dir.to_owned()],
        None => entries(home),
    };
    let found = dirs.iter().flat_map(|dir| entries(dir)).filter_map(|path| {
        let port = socket_port(path.file_name()?.to_str()?)?;
        Some((port, path))
    });
    let mut found: Vec<_> = found.take(limits::CONTROL_SOCKET_FILES).collect();
    found.sort();
    found
}

/// Connects to the only one of these that answers; an error is a sentence.
fn choose(sockets: Vec<(u16, PathBuf)>, port: Option<u16>, dir: &Path) -> Result<UnixStream, String> {
    let mut answering = Vec::new();
    let mut refusals = String::new();
    for (found, path) in sockets {
        if port.is_some_and(|port| port != found) {
            continue;
        }
        match UnixStream::connect(&path) {
            Ok(stream) => answering.push((found, path, stream)),
            // A supervisor that was killed leaves its socket behind.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => refusals += &format!("\n  {}: {error}", path.display()),
        }
    }
    if answering.len() > 1 {
        let list: String = answering
            .iter()
            .map(|(port, path, _)| format!("\n  --base-port {port}  {}", path.display()))
            .collect();
        return Err(format!("several gateways run; say which, with --base-port or --state:{list}"));
    }
    let which = port.map(|port| format!(" on port {port}")).unwrap_or_default();
    answering.pop().map(|(.., stream)| stream).ok_or_else(|| {
        format!(
            "no running gateway{which} has its control socket in {}; was it started by `up`, with this \
             --state, and by this user?{refusals}",
            dir.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use roverline_protocol::Tier;

    use super::*;
    use crate::supervisor::control::socket_name;

    #[test]
    fn the_gateway_that_is_meant_is_found_or_the_way_to_it_is_said() {
        let home = std::env::temp_dir().join(format!("roverline-find-{}", std::process::id()));
        let sockets = || super::sockets(None, &home);
        assert!(choose(sockets(), None, &home).unwrap_err().contains("no running gateway"));
        let mut live = Vec::new();
        for port in [8080, 9000] {
            let dir = home.join(format!("gateway-{port}"));
            std::fs::create_dir_all(&dir).unwrap();
            live.push(UnixListener::bind(dir.join(socket_name(port))).unwrap());
        }
        let why = choose(sockets(), None, &home).unwrap_err();
        assert!(why.contains("--base-port 8080") && why.contains("--base-port 9000"), "{why}");
        assert!(choose(sockets(), Some(9000), &home).is_ok());
        assert!(choose(sockets(), Some(9001), &home).unwrap_err().contains("9001"));
        // One is killed, its socket stays: the other is the only one.
        live.pop();
        assert!(choose(sockets(), None, &home).is_ok());
        assert!(choose(sockets(), Some(9000), &home).is_err());
        std::fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn the_table_has_a_line_per_endpoint() {
        let post = Post { tier: Tier::Primary, port: 8080, pid: None, serving_s: None, restarts: 2 };
        let shown = table(&[post]);
        assert!(shown.contains("primary     8080     none    not yet         2\n"), "{shown}");
    }
}
