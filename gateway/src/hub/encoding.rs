//! Sample encodings: how the hub turns a sample into a WebSocket message without knowing any dialect.
//!
//! Each dialect implements [`SampleEncoding`] once and attaches its sessions with a [`FrameFormat`]. A
//! [`SampleEncoder`] encodes a sample at most once per format; the sessions share the bytes.

use std::fmt;

use bytes::Bytes;
use roverline_protocol::native::TopicInfo;
use roverline_source::RawSample;

use crate::hub::decoder::Decoder;

/// Encodes samples for the sessions of one dialect.
pub trait SampleEncoding: Sync {
    /// The encoding's name, which identifies it.
    fn name(&self) -> &'static str;

    /// Encodes a sample as a WebSocket message, or as the concatenated fragments if it is split.
    /// `options` are those of the session's [`FrameFormat`].
    fn encode(&self, sample: &SampleToEncode<'_>, options: u64) -> Bytes;

    /// A message that announces added and removed topics; `None` if the dialect has none.
    fn topics_changed(&self, _added: &[TopicInfo], _removed: &[u32]) -> Option<Bytes> {
        None
    }

    /// Whether encoding a large sample takes long, for these options: it happens on another thread.
    fn is_costly(&self, _options: u64) -> bool {
        false
    }

    /// Whether clients can tell a retained sample from a new one. If not, they get retained samples of
    /// latched topics only.
    fn marks_retained(&self) -> bool {
        true
    }
}

/// A sample with what is needed to encode it.
#[derive(Clone, Copy)]
pub struct SampleToEncode<'a> {
    /// The sample's topic.
    pub topic: &'a TopicInfo,
    /// What decodes it; `None` if its type or its encoding is unknown.
    pub decoder: Option<&'a Decoder>,
    /// The sample.
    pub sample: &'a RawSample,
    /// The native dialect's sample flags.
    pub flags: u8,
}

/// The format in which a session receives a topic's samples: an encoding and its options.
#[derive(Clone, Copy)]
pub struct FrameFormat {
    encoding: &'static dyn SampleEncoding,
    options: u64,
}

impl FrameFormat {
    /// A format of this encoding. The hub does not interpret `options`.
    pub const fn new(encoding: &'static dyn SampleEncoding, options: u64) -> FrameFormat {
        FrameFormat { encoding, options }
    }

    /// The format's encoding.
    pub fn encoding(&self) -> &'static dyn SampleEncoding {
        self.encoding
    }

    /// Whether encoding a large sample takes long.
    pub(super) fn is_costly(&self) -> bool {
        self.encoding.is_costly(self.options)
    }

    /// The encoding's options.
    pub const fn options(&self) -> u64 {
        self.options
    }
}

impl PartialEq for FrameFormat {
    fn eq(&self, other: &FrameFormat) -> bool {
        self.options == other.options && self.encoding.name() == other.encoding.name()
    }
}

impl Eq for FrameFormat {}

impl fmt::Debug for FrameFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:#x}", self.encoding.name(), self.options)
    }
}

/// Encodes one sample on demand and caches the frame of each format.
pub(super) struct SampleEncoder<'a> {
    sample: SampleToEncode<'a>,
    cache: Vec<(FrameFormat, Bytes)>,
}

/// Formats cached per sample; clients of one kind usually choose the same options.
const MAX_FORMATS: usize = 8;

impl<'a> SampleEncoder<'a> {
    /// Creates an encoder without encoding anything. `flags` are the native dialect's sample flags.
    pub(super) fn new(
        topic: &'a TopicInfo,
        decoder: Option<&'a Decoder>,
        sample: &'a RawSample,
        flags: u8,
    ) -> Self {
        SampleEncoder { sample: SampleToEncode { topic, decoder, sample, flags }, cache: Vec::new() }
    }

    /// Returns the WebSocket message in this format, or the concatenated fragments if it is split.
    pub(super) fn frame(&mut self, format: FrameFormat) -> Bytes {
        if let Some((_, frame)) = self.cache.iter().find(|(cached, _)| *cached == format) {
            return frame.clone();
        }
        let frame = format.encoding.encode(&self.sample, format.options);
        if self.cache.len() < MAX_FORMATS {
            self.cache.push((format, frame.clone()));
        }
        frame
    }
}

#[cfg(test)]
pub(crate) mod test_encoding {
    //! An encoding for tests: the sample header and the payload, as in the native dialect.

    use roverline_protocol::native::SampleHeader;

    use super::*;
    use crate::connection::frame;

    /// A sample of so many zero bytes, by the writer of all of them.
    pub(crate) fn sample(seq: u64, bytes: usize) -> RawSample {
        RawSample {
            id: roverline_protocol::SampleId { source: Default::default(), seq },
            source_time_ns: 0,
            receive_time_ns: 0,
            payload: Bytes::from(vec![0; bytes]),
        }
    }

    pub(crate) struct TestEncoding;

    impl SampleEncoding for TestEncoding {
        fn name(&self) -> &'static str {
            "test"
        }

        fn encode(&self, sample: &SampleToEncode<'_>, _: u64) -> Bytes {
            let SampleToEncode { topic, sample, flags, .. } = *sample;
            let header = SampleHeader {
                flags,
                topic: topic.id,
                id: sample.id,
                source_time_ns: sample.source_time_ns,
                receive_time_ns: sample.receive_time_ns,
            };
            frame::binary(&[&header.to_bytes(), &sample.payload])
        }
    }

    /// A format whose samples carry a retained flag.
    pub(crate) const FORMAT: FrameFormat = FrameFormat::new(&TestEncoding, 0);

    struct Unmarked;

    impl SampleEncoding for Unmarked {
        fn name(&self) -> &'static str {
            "unmarked"
        }

        fn encode(&self, sample: &SampleToEncode<'_>, _: u64) -> Bytes {
            frame::text(sample.topic.name.as_bytes())
        }

        fn marks_retained(&self) -> bool {
            false
        }
    }

    /// A format that consists of the topic's name and does not mark retained samples.
    pub(crate) const UNMARKED: FrameFormat = FrameFormat::new(&Unmarked, 0);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use roverline_protocol::{Delivery, Priority, SampleId, ScopeSet};

    use super::*;

    static ENCODED: AtomicUsize = AtomicUsize::new(0);

    struct Counting;

    impl SampleEncoding for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }

        fn encode(&self, _: &SampleToEncode<'_>, options: u64) -> Bytes {
            ENCODED.fetch_add(1, Ordering::Relaxed);
            Bytes::from(options.to_string())
        }
    }

    #[test]
    fn a_sample_is_encoded_once_per_format() {
        let topic = TopicInfo {
            id: 1,
            name: "/a".into(),
            type_name: "b".into(),
            scopes: ScopeSet::ALL,
            priority: Priority::State,
            delivery: Delivery::Every,
            latched: false,
            encoding: Default::default(),
            history_depth: 1,
        };
        let id = SampleId { source: Default::default(), seq: 1 };
        let sample = RawSample { id, source_time_ns: 0, receive_time_ns: 0, payload: Bytes::new() };
        let mut encoder = SampleEncoder::new(&topic, None, &sample, 0);
        for options in [7, 7, 8, 7, 8] {
            let frame = encoder.frame(FrameFormat::new(&Counting, options));
            assert_eq!(frame, options.to_string());
        }
        assert_eq!(ENCODED.load(Ordering::Relaxed), 2);
    }
}
