//! The rosbridge sample encoding: JSON, PNG or CBOR, as each client requests.

use bytes::Bytes;

use crate::dialect::rosbridge::{Compression, SampleFormat, sample};
use crate::hub::{FrameFormat, SampleEncoding, SampleToEncode};

struct RosbridgeEncoding;

impl SampleEncoding for RosbridgeEncoding {
    fn name(&self) -> &'static str {
        "rosbridge"
    }

    fn encode(&self, to_encode: &SampleToEncode<'_>, options: u64) -> Bytes {
        let SampleToEncode { topic, decoder, sample, .. } = *to_encode;
        sample::sample_frame(SampleFormat::from_options(options), topic, decoder, sample)
    }

    fn is_costly(&self, options: u64) -> bool {
        SampleFormat::from_options(options).compression != Compression::CborRaw
    }

    fn marks_retained(&self) -> bool {
        false
    }
}

const COMPRESSIONS: [Compression; 4] =
    [Compression::None, Compression::Png, Compression::Cbor, Compression::CborRaw];
const HAS_FRAGMENTS: u64 = 1 << 32;
const RELATIVE: u64 = 1 << 33;
const COMPRESSION_SHIFT: u32 = 34;

impl SampleFormat {
    /// The hub's format with this form in its options: the fragment size in the low 32 bits, then flags.
    pub(super) fn frame_format(self) -> FrameFormat {
        let fragments = self.fragment_bytes.map_or(0, |bytes| HAS_FRAGMENTS | u64::from(bytes));
        let relative = if self.relative { RELATIVE } else { 0 };
        let options = fragments | relative | (self.compression as u64) << COMPRESSION_SHIFT;
        FrameFormat::new(&RosbridgeEncoding, options)
    }

    /// The inverse of [`SampleFormat::frame_format`].
    pub(super) fn from_options(options: u64) -> SampleFormat {
        SampleFormat {
            compression: COMPRESSIONS[(options >> COMPRESSION_SHIFT) as usize % COMPRESSIONS.len()],
            fragment_bytes: (options & HAS_FRAGMENTS != 0).then_some(options as u32),
            relative: options & RELATIVE != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_read_back() {
        for compression in COMPRESSIONS {
            for fragment_bytes in [None, Some(0), Some(1_000), Some(u32::MAX)] {
                for relative in [false, true] {
                    let format = SampleFormat { compression, fragment_bytes, relative };
                    assert_eq!(SampleFormat::from_options(format.frame_format().options()), format);
                }
            }
        }
    }
}
