//! The way to the node's thread: a bounded queue of commands.

use std::sync::mpsc::{SyncSender, TrySendError};

use crate::r2r::services;
use crate::{Advertisement, Call, Publication, PublishError, Service, SourceControl, TopicListener};

/// Capacity of the queue; also the most commands executed between two spins.
pub(super) const QUEUE_COMMANDS: usize = 256;

/// A command for the node's thread.
pub(super) enum Command {
    Publish(Publication),
    Advertise(Advertisement),
    Call(Call),
    Offer(Service),
    Withdraw(String),
    Listen(TopicListener),
}

/// The sending end of the queue.
pub(super) struct Control(pub(super) SyncSender<Command>);

impl Control {
    fn send(&self, command: Command) -> Result<(), PublishError> {
        self.0.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => PublishError::Busy(QUEUE_COMMANDS),
            TrySendError::Disconnected(_) => PublishError::Failed("the source has stopped".to_owned()),
        })
    }
}

impl SourceControl for Control {
    fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        if publication.payload.len() < 4 {
            return Err(PublishError::Failed("the message has no CDR header".to_owned()));
        }
        self.send(Command::Publish(publication))
    }

    fn advertise(&self, advertisement: Advertisement) -> Result<(), PublishError> {
        self.send(Command::Advertise(advertisement))
    }

    fn offer(&self, service: Service) -> Result<(), PublishError> {
        if !services::BUILT {
            return Err(PublishError::Failed(
                "this build serves nothing: it was built without std_srvs".to_owned(),
            ));
        }
        if !services::SERVED.contains(&service.type_name.as_str()) {
            let (name, list) = (service.name, services::SERVED.join(", "));
            return Err(PublishError::Failed(format!("{name}: the r2r source serves only {list}")));
        }
        self.send(Command::Offer(service))
    }

    fn withdraw(&self, name: &str) {
        let _ = self.send(Command::Withdraw(name.to_owned()));
    }

    fn call(&self, call: Call) -> Result<(), PublishError> {
        self.send(Command::Call(call))
    }

    fn listen(&self, listener: TopicListener) -> Result<(), PublishError> {
        self.send(Command::Listen(listener))
    }
}
