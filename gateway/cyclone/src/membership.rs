//! The membership of a domain: what a participant consists of in the library.

use std::ffi::CString;
use std::sync::Arc;

use crate::config::{self, Options};
use crate::discovery::{DiscoveredEndpoint, Discovery};
use crate::entity::Entity;
use crate::error::Error;
use crate::wake::{self, Wake};
use crate::{ffi, library};

/// In the order in which it is dropped: the library's readers, the participant, its domain.
pub(crate) struct Membership {
    writers: Discovery,
    readers: Discovery,
    participant: Entity,
    _domain: Entity,
    discovered: Arc<Wake>,
    guid: [u8; 16],
    max_sample_bytes: usize,
}

impl Membership {
    pub(crate) fn join(options: &Options) -> Result<Membership, Error> {
        let xml = config::xml(options)?;
        let xml =
            CString::new(xml).map_err(|_| Error::Join("a zero byte in the configuration".to_owned()))?;
        let library = library::start(wake::roverline_on_wake)?;
        let id = library.next_domain();
        // SAFETY: the string is valid during the call.
        let create = || unsafe { ffi::roverline_create_domain(id, xml.as_ptr()) };
        let (created, error) = library.capture_error(create);
        let domain = Entity::new("joining a domain", created, None)
            .map_err(|_| Error::Join(error.unwrap_or_else(|| library::text(created))))?;
        // SAFETY: a call without pointers.
        let created = unsafe { ffi::roverline_create_participant(id) };
        let participant = Entity::new("creating a participant", created, None)?;
        Membership::of(domain, participant, options)
    }

    /// Opens the library's readers that report what is discovered.
    fn of(domain: Entity, participant: Entity, options: &Options) -> Result<Membership, Error> {
        let guid = participant.guid()?;
        let discovered = Arc::new(Wake::new(None));
        let open = |writers: bool| {
            // SAFETY: the context is a `Wake`, which the entity owns from now on.
            let created = unsafe {
                ffi::roverline_create_discovery(participant.handle(), writers, discovered.context())
            };
            let entity = Entity::new("opening discovery", created, Some(discovered.clone()))?;
            Ok(Discovery::new(entity, std::array::from_fn(|at| guid[at])))
        };
        let (writers, readers) = (open(true)?, open(false)?);
        let max_sample_bytes = options.max_sample_bytes as usize;
        Ok(Membership { writers, readers, participant, _domain: domain, discovered, guid, max_sample_bytes })
    }

    pub(crate) fn handle(&self) -> i32 {
        self.participant.handle()
    }

    pub(crate) fn guid(&self) -> [u8; 16] {
        self.guid
    }

    pub(crate) fn max_sample_bytes(&self) -> usize {
        self.max_sample_bytes
    }

    pub(crate) fn writers(&self) -> Vec<DiscoveredEndpoint> {
        self.writers.endpoints()
    }

    pub(crate) fn readers(&self) -> Vec<DiscoveredEndpoint> {
        self.readers.endpoints()
    }

    pub(crate) fn on_discovery(&self, closure: impl Fn() + Send + Sync + 'static) {
        self.discovered.on_change(closure);
    }
}
