//! What nodes tell of their parameters: one subscription, whoever wants to hear of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::{broadcast, mpsc};

use crate::ros::parameter::wire::read_event;
use crate::ros::parameter::{EVENT, EVENTS, Parameter};
use crate::ros::{Ros, RosError};
use crate::{Listen, PublishError, Publisher, RawSample};

/// How soon it is noticed that nobody listens any more, and a new source is listened to.
const TICK: Duration = Duration::from_secs(1);

/// Where events go, while anybody listens.
#[derive(Default)]
pub(in crate::ros) struct ParameterEvents(Mutex<Option<broadcast::Sender<Arc<Parameter>>>>);

impl ParameterEvents {
    fn lock(&self) -> MutexGuard<'_, Option<broadcast::Sender<Arc<Parameter>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ros {
    /// What nodes tell of their parameters from now on; a deleted one is not set.
    pub fn parameter_events(&self) -> Result<broadcast::Receiver<Arc<Parameter>>, RosError> {
        let mut events = self.events.lock();
        if let Some(sender) = events.as_ref() {
            return Ok(sender.subscribe());
        }
        let samples = listen(self.publisher.as_ref())?;
        let (sender, receiver) = broadcast::channel(limits::PARAMETER_EVENTS);
        *events = Some(sender.clone());
        drop(events);
        tokio::spawn(follow(self.publisher.clone(), self.events.clone(), sender, samples));
        Ok(receiver)
    }
}

fn listen(publisher: &dyn Publisher) -> Result<mpsc::Receiver<RawSample>, PublishError> {
    let (samples, heard) = mpsc::channel(limits::PARAMETER_EVENTS);
    let (topic, type_name) = (EVENTS.to_owned(), EVENT.to_owned());
    publisher.listen(Listen { topic, type_name, latched: false, samples })?;
    Ok(heard)
}

/// Hands events on until nobody listens. Where the source ends, its successor is listened to.
async fn follow(
    publisher: Arc<dyn Publisher>,
    events: Arc<ParameterEvents>,
    sender: broadcast::Sender<Arc<Parameter>>,
    samples: mpsc::Receiver<RawSample>,
) {
    let mut samples = Some(samples);
    let mut tick = tokio::time::interval(TICK);
    loop {
        let heard = async {
            match &mut samples {
                Some(samples) => samples.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            heard = heard => match heard {
                Some(sample) => tell(&sender, &sample.payload),
                None => samples = None,
            },
            _ = tick.tick() => {
                let mut known = events.lock();
                if sender.receiver_count() == 0 {
                    *known = None;
                    return;
                }
                drop(known);
                if samples.is_none() {
                    samples = listen(publisher.as_ref()).ok();
                }
            }
        }
    }
}

fn tell(sender: &broadcast::Sender<Arc<Parameter>>, cdr: &[u8]) {
    match read_event(cdr) {
        Ok((node, parameters)) => {
            for (name, value) in parameters {
                // Nobody may listen just now.
                let _ = sender.send(Arc::new(Parameter { node: node.clone(), name, value }));
            }
        }
        Err(error) => tracing::debug!("a parameter event could not be read: {error}"),
    }
}
