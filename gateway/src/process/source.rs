//! Creates the configured source.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roverline_client::TlsOptions;
use roverline_protocol::{Guid, Tier};
use roverline_source::bag::{BagOptions, BagSource, ControlScope, control_log_file};
use roverline_source::dds::{DdsOptions, DdsSource};
use roverline_source::r2r::{R2rOptions, R2rSource, fast_dds_environment};
use roverline_source::sim::{Fault, SimOptions, SimSource};
use roverline_source::upstream::{UpstreamOptions, UpstreamSource};
use roverline_source::{Source, SourceError};

use crate::config::{Interface, Settings, SourceKind};

/// Creates the configured source for the endpoint of a tier.
pub fn open(settings: &Settings, tier: Tier, supervised: bool) -> Result<Box<dyn Source>, SourceError> {
    Ok(match settings.gateway.source {
        SourceKind::Dds => Box::new(DdsSource::new(&dds_options(settings, tier)?)?),
        SourceKind::R2r => Box::new(R2rSource::new(&R2rOptions {
            node_name: node_name(settings, tier),
            numbers: Some(sample_numbers(&settings.state_dir())),
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

/// The environment that the processes of the endpoints need for their source.
pub fn environment(settings: &Settings) -> Vec<(String, OsString)> {
    if settings.gateway.source != SourceKind::R2r {
        return Vec::new();
    }
    fast_dds_environment(&settings.state_dir(), |name| std::env::var_os(name)).unwrap_or_else(|error| {
        tracing::warn!("no profile of Fast DDS, which may use shared memory: {error}");
        Vec::new()
    })
}

/// The folder of the sample numbers that the endpoints of one state folder share: in memory if the system offers such a
/// folder, because a disk that stalls would hold up samples.
fn sample_numbers(state: &Path) -> PathBuf {
    let memory = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"].into_iter().filter_map(std::env::var_os);
    match memory.map(PathBuf::from).find(|folder| folder.is_dir()) {
        Some(folder) => folder.join(format!("roverline-{}", Guid::from_name(&state.display().to_string()))),
        None => state.join("sample-numbers"),
    }
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
        networks: settings.dds.addresses(&known).map_err(|error| SourceError(error.to_string()))?,
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
        scratch: settings.state_dir().join("unpacked"),
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
