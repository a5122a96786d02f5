//! A participant of a domain.

use std::sync::Arc;

use crate::config::Options;
use crate::discovery::DiscoveredEndpoint;
use crate::error::Error;
use crate::membership::Membership;
use crate::reader::{Reader, ReaderQos};
use crate::writer::{Writer, WriterQos};

/// A participant of a domain. Clones are the same one; it leaves when the last of them, and of its readers and
/// writers, is dropped.
#[derive(Clone)]
pub struct Participant(Arc<Membership>);

impl Participant {
    /// Joins a domain: opens the sockets and starts the threads of the library.
    pub fn join(options: &Options) -> Result<Participant, Error> {
        Membership::join(options).map(Arc::new).map(Participant)
    }

    /// In network byte order.
    pub fn guid(&self) -> [u8; 16] {
        self.0.guid()
    }

    /// The writers of other participants.
    pub fn discovered_writers(&self) -> Vec<DiscoveredEndpoint> {
        self.0.writers()
    }

    /// The readers of other participants.
    pub fn discovered_readers(&self) -> Vec<DiscoveredEndpoint> {
        self.0.readers()
    }

    /// Calls the closure whenever readers or writers appear, change or leave, our own included. There may be several;
    /// they stay as long as the participant.
    pub fn on_discovery(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.0.on_discovery(wake);
    }

    /// Opens a reader of raw CDR. The closure is called whenever there is something to take.
    pub fn reader(
        &self,
        topic: &str,
        type_name: &str,
        qos: ReaderQos,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Reader, Error> {
        Reader::open(self.0.clone(), topic, type_name, qos, wake)
    }

    /// Opens a writer of raw CDR.
    pub fn writer(&self, topic: &str, type_name: &str, qos: WriterQos) -> Result<Writer, Error> {
        Writer::open(self.0.clone(), topic, type_name, qos)
    }
}
