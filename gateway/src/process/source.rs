//! Creates the configured source and runs it on its own thread.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_client::TlsOptions;
use roverline_protocol::Tier;
use roverline_protocol::backoff::{Backoff, Jitter};
use roverline_protocol::printable::printable_lines;
use roverline_source::bag::{BagOptions, BagSource, ControlScope, control_log_file};
use roverline_source::dds::{DdsOptions, DdsSource};
use roverline_source::r2r::{R2rOptions, R2rSource};
use roverline_source::sim::{Fault, SimOptions, SimSource};
use roverline_source::upstream::{UpstreamOptions, UpstreamSource};
use roverline_source::{
    Call, EmergencyStopRequest, MAX_SERVICES, PlaybackControl, Publication, PublishError, Service, Sink,
    Source, SourceControl, SourceError, SourceState, StopFlag, TopicListener,
};
use tokio::sync::oneshot;

use crate::config::{Interface, Settings, SourceKind};

/// A running source.
pub struct SourceHandle {
    /// Set to stop the source.
    pub stop: StopFlag,
    /// Closed when the source's thread has ended.
    ended: oneshot::Receiver<Infallible>,
}

impl SourceHandle {
    /// Stops the source and waits until it has left the graph, at most `timeout`.
    pub async fn shutdown(self, timeout: Duration) {
        self.stop.set();
        let _ = tokio::time::timeout(timeout, self.ended).await;
    }
}

/// The control handle of whichever source currently runs; remembers offered services across restarts.
#[derive(Default)]
pub struct SourceControlHandle {
    source: Mutex<Option<Arc<dyn SourceControl>>>,
    services: Mutex<Vec<Service>>,
}

impl SourceControlHandle {
    fn running(&self) -> Result<Arc<dyn SourceControl>, PublishError> {
        let source = self.source.lock().clone();
        source.ok_or_else(|| PublishError::Failed("the source is not running".to_owned()))
    }

    /// Sets or clears the running source. Services offered earlier are offered to the new one as well.
    fn set(&self, source: Option<Arc<dyn SourceControl>>) {
        let services = self.services.lock();
        if let Some(source) = &source {
            for service in services.iter() {
                if let Err(error) = source.offer(service.clone()) {
                    tracing::debug!("{error}");
                }
            }
        }
        *self.source.lock() = source;
    }
}

impl SourceControl for SourceControlHandle {
    fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.running()?.publish(publication)
    }

    fn forward_emergency_stop(&self, request: EmergencyStopRequest) -> Result<(), PublishError> {
        self.running()?.forward_emergency_stop(request)
    }

    fn control_playback(&self, control: PlaybackControl) -> Result<(), PublishError> {
        self.running()?.control_playback(control)
    }

    fn withdraw(&self, name: &str) {
        let mut services = self.services.lock();
        services.retain(|known| known.name != name || known.open.load(Ordering::Relaxed));
        if let Ok(source) = self.running() {
            source.withdraw(name);
        }
    }

    fn call(&self, call: Call) -> Result<(), PublishError> {
        self.running()?.call(call)
    }

    fn listen(&self, listen: TopicListener) -> Result<(), PublishError> {
        self.running()?.listen(listen)
    }

    fn offer(&self, service: Service) -> Result<(), PublishError> {
        let mut services = self.services.lock();
        if services.len() >= MAX_SERVICES {
            return Err(PublishError::Busy(MAX_SERVICES));
        }
        services.retain(|known| known.name != service.name);
        let source = self.source.lock().clone();
        source.map_or(Ok(()), |source| source.offer(service.clone()))?;
        services.push(service);
        Ok(())
    }
}

/// Starts the source's thread and publishes its control through `control`. A live source that fails is
/// recreated with backoff, and `stagger` later than a single one would be. `tier` is the process's own.
pub fn start(
    settings: Settings,
    tier: Tier,
    supervised: bool,
    sink: &Arc<dyn Sink>,
    control: Arc<SourceControlHandle>,
    stagger: Duration,
) -> SourceHandle {
    let (running, ended) = oneshot::channel();
    let stop = StopFlag::default();
    let spawned = std::thread::Builder::new().name("source".to_owned()).spawn({
        let (sink, stop) = (sink.clone(), stop.clone());
        move || {
            // Dropped when the thread ends, however it ends.
            let _running = running;
            run_with_restarts((&settings, tier), supervised, &sink, &stop, &control, stagger);
        }
    });
    if let Err(error) = spawned {
        sink.state(SourceState::Failed(format!("no thread for the source: {error}")));
    }
    SourceHandle { stop, ended }
}

fn run_with_restarts(
    (settings, tier): (&Settings, Tier),
    supervised: bool,
    sink: &Arc<dyn Sink>,
    stop: &StopFlag,
    control: &SourceControlHandle,
    stagger: Duration,
) {
    let kind = settings.gateway.source;
    let _span = tracing::info_span!("source", kind = kind.name()).entered();
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    let mut jitter = Jitter::new(u64::from(std::process::id()));
    loop {
        let result = open(settings, tier, supervised).and_then(|source| {
            control.set(Some(source.control()));
            source.run(sink.clone(), stop.clone())
        });
        control.set(None);
        if let Err(SourceError(why)) = result {
            // Standard error may be gone with the supervisor or its terminal.
            let _ = writeln!(std::io::stderr(), "roverline-gateway: source: {}", printable_lines(&why));
            sink.state(SourceState::Failed(why));
        }
        if !kind.reopens() || stop.wait(backoff.fail(jitter.unit()) + stagger) {
            return;
        }
    }
}

