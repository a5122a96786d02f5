//! Makes the configured source and keeps it running on a thread of its own.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use roverline_protocol::backoff::{Backoff, Jitter};
use roverline_source::bag::{BagOptions, BagSource, Steering, orders_file};
use roverline_source::dds::{DdsOptions, DdsSource};
use roverline_source::r2r::{R2rOptions, R2rSource};
use roverline_source::sim::{Fault, SimOptions, SimSource};
use roverline_source::upstream::{UpstreamOptions, UpstreamSource};
use roverline_source::{
    Call, Listen, MAX_SERVICES, PlaybackControl, Publication, PublishError, Publisher, Service, Sink, Source,
    SourceError, SourceState, Stop, StopOrder,
};

use crate::config::{Settings, SourceKind};

/// A source on its thread.
pub struct Running {
    /// Ends it.
    pub stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Tells the source to end and waits until it has left the graph, but no longer than `patience`.
    pub async fn end(self, patience: Duration) {
        self.stop.set();
        let deadline = tokio::time::Instant::now() + patience;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
            && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The publisher of whichever source runs now.
#[derive(Default)]
pub struct Outlet {
    publisher: Mutex<Option<Arc<dyn Publisher>>>,
    services: Mutex<Vec<Service>>,
}

impl Outlet {
    fn running(&self) -> Result<Arc<dyn Publisher>, PublishError> {
        let publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner).clone();
        publisher.ok_or_else(|| PublishError::Failed("the source is not running".to_owned()))
    }

    /// The source that runs now, or none. What was offered is offered by the new one as well.
    fn set(&self, publisher: Option<Arc<dyn Publisher>>) {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(publisher) = &publisher {
            for service in services.iter() {
                if let Err(error) = publisher.offer(service.clone()) {
                    tracing::debug!("{error}");
                }
            }
        }
        *self.publisher.lock().unwrap_or_else(PoisonError::into_inner) = publisher;
    }
}

impl Publisher for Outlet {
    fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.running()?.publish(publication)
    }

    fn forward_stop(&self, order: StopOrder) -> Result<(), PublishError> {
        self.running()?.forward_stop(order)
    }

    fn control(&self, control: PlaybackControl) -> Result<(), PublishError> {
        self.running()?.control(control)
    }

    fn withdraw(&self, name: &str) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.retain(|known| known.name != name || known.open.load(Ordering::Relaxed));
        if let Ok(publisher) = self.running() {
            publisher.withdraw(name);
        }
    }

    fn call(&self, call: Call) -> Result<(), PublishError> {
        self.running()?.call(call)
    }

    fn listen(&self, listen: Listen) -> Result<(), PublishError> {
        self.running()?.listen(listen)
    }

    fn offer(&self, service: Service) -> Result<(), PublishError> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if services.len() >= MAX_SERVICES {
            return Err(PublishError::Busy(MAX_SERVICES));
        }
        services.retain(|known| known.name != service.name);
        let publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner).clone();
        publisher.map_or(Ok(()), |publisher| publisher.offer(service.clone()))?;
        services.push(service);
        Ok(())
    }
}

/// Starts the source's thread; its way back goes into `outlet`. A live source that fails is made
/// anew, with backoff.
pub fn start(settings: Settings, supervised: bool, sink: &Arc<dyn Sink>, outlet: Arc<Outlet>) -> Running {
    let mut running = Running { stop: Stop::default(), thread: None };
    let stop = running.stop.clone();
    let spawned = std::thread::Builder::new().name("source".to_owned()).spawn({
        let sink = sink.clone();
        move || run_for_ever(&settings, supervised, &sink, &stop, &outlet)
    });
    match spawned {
        Ok(thread) => running.thread = Some(thread),
        Err(error) => sink.state(SourceState::Failed(format!("no thread for the source: {error}"))),
    }
    running
}

fn run_for_ever(settings: &Settings, supervised: bool, sink: &Arc<dyn Sink>, stop: &Stop, outlet: &Outlet) {
    let live = matches!(settings.gateway.source, SourceKind::Dds | SourceKind::R2r | SourceKind::Upstream);
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    let mut jitter = Jitter::new(u64::from(std::process::id()));
    loop {
        let result = open(settings, supervised).and_then(|source| {
            outlet.set(Some(source.publisher()));
            source.run(sink.clone(), stop.clone())
        });
        outlet.set(None);
        if let Err(SourceError(why)) = result {
            eprintln!("roverline-gateway: source: {why}");
            sink.state(SourceState::Failed(why));
        }
        if !live || stop.wait(backoff.fail(jitter.unit())) {
            return;
        }
    }
}

/// Makes the configured source.
pub fn open(settings: &Settings, supervised: bool) -> Result<Box<dyn Source>, SourceError> {
    Ok(match settings.gateway.source {
        SourceKind::Dds => Box::new(DdsSource::new(&dds_options(settings))?),
        SourceKind::R2r => Box::new(R2rSource::new(&R2rOptions {
            node_name: settings.ros.node_name.clone(),
            ..R2rOptions::default()
        })?),
        SourceKind::Bag => Box::new(BagSource::open(bag_options(settings, supervised))?),
        SourceKind::Sim => Box::new(SimSource::new(sim_options(settings)?)),
        SourceKind::Upstream => Box::new(UpstreamSource::new(UpstreamOptions {
            urls: settings.upstream.urls.clone(),
            token: settings.upstream.token.clone(),
            topics: settings.upstream.topics.clone(),
            max_rate_hz: settings.upstream.max_rate_hz,
            emergency_stop_topic: settings.gateway.emergency_stop_topic.clone(),
        })?),
    })
}

/// The options of a DDS participant.
pub fn dds_options(settings: &Settings) -> DdsOptions {
    DdsOptions {
        domain_id: settings.ros.domain_id,
        node_name: settings.ros.node_name.clone(),
        ros_distro: std::env::var("ROS_DISTRO").unwrap_or_default(),
        localhost_only: settings.ros.localhost_only,
        vital_topic: settings.gateway.emergency_stop_topic.clone(),
        ..DdsOptions::default()
    }
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
        // Alone, nothing is played before somebody listens; four in step begin together.
        wait: bag.epoch_ns.is_none(),
        progress: !supervised,
        steering: Some(match bag.epoch_ns {
            Some(epoch) => Steering::Shared(orders_file(&settings.state_dir(), epoch)),
            None => Steering::Alone,
        }),
    }
}

/// The options of the built-in rover; a fault that is not one is an error that lists them.
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
