//! Parameter events: one subscription to `/parameter_events`, shared by all listeners.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc};

use crate::ros::parameter::cdr::read_event;
use crate::ros::parameter::{EVENT, EVENTS, Parameter};
use crate::ros::{Ros, RosError};
use crate::{PublishError, RawSample, SourceControl, TopicListener};

/// Parameter events queued for a client; the oldest are dropped.
const PARAMETER_EVENTS: usize = 256;

/// How often it is checked whether anyone still listens, and whether a new source needs a subscription.
const TICK: Duration = Duration::from_secs(1);

/// The channel to the listeners, while there are any.
#[derive(Default)]
pub(in crate::ros) struct ParameterEvents(Mutex<Option<broadcast::Sender<Arc<Parameter>>>>);

impl Ros {
    /// Parameter changes of all nodes from now on; a deleted parameter is reported as not set.
    pub fn parameter_events(&self) -> Result<broadcast::Receiver<Arc<Parameter>>, RosError> {
        let mut events = self.events.0.lock();
        if let Some(sender) = events.as_ref() {
            return Ok(sender.subscribe());
        }
        let samples = listen(self.publisher.as_ref())?;
        let (sender, receiver) = broadcast::channel(PARAMETER_EVENTS);
        *events = Some(sender.clone());
        drop(events);
        tokio::spawn(forward_events(self.publisher.clone(), self.events.clone(), sender, samples));
        Ok(receiver)
    }
}

fn listen(publisher: &dyn SourceControl) -> Result<mpsc::Receiver<RawSample>, PublishError> {
    let (samples, received) = mpsc::channel(PARAMETER_EVENTS);
    let (topic, type_name) = (EVENTS.to_owned(), EVENT.to_owned());
    publisher.listen(TopicListener { topic, type_name, latched: false, samples })?;
    Ok(received)
}

/// Forwards events until the last listener is gone. If the source ends, subscribes to its successor.
async fn forward_events(
    publisher: Arc<dyn SourceControl>,
    events: Arc<ParameterEvents>,
    sender: broadcast::Sender<Arc<Parameter>>,
    samples: mpsc::Receiver<RawSample>,
) {
    let mut samples = Some(samples);
    let mut tick = tokio::time::interval(TICK);
    loop {
        let received = async {
            match &mut samples {
                Some(samples) => samples.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = received => match received {
                Some(sample) => send_events(&sender, &sample.payload),
                None => samples = None,
            },
            _ = tick.tick() => {
                let mut current = events.0.lock();
                if sender.receiver_count() == 0 {
                    *current = None;
                    return;
                }
                drop(current);
                if samples.is_none() {
                    samples = listen(publisher.as_ref()).ok();
                }
            }
        }
    }
}

fn send_events(sender: &broadcast::Sender<Arc<Parameter>>, cdr: &[u8]) {
    match read_event(cdr) {
        Ok((node, parameters)) => {
            for (name, value) in parameters {
                // There may be no listener at the moment.
                let _ = sender.send(Arc::new(Parameter { node: node.clone(), name, value }));
            }
        }
        Err(error) => tracing::debug!("a parameter event could not be read: {error}"),
    }
}