/// Creates the configured source for the endpoint of a tier.
pub fn open(settings: &Settings, tier: Tier, supervised: bool) -> Result<Box<dyn Source>, SourceError> {
    Ok(match settings.gateway.source {
        SourceKind::Dds => Box::new(DdsSource::new(&dds_options(settings, tier)?)?),
        SourceKind::R2r => Box::new(R2rSource::new(&R2rOptions {
            node_name: node_name(settings, tier),
            ..R2rOptions::default()
        })?),
        SourceKind::Bag => Box::new(BagSource::open(bag_options(settings, supervised))?),
        SourceKind::Sim => Box::new(SimSource::new(sim_options(settings)?)),
        SourceKind::Upstream => Box::new(UpstreamSource::new(UpstreamOptions {
            urls: settings.upstream.urls.clone(),
            token: settings.upstream.token.clone(),
            tls: TlsOptions {
                ca: settings.upstream.ca.clone(),
                cert: settings.upstream.cert.clone(),
                key: settings.upstream.key.clone(),
                known_hosts: Some(settings.state_dir().join("known_hosts")),
            },
            topics: settings.upstream.topics.clone(),
            max_rate_hz: settings.upstream.max_rate_hz,
            emergency_stop_topic: settings.gateway.emergency_stop_topic.clone(),
        })?),
    })
}

/// The name of a tier's node: nodes of one name disturb each other in ROS.
fn node_name(settings: &Settings, tier: Tier) -> String {
    match settings.ros.node_name.as_str() {
        "" => String::new(),
        name => format!("{name}_{tier}"),
    }
}

/// The configuration of the DDS participant of a tier's endpoint.
pub fn dds_options(settings: &Settings, tier: Tier) -> Result<DdsOptions, SourceError> {
    let known = if_addrs::get_if_addrs().unwrap_or_default().into_iter();
    let known: Vec<_> = known.map(|one| Interface { address: one.ip(), name: one.name }).collect();
    Ok(DdsOptions {
        engine: settings.dds.engine.of(tier),
        domain_id: settings.ros.domain_id,
        node_name: node_name(settings, tier),
        ros_distro: std::env::var("ROS_DISTRO").unwrap_or_default(),
        localhost_only: settings.ros.localhost_only,
        networks: settings.dds.addresses(&known).map_err(SourceError)?,
        multicast: settings.ros.multicast,
        peers: settings.ros.static_peers.clone(),
        reserved_topic: settings.gateway.emergency_stop_topic.clone(),
        ..DdsOptions::default()
    })
}

fn bag_options(settings: &Settings, supervised: bool) -> BagOptions {
    let bag = &settings.bag;
    BagOptions {
        file: bag.file.clone().unwrap_or_default(),
        rate: bag.rate,
        looped: bag.looped,
        start: Duration::from_secs_f64(bag.start_s),
        epoch_unix_ns: bag.epoch_ns,
        epoch_monotonic_ns: bag.epoch_monotonic_ns,
        // A single endpoint waits for its first subscriber; four in step start together.
        wait: bag.epoch_ns.is_none(),
        progress: !supervised,
        control: Some(match bag.epoch_ns {
            Some(epoch) => ControlScope::Shared(control_log_file(&settings.state_dir(), epoch)),
            None => ControlScope::ThisProcess,
        }),
    }
}

/// The configuration of the built-in rover; an unknown fault is an error that lists the valid ones.
pub fn sim_options(settings: &Settings) -> Result<SimOptions, SourceError> {
    let sim = &settings.sim;
    let now = SimOptions::starting_now(sim.seed);
    let (epoch, monotonic) = match sim.epoch_ns {
        Some(epoch) => (epoch, sim.epoch_monotonic_ns),
        None => (now.epoch_unix_ns, now.epoch_monotonic_ns),
    };
    let faults = sim.faults.iter().map(|text| Fault::parse(text)).collect::<Result<_, _>>();
    Ok(SimOptions {
        epoch_unix_ns: epoch,
        epoch_monotonic_ns: monotonic,
        faults: faults.map_err(|error| SourceError(error.to_string()))?,
        inputs_file: Some(settings.rover_dir().join("sim-inputs.jsonl")),
        ..now
    })
}

/// Starts a new playback of the recording for four processes, one second from now unless a time was
/// given, so that they can start and clients can connect.
pub fn prepare_bag_run(settings: &mut Settings) {
    if settings.gateway.source != SourceKind::Bag {
        return;
    }
    let (unix_ns, monotonic_ns) = roverline_source::bag::wall_and_monotonic_ns();
    let epoch = *settings.bag.epoch_ns.get_or_insert(unix_ns.saturating_add(1_000_000_000));
    let ahead = epoch.saturating_sub(unix_ns);
    settings.bag.epoch_monotonic_ns = Some(monotonic_ns.saturating_add(ahead));
    roverline_source::bag::remove_control_log(&settings.state_dir(), epoch);
}

/// Starts a new run of the built-in rover and removes the state of earlier runs.
pub fn prepare_sim_run(settings: &mut Settings) {
    if settings.gateway.source != SourceKind::Sim {
        return;
    }
    let _ = std::fs::remove_dir_all(settings.state_dir().join("sim"));
    let rover = roverline_source::sim::SimOptions::starting_now(settings.sim.seed);
    settings.sim.epoch_ns = Some(rover.epoch_unix_ns);
    settings.sim.epoch_monotonic_ns = rover.epoch_monotonic_ns;
}
