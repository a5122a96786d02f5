//! A reader of raw CDR.

use std::mem::MaybeUninit;
use std::sync::Arc;

use crate::entity::Entity;
use crate::error::Error;
use crate::matches::{self, Side};
use crate::membership::Membership;
use crate::sample::Sample;
use crate::wake::Wake;
use crate::{ffi, library, names};

/// Deepest history that is kept.
const MAX_DEPTH: u32 = 1_000_000;

/// The QoS that a reader requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderQos {
    /// Lost samples are sent again; only reliable writers match.
    pub reliable: bool,
    /// The samples that a writer keeps for late readers; only writers that do so match.
    pub transient_local: bool,
    /// Samples that are kept until they are taken; older ones are dropped. At least 1.
    pub depth: u32,
}

/// A reader. It does not receive what its own participant writes. Dropping it waits for a closure that runs; so it
/// must not be dropped by its own closure.
pub struct Reader {
    entity: Entity,
    guid: [u8; 16],
    // Dropped after the entity: the participant outlives its readers.
    _membership: Arc<Membership>,
}

impl Reader {
    pub(crate) fn open(
        membership: Arc<Membership>,
        topic: &str,
        type_name: &str,
        qos: ReaderQos,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Reader, Error> {
        let (topic, type_name) = (names::checked("topic", topic)?, names::checked("type", type_name)?);
        let wake = Arc::new(Wake::new(Some(Box::new(wake))));
        let qos = ffi::Qos {
            reliable: qos.reliable,
            transient_local: qos.transient_local,
            depth: qos.depth.clamp(1, MAX_DEPTH),
            window: 0,
            max_blocking_ns: 0,
        };
        // SAFETY: the strings and the QoS are valid during the call; the context is a `Wake`, which the entity owns
        // from now on. If there is no entity, nobody has the context.
        let created = unsafe {
            ffi::roverline_create_reader(
                membership.handle(),
                topic.as_ptr(),
                type_name.as_ptr(),
                &qos,
                wake.context(),
            )
        };
        let entity = Entity::new("opening a reader", created, Some(wake))?;
        let guid = entity.guid()?;
        Ok(Reader { entity, guid, _membership: membership })
    }

    /// In network byte order.
    pub fn guid(&self) -> [u8; 16] {
        self.guid
    }

    /// Takes up to `most` samples, oldest first, and returns how many there were. Fewer than `most` means that there
    /// were no more. Disposals are no samples.
    pub fn take(&self, most: usize, each: &mut dyn FnMut(Sample)) -> Result<usize, Error> {
        let mut total = 0;
        while total < most {
            let wanted = (most - total).min(ffi::TAKE_SAMPLES);
            let (taken, valid) = self.take_batch(wanted, each)?;
            total += valid;
            if taken < wanted {
                break;
            }
        }
        Ok(total)
    }

    /// Returns how many samples were taken, and how many of them are messages.
    fn take_batch(&self, wanted: usize, each: &mut dyn FnMut(Sample)) -> Result<(usize, usize), Error> {
        let mut batch = [const { MaybeUninit::<ffi::TakenSample>::uninit() }; ffi::TAKE_SAMPLES];
        let mut valid = 0;
        // SAFETY: the batch has room for as many samples as are wanted, at most `TAKE_SAMPLES`.
        let taken = unsafe {
            ffi::roverline_take(self.entity.handle(), batch.as_mut_ptr().cast(), wanted as u32, &mut valid)
        };
        // SAFETY: the shim has filled in that many. Each is owned before any is handed out, so that none is lost if
        // the closure panics.
        let samples: Vec<Sample> =
            batch[..valid as usize].iter().map(|taken| Sample::new(unsafe { taken.assume_init() })).collect();
        let taken = library::check("taking samples", taken)?;
        let valid = samples.len();
        samples.into_iter().for_each(each);
        Ok((taken as usize, valid))
    }

    /// Keeps the last `depth` samples from now on, if that is more than before.
    pub fn deepen(&self, depth: u32) -> Result<(), Error> {
        // SAFETY: a call without pointers.
        let code = unsafe { ffi::roverline_deepen(self.entity.handle(), depth.min(MAX_DEPTH)) };
        library::check("deepening a reader's history", code).map(drop)
    }

    /// The GUIDs of the writers that match.
    pub fn matched_writers(&self) -> Vec<[u8; 16]> {
        matches::list(Side::Writers, self.entity.handle())
    }

    /// Calls the closure whenever a writer matches or leaves. There may be several.
    pub fn on_matched(&self, closure: impl Fn() + Send + Sync + 'static) {
        self.entity.on_change(closure);
    }
}
