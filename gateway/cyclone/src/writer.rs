//! A writer of raw CDR.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::entity::Entity;
use crate::error::Error;
use crate::matches::{self, Side};
use crate::membership::Membership;
use crate::sample::SampleIdentity;
use crate::wake::Wake;
use crate::{ffi, library, names};

/// Samples that a writer keeps at most.
const MAX_KEPT: u32 = 65_536;
/// The encapsulation header.
const HEADER_BYTES: usize = 4;
/// The last time that RTPS carries: its seconds have 32 bits.
const MAX_TIME_NS: i64 = 4_294_967_295_999_999_999;
/// The longest time that makes sense to wait.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// The QoS that a writer offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterQos {
    /// Lost samples are sent again.
    pub reliable: bool,
    /// Samples are kept for late readers.
    pub transient_local: bool,
    /// Samples that are kept for late readers. At least 1.
    pub depth: u32,
    /// Samples that may be unacknowledged by some reliable reader. At least 1; a best-effort writer has no window.
    pub window: u32,
    /// How long a write waits for a place in the window.
    pub max_blocking: Duration,
}

/// A writer. Dropping it waits up to a second for acknowledgements of reliable readers.
pub struct Writer {
    entity: Entity,
    guid: [u8; 16],
    window: u32,
    max_blocking: Duration,
    /// One write at a time, so that the window is exact.
    writing: Mutex<()>,
    // Dropped after the entity: the participant outlives its writers.
    membership: Arc<Membership>,
}

impl Writer {
    pub(crate) fn open(
        membership: Arc<Membership>,
        topic: &str,
        type_name: &str,
        qos: WriterQos,
    ) -> Result<Writer, Error> {
        let (topic, type_name) = (names::checked("topic", topic)?, names::checked("type", type_name)?);
        let wake = Arc::new(Wake::new(None));
        let window = qos.window.clamp(1, MAX_KEPT);
        let max_blocking = qos.max_blocking.min(MAX_WAIT);
        let qos = ffi::Qos {
            reliable: qos.reliable,
            transient_local: qos.transient_local,
            depth: qos.depth.clamp(1, MAX_KEPT),
            window,
            max_blocking_ns: nanoseconds(max_blocking),
        };
        // SAFETY: the strings and the QoS are valid during the call; the context is a `Wake`, which the entity owns
        // from now on. If there is no entity, nobody has the context.
        let created = unsafe {
            ffi::roverline_create_writer(
                membership.handle(),
                topic.as_ptr(),
                type_name.as_ptr(),
                &qos,
                wake.context(),
            )
        };
        let entity = Entity::new("opening a writer", created, Some(wake))?;
        let guid = entity.guid()?;
        Ok(Writer { entity, guid, window, max_blocking, writing: Mutex::new(()), membership })
    }

    /// In network byte order.
    pub fn guid(&self) -> [u8; 16] {
        self.guid
    }

    /// Writes a message, which begins with its encapsulation header, and returns the identity that it has on the
    /// wire. Without a source time it gets the current one. `related` is the sample that it belongs to, for example
    /// the request that it answers.
    pub fn write(
        &self,
        cdr: &[u8],
        source_time_ns: Option<i64>,
        related: Option<SampleIdentity>,
    ) -> Result<SampleIdentity, Error> {
        if cdr.len() < HEADER_BYTES {
            return Err(Error::Header(cdr.len()));
        }
        let most = self.membership.max_sample_bytes();
        if cdr.len().next_multiple_of(4) > most {
            return Err(Error::Size { bytes: cdr.len(), most });
        }
        let source_time_ns = source_time_ns.unwrap_or_else(now_ns);
        if !(0..=MAX_TIME_NS).contains(&source_time_ns) {
            return Err(Error::Time(source_time_ns));
        }
        let deadline = Instant::now() + self.max_blocking;
        let Some(_writing) = self.writing.try_lock_until(deadline) else { return Err(Error::WindowFull) };
        let wait = deadline.saturating_duration_since(Instant::now());
        self.write_now(cdr, wait, source_time_ns, related)
    }

    fn write_now(
        &self,
        cdr: &[u8],
        wait: Duration,
        source_time_ns: i64,
        related: Option<SampleIdentity>,
    ) -> Result<SampleIdentity, Error> {
        let related = related.map(ffi::Identity::from);
        let mut written = ffi::Identity::default();
        // SAFETY: all pointers are valid during the call, the message for its length; the library copies it. `related`
        // is null if there is none.
        let code = unsafe {
            ffi::roverline_write(
                self.entity.handle(),
                self.window,
                nanoseconds(wait),
                cdr.as_ptr(),
                cdr.len() as u32,
                source_time_ns,
                related.as_ref().map_or(std::ptr::null(), std::ptr::from_ref),
                &mut written,
            )
        };
        match code {
            ffi::TIMEOUT => Err(Error::WindowFull),
            code => library::check("writing", code).map(|_| written.into()),
        }
    }

    /// The GUIDs of the readers that match.
    pub fn matched_readers(&self) -> Vec<[u8; 16]> {
        matches::list(Side::Readers, self.entity.handle())
    }

    /// Calls the closure whenever a reader matches or leaves. There may be several.
    pub fn on_matched(&self, closure: impl Fn() + Send + Sync + 'static) {
        self.entity.on_change(closure);
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn now_ns() -> i64 {
    nanoseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
