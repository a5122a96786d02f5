//! The control handle of the running source.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

use parking_lot::Mutex;
use roverline_source::{
    Advertisement, Call, EmergencyStopRequest, MAX_SERVICES, PlaybackControl, Publication, PublishError,
    Service, SourceControl, SourceError, TopicListener, UpstreamRequest,
};

/// Advertised topics that are remembered for the next run of the source.
const MAX_ADVERTISEMENTS: usize = 1_024;

/// An event for the thread that keeps the source running.
pub(super) enum RunEvent {
    /// The source should rejoin the graph.
    Rejoin,
    /// The run of this number has ended.
    Ended(u64, Result<(), SourceError>),
}

/// The control handle of the running source. It remembers offered services across restarts.
#[derive(Default)]
pub struct SourceControlHandle {
    source: Mutex<Option<Arc<dyn SourceControl>>>,
    services: Mutex<Vec<Service>>,
    advertisements: Mutex<Vec<Advertisement>>,
    /// Wakes the thread that keeps the source running.
    events: Mutex<Option<SyncSender<RunEvent>>>,
}

impl SourceControlHandle {
    fn running(&self) -> Result<Arc<dyn SourceControl>, PublishError> {
        let source = self.source.lock().clone();
        source.ok_or_else(|| PublishError::Failed("the source is not running".to_owned()))
    }

    /// Sets or clears the receiver of requests to rejoin.
    pub(super) fn set_events(&self, events: Option<SyncSender<RunEvent>>) {
        *self.events.lock() = events;
    }

    /// Sends publications and calls to another run; services stay where they are.
    pub(super) fn redirect(&self, source: Arc<dyn SourceControl>) {
        self.advertise_again(&*source);
        *self.source.lock() = Some(source);
    }

    fn advertise_again(&self, source: &dyn SourceControl) {
        let mut advertisements = self.advertisements.lock();
        advertisements.retain(|known| known.keeper.strong_count() > 0);
        for advertisement in advertisements.iter() {
            if let Err(error) = source.advertise(advertisement.clone()) {
                tracing::debug!("{} is not advertised anew: {error}", advertisement.topic);
            }
        }
    }

    /// Sets or clears the running source. Services offered earlier are offered to the new one as well.
    pub(super) fn set(&self, source: Option<Arc<dyn SourceControl>>) {
        let services = self.services.lock();
        if let Some(source) = &source {
            self.advertise_again(&**source);
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

    fn advertise(&self, advertisement: Advertisement) -> Result<(), PublishError> {
        {
            let mut advertisements = self.advertisements.lock();
            advertisements.retain(|known| known.keeper.strong_count() > 0);
            if advertisements.len() < MAX_ADVERTISEMENTS {
                advertisements.push(advertisement.clone());
            }
        }
        let source = self.source.lock().clone();
        source.map_or(Ok(()), |source| source.advertise(advertisement))
    }

    fn forward_emergency_stop(&self, request: EmergencyStopRequest) -> Result<(), PublishError> {
        self.running()?.forward_emergency_stop(request)
    }

    fn request_upstream(&self, request: UpstreamRequest) -> bool {
        self.running().is_ok_and(|source| source.request_upstream(request))
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

    fn rejoin(&self) -> bool {
        let events = self.events.lock().clone();
        events.is_some_and(|events| events.try_send(RunEvent::Rejoin).is_ok())
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
