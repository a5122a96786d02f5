//! Encoding of large samples on a thread of its own: an image as JSON or PNG would hold the thread that
//! serves all clients. Bounded in samples and bytes; under pressure samples are dropped and counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roverline_protocol::native::TopicInfo;
use roverline_source::RawSample;

use crate::connection::outbox::Outbox;
use crate::hub::decoder::Decoder;
use crate::hub::delivery::deliver;
use crate::hub::encoding::{FrameFormat, SampleEncoder};
use crate::hub::sample_tracing::{begin_delivery, traced_frame};
use crate::trace::sample_trace::SampleTrace;

/// A topic with a sample of more bytes is encoded on the other thread where that is costly.
pub(super) const LARGE_SAMPLE_BYTES: usize = 64 << 10;
/// Samples that wait to be encoded.
const WAITING_SAMPLES: usize = 32;
/// Bytes of these samples.
const WAITING_BYTES: usize = 16 << 20;
/// How much less the thread gets of a busy processor than the one that serves clients.
const NICENESS: i32 = 5;

/// A session that gets the sample.
pub(super) struct Recipient {
    /// The session's number, if its delivery may be traced.
    pub(super) traced: Option<u64>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) format: FrameFormat,
    pub(super) queue_length: Option<u32>,
}

/// A sample to encode for some sessions.
pub(super) struct EncodeJob {
    pub(super) topic: TopicInfo,
    pub(super) decoder: Option<Decoder>,
    pub(super) sample: RawSample,
    pub(super) flags: u8,
    pub(super) recipients: Vec<Recipient>,
    pub(super) now: Duration,
    /// The sample's way, if it is traced.
    pub(super) trace: Option<Arc<SampleTrace>>,
}

impl EncodeJob {
    fn run(&self) {
        let mut encoder = SampleEncoder::new(&self.topic, self.decoder.as_ref(), &self.sample, self.flags);
        for recipient in &self.recipients {
            let traced = self.trace.as_deref().zip(recipient.traced);
            let delivery = begin_delivery(traced, recipient.format);
            let frame = traced_frame(encoder.frame(recipient.format), delivery);
            deliver(&self.topic, recipient.queue_length, &recipient.outbox, frame, self.now);
        }
    }
}

/// The thread that encodes large samples; it starts with the first one.
#[derive(Default)]
pub(super) struct Offload {
    jobs: OnceLock<Option<SyncSender<EncodeJob>>>,
    waiting_bytes: Arc<AtomicUsize>,
    dropped: AtomicU64,
}

impl Offload {
    /// Encodes the sample on the other thread, or drops it if too much waits.
    pub(super) fn submit(&self, job: EncodeJob) {
        if job.recipients.is_empty() {
            return;
        }
        let bytes = job.sample.payload.len();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A single sample is always taken, whatever its size.
        let refused = match self.jobs.get_or_init(|| start(self.waiting_bytes.clone())) {
            Some(jobs) if waiting == 0 || waiting + bytes <= WAITING_BYTES => {
                jobs.try_send(job).err().map(|error| match error {
                    std::sync::mpsc::TrySendError::Full(job)
                    | std::sync::mpsc::TrySendError::Disconnected(job) => job,
                })
            }
            _ => Some(job),
        };
        if let Some(job) = refused {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.fetch_add(job.recipients.len() as u64, Ordering::Relaxed);
            for recipient in &job.recipients {
                recipient.outbox.count_oversized(job.topic.id);
            }
        }
    }

    /// Samples dropped because too much waited, once for each session.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn start(waiting_bytes: Arc<AtomicUsize>) -> Option<SyncSender<EncodeJob>> {
    let (sender, jobs) = sync_channel(WAITING_SAMPLES);
    let started =
        std::thread::Builder::new().name("encode".to_owned()).spawn(move || run(&jobs, &waiting_bytes));
    match started {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::error!(%error, "no thread to encode large samples: they are dropped");
            None
        }
    }
}

/// Encodes until the hub is gone.
fn run(jobs: &Receiver<EncodeJob>, waiting_bytes: &AtomicUsize) {
    // On Linux it applies to this thread only.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the encoding thread keeps its priority");
    }
    while let Ok(job) = jobs.recv() {
        job.run();
        waiting_bytes.fetch_sub(job.sample.payload.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use bytes::Bytes;
    use roverline_protocol::{Delivery, Priority, SampleId, ScopeSet};

    use super::*;
    use crate::hub::encoding::{SampleEncoding, SampleToEncode};

    static MAY_GO_ON: AtomicBool = AtomicBool::new(false);

    /// An encoding that takes as long as the test wants.
    struct Slow;

    impl SampleEncoding for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        fn encode(&self, sample: &SampleToEncode<'_>, _: u64) -> Bytes {
            while !MAY_GO_ON.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            Bytes::from(sample.sample.id.seq.to_string())
        }
    }

    #[test]
    fn samples_are_dropped_under_pressure_and_counted() {
        let offload = Offload::default();
        let outbox = Outbox::new();
        let topic = TopicInfo {
            id: 1,
            name: "/camera".into(),
            type_name: "x".into(),
            scopes: ScopeSet::ALL,
            priority: Priority::Sensors,
            delivery: Delivery::Every,
            latched: false,
            encoding: Default::default(),
            history_depth: 1,
        };
        let payload = Bytes::from(vec![0; WAITING_BYTES / 4]);
        for seq in 1..=10 {
            let id = SampleId { source: Default::default(), seq };
            let sample = RawSample { id, source_time_ns: 0, receive_time_ns: 0, payload: payload.clone() };
            let format = FrameFormat::new(&Slow, 0);
            let recipients =
                vec![Recipient { traced: None, outbox: outbox.clone(), format, queue_length: None }];
            let (topic, now) = (topic.clone(), roverline_source::clock::monotonic());
            offload.submit(EncodeJob {
                topic,
                decoder: None,
                sample,
                flags: 0,
                recipients,
                now,
                trace: None,
            });
        }
        assert_eq!((offload.dropped(), outbox.stats().dropped), (6, 6));
        MAY_GO_ON.store(true, Ordering::Relaxed);
        while offload.waiting_bytes.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
        let frames: Vec<_> = outbox.drain_for_test();
        assert_eq!(frames, ["1", "2", "3", "4"], "in order, and none twice");
    }
}
