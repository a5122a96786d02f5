//! What the commands do.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;

use roverline_protocol::Tier;
use roverline_source::dds::DdsSink;
use roverline_source::sim::SimSource;
use roverline_source::{Source, Stop};
use rustix::process::Signal;

use crate::access;
use crate::cli::{FAILED, Failure, RelayArgs, ServeArgs, SimArgs, TokenCommand, USAGE};
use crate::config::{self, Flags, Settings, SourceKind};
use crate::process::endpoint::EndpointOptions;
use crate::process::relay::RelayOptions;
use crate::process::{self, source};
use crate::supervisor::{self, heartbeat};

// By value, to fit `map_err`.
#[expect(clippy::needless_pass_by_value)]
pub(super) fn usage(why: impl ToString) -> Failure {
    Failure { code: USAGE, why: why.to_string() }
}

#[expect(clippy::needless_pass_by_value)]
pub(super) fn failed(why: impl ToString) -> Failure {
    Failure { code: FAILED, why: why.to_string() }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // One thread serves all clients of an endpoint: a sample's fan-out needs no locks that wait and
    // no wake-ups across cores. The source has its own thread.
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)
}

/// Sources that cannot start are told before any port is opened.
fn check_source(settings: &Settings) -> Result<(), Failure> {
    source::sim_options(settings).map_err(usage)?;
    if matches!(settings.gateway.source, SourceKind::Bag | SourceKind::Upstream) {
        source::open(settings, true).map(drop).map_err(usage)?;
    }
    if settings.gateway.source == SourceKind::R2r {
        source::open(settings, true).map(drop).map_err(failed)?;
    }
    Ok(())
}

pub(super) fn token(command: &TokenCommand) -> Result<(), Failure> {
    let TokenCommand::Add { tokens, role, name } = command;
    let token = access::add_token(tokens, *role, name).map_err(failed)?;
    // Nobody may be reading; the token is in the file.
    let _ = writeln!(std::io::stdout(), "{token}");
    Ok(())
}

pub(super) fn up(flags: &Flags) -> Result<(), Failure> {
    supervise(|| flags.resolve().map_err(usage))
}

fn supervise(settings: impl FnOnce() -> Result<Settings, Failure>) -> Result<(), Failure> {
    let with_parent = std::env::var_os(heartbeat::EXIT_WITH_PARENT).is_some();
    if with_parent {
        heartbeat::tie_to_parent(Signal::TERM, None);
    }
    let settings = settings()?;
    check_source(&settings)?;
    let _log = crate::log::start(&settings, "supervisor");
    runtime()?.block_on(supervisor::run(settings)).map_err(failed)
}

pub(super) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    if let Some(parent) = args.supervised
        && !heartbeat::tie_to_parent(Signal::KILL, Some(parent))
    {
        return Err(failed("the supervisor is gone"));
    }
    let handed_over = std::env::var(heartbeat::SETTINGS).ok().filter(|_| args.supervised.is_some());
    let settings = match handed_over {
        Some(json) => config::from_supervisor(&json).map_err(usage)?,
        None => standalone(args)?,
    };
    let listener = listener(args.tier, &settings)?;
    let _log = crate::log::start(&settings, args.tier.name());
    let supervised = args.supervised.is_some();
    let options =
        EndpointOptions { tier: args.tier, settings, listener, supervised, hold: supervised && args.hold };
    let runtime = runtime()?;
    let result = runtime.block_on(process::endpoint::run(options)).map_err(failed);
    runtime.shutdown_background();
    result
}

pub(super) fn relay(args: &RelayArgs) -> Result<(), Failure> {
    let Some(parent) = args.supervised else {
        return supervise(|| args.upstream.resolve(&args.flags).map_err(usage));
    };
    if !heartbeat::tie_to_parent(Signal::KILL, Some(parent)) {
        return Err(failed("the supervisor is gone"));
    }
    let json = std::env::var(heartbeat::SETTINGS).map_err(usage)?;
    let settings = config::from_supervisor(&json).map_err(usage)?;
    let mut handed_over = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for (at, tier) in Tier::ALL.into_iter().enumerate() {
        let listener = handed_over.take_tcp_listener(at).map_err(failed)?;
        listeners.push((tier, listener.ok_or_else(|| failed("the supervisor handed over no socket"))?));
    }
    let _log = crate::log::start(&settings, "relay");
    let runtime = runtime()?;
    let result =
        runtime.block_on(process::relay::run_relay(RelayOptions { settings, listeners })).map_err(failed);
    runtime.shutdown_background();
    result
}

fn standalone(args: &ServeArgs) -> Result<Settings, Failure> {
    let mut settings = args.flags.resolve().map_err(usage)?;
    if args.port.is_some() {
        settings.endpoint_mut(args.tier).port = args.port;
    }
    for (tier, address) in &args.peers {
        settings.endpoint_mut(*tier).address = Some(address.clone());
    }
    check_source(&settings)?;
    settings.begin_sim();
    Ok(settings)
}

/// The socket that the supervisor or systemd handed over, else our own.
fn listener(tier: Tier, settings: &Settings) -> Result<TcpListener, Failure> {
    if let Some(listener) = listenfd::ListenFd::from_env().take_tcp_listener(0).map_err(failed)? {
        return Ok(listener);
    }
    supervisor::bind(&settings.gateway.host, settings.port(tier), tier).map_err(failed)
}

pub(super) fn sim(args: &SimArgs) -> Result<(), Failure> {
    if !args.dds {
        return Err(usage(
            "say how to publish the rover: --dds publishes it into ROS 2; \
             `roverline-gateway up --source sim` serves it without ROS",
        ));
    }
    let mut settings = args.flags.resolve().map_err(usage)?;
    settings.gateway.source = SourceKind::Sim;
    settings.begin_sim();
    let options = source::sim_options(&settings).map_err(usage)?;
    let _log = crate::log::start(&settings, "sim");
    let mut dds = source::dds_options(&settings);
    dds.node_name = "roverline_sim".to_owned();
    let sink = Arc::new(DdsSink::new(&dds).map_err(failed)?);
    println!("publishing the built-in rover into ROS domain {}; ^C ends it", settings.ros.domain_id);
    let stop = Stop::default();
    let publishing = std::thread::Builder::new()
        .name("sim".to_owned())
        .spawn({
            let stop = stop.clone();
            move || Box::new(SimSource::new(options)).run(sink, stop)
        })
        .map_err(failed)?;
    runtime()?
        .block_on(async {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                _ = terminate.recv() => {}
                result = tokio::signal::ctrl_c() => result?,
            }
            Ok::<_, std::io::Error>(())
        })
        .map_err(failed)?;
    stop.set();
    match publishing.join() {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(failed("the rover's thread panicked; the log has the reason")),
    }
}

pub(super) fn config(flags: &Flags) -> Result<(), Failure> {
    let settings = flags.resolve().map_err(usage)?;
    print!("{}", toml::to_string(&settings).map_err(failed)?);
    Ok(())
}
