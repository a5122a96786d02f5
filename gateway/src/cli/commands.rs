//! The implementations of the commands.

use std::net::TcpListener;
use std::sync::Arc;

use roverline_protocol::Tier;
use roverline_source::dds::DdsSink;
use roverline_source::sim::SimSource;
use roverline_source::{Source, StopFlag};
use rustix::process::Signal;

use crate::cli::error::{CliError, runtime_error, usage_error};
use crate::cli::{RelayArgs, ServeArgs, SimArgs, SupervisionFlags, UpArgs};
use crate::config::{self, Flags, Settings, SourceKind};
use crate::endpoint::trace_export;
use crate::process::endpoint::EndpointOptions;
use crate::process::relay::RelayOptions;
use crate::process::{self, heartbeat, source};
use crate::server::tls;
use crate::supervisor::{self, SupervisorOptions};
use crate::trace::export_queue::ExportQueue;
use crate::trace::ring::SpanRing;

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    // One thread serves all clients of an endpoint, so fan-out needs neither contended locks nor wake-ups
    // across cores. The source has its own thread.
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(runtime_error)
}

/// Reports a source that cannot start, or a file for TLS or the export of traces that cannot be used, before any port is opened. A recording that
/// had to be unpacked stays so as long as what is returned.
fn check_source(settings: &Settings) -> Result<Option<Box<dyn Source>>, CliError> {
    source::sim_options(settings).map_err(usage_error)?;
    tls::check(&settings.tls).map_err(usage_error)?;
    trace_export::check(&settings.trace).map_err(usage_error)?;
    let kind = settings.gateway.source;
    if !kind.is_tried_at_start() {
        return Ok(None);
    }
    let fault = if kind.is_ros_graph() { runtime_error } else { usage_error };
    let opened = source::open(settings, Tier::Primary, true).map_err(fault)?;
    Ok((kind == SourceKind::Bag).then_some(opened))
}

pub(super) fn up(args: &UpArgs) -> Result<(), CliError> {
    supervise(&args.supervision, || args.flags.resolve().map_err(usage_error))
}

fn supervise(
    flags: &SupervisionFlags,
    settings: impl FnOnce() -> Result<Settings, CliError>,
) -> Result<(), CliError> {
    let with_parent = std::env::var_os(heartbeat::EXIT_WITH_PARENT).is_some();
    if with_parent {
        heartbeat::die_with_parent(Signal::TERM, None);
    }
    let settings = settings()?;
    let _recording = check_source(&settings)?;
    let (log, _guard) = crate::log::start(&settings, "supervisor", None);
    // A supervisor that must not outlive its parent must not leave endpoints behind either.
    let die_with_supervisor = with_parent || flags.die_with_supervisor;
    let options = SupervisorOptions { settings, log, die_with_supervisor };
    runtime()?.block_on(supervisor::run(options)).map_err(runtime_error)
}

/// Makes this process end with its supervisor, if it is to.
fn follow_supervisor(supervisor: u32) -> Result<(), CliError> {
    let survives = std::env::var_os(heartbeat::DIE_WITH_SUPERVISOR).is_none();
    match survives || heartbeat::die_with_parent(Signal::KILL, Some(supervisor)) {
        true => Ok(()),
        false => Err(runtime_error("the supervisor is gone")),
    }
}

pub(super) fn serve(args: &ServeArgs) -> Result<(), CliError> {
    args.supervised.map_or(Ok(()), follow_supervisor)?;
    let handed_over = std::env::var(heartbeat::SETTINGS).ok().filter(|_| args.supervised.is_some());
    let (settings, _recording) = match handed_over {
        Some(json) => (config::from_supervisor(&json).map_err(usage_error)?, None),
        None => standalone(args)?,
    };
    let listener = listener(args.tier, &settings)?;
    let spans = spans(&settings, args.tier.name());
    let (log, _guard) = crate::log::start(&settings, args.tier.name(), spans.as_ref());
    process::memory::set_limit(settings.process.memory_mib);
    let supervised = args.supervised.is_some();
    let options = EndpointOptions {
        tier: args.tier,
        settings,
        listener,
        spans,
        log,
        supervised,
        defer_accept: supervised && args.hold,
    };
    let runtime = runtime()?;
    let result = runtime.block_on(process::endpoint::run(options)).map_err(runtime_error);
    runtime.shutdown_background();
    result
}

pub(super) fn relay(args: &RelayArgs) -> Result<(), CliError> {
    let Some(parent) = args.supervised else {
        return supervise(&args.supervision, || args.upstream.resolve(&args.flags).map_err(usage_error));
    };
    follow_supervisor(parent)?;
    let json = std::env::var(heartbeat::SETTINGS).map_err(usage_error)?;
    let settings = config::from_supervisor(&json).map_err(usage_error)?;
    let mut handed_over = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for (at, tier) in Tier::ALL.into_iter().enumerate() {
        let listener = handed_over.take_tcp_listener(at).map_err(runtime_error)?;
        listeners
            .push((tier, listener.ok_or_else(|| runtime_error("the supervisor handed over no socket"))?));
    }
    let spans = spans(&settings, "relay");
    let (log, _guard) = crate::log::start(&settings, "relay", spans.as_ref());
    process::memory::set_limit(settings.process.memory_mib);
    let runtime = runtime()?;
    let result = runtime
        .block_on(process::relay::run_relay(RelayOptions { settings, listeners, spans, log }))
        .map_err(runtime_error);
    runtime.shutdown_background();
    result
}

/// The ring of the spans of this process, unless traces are off.
fn spans(settings: &Settings, process: &'static str) -> Option<Arc<SpanRing>> {
    let ring = settings.trace.enabled.then(|| SpanRing::new(process))?;
    Some(Arc::new(match settings.trace.otlp.is_some() {
        true => ring.exported(Arc::new(ExportQueue::new(settings.trace.otlp_observers))),
        false => ring,
    }))
}

fn standalone(args: &ServeArgs) -> Result<(Settings, Option<Box<dyn Source>>), CliError> {
    let mut settings = args.flags.resolve().map_err(usage_error)?;
    if args.port.is_some() {
        settings.endpoint_mut(args.tier).port = args.port;
    }
    for (tier, address) in &args.peers {
        settings.endpoint_mut(*tier).address = Some(address.clone());
    }
    let recording = check_source(&settings)?;
    source::prepare_sim_run(&mut settings);
    Ok((settings, recording))
}

/// The socket passed by the supervisor or systemd, otherwise a newly bound one.
fn listener(tier: Tier, settings: &Settings) -> Result<TcpListener, CliError> {
    if let Some(listener) = listenfd::ListenFd::from_env().take_tcp_listener(0).map_err(runtime_error)? {
        return Ok(listener);
    }
    supervisor::bind(&settings.gateway.host, settings.port(tier), tier).map_err(runtime_error)
}

pub(super) fn sim(args: &SimArgs) -> Result<(), CliError> {
    if !args.dds {
        return Err(usage_error(
            "say how to publish the rover: --dds publishes it into ROS 2; \
             `roverline-gateway up --source sim` serves it without ROS",
        ));
    }
    let mut settings = args.flags.resolve().map_err(usage_error)?;
    settings.gateway.source = SourceKind::Sim;
    source::prepare_sim_run(&mut settings);
    let options = source::sim_options(&settings).map_err(usage_error)?;
    let _log = crate::log::start(&settings, "sim", None);
    let mut dds = source::dds_options(&settings, Tier::Primary).map_err(runtime_error)?;
    dds.node_name = "roverline_sim".to_owned();
    let sink = Arc::new(DdsSink::new(&dds).map_err(runtime_error)?);
    println!("publishing the built-in rover into ROS domain {}; ^C ends it", settings.ros.domain_id);
    let stop = StopFlag::default();
    let publishing = std::thread::Builder::new()
        .name("sim".to_owned())
        .spawn({
            let stop = stop.clone();
            move || Box::new(SimSource::new(options)).run(sink, stop)
        })
        .map_err(runtime_error)?;
    runtime()?
        .block_on(async {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                _ = terminate.recv() => {}
                result = tokio::signal::ctrl_c() => result?,
            }
            Ok::<_, std::io::Error>(())
        })
        .map_err(runtime_error)?;
    stop.set();
    match publishing.join() {
        Ok(result) => result.map_err(runtime_error),
        Err(_) => Err(runtime_error("the rover's thread panicked; the log has the reason")),
    }
}

pub(super) fn config(flags: &Flags) -> Result<(), CliError> {
    let settings = flags.resolve().map_err(usage_error)?.without_secrets();
    print!("{}", toml::to_string(&settings).map_err(runtime_error)?);
    Ok(())
}
