//! A sample's identity: writer GUID and sequence number.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A writer's globally unique id: the 16 bytes of a DDS GUID (DDSI-RTPS 2.5, 8.2.4.1), or a hash of
/// equal size if a source has no writers (a recording's channel).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// An id that every process derives alike from the same text (FNV-1a, 128 bits), for sources
    /// without writer ids of their own.
    pub fn from_name(name: &str) -> Guid {
        let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        for byte in name.bytes() {
            hash ^= u128::from(byte);
            hash = hash.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        Guid(hash.to_be_bytes())
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

impl Serialize for Guid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut guid = [0; 16];
        if text.len() != 32 || !text.is_ascii() {
            return Err(serde::de::Error::custom("a GUID is 32 hexadecimal digits"));
        }
        for (i, byte) in guid.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(serde::de::Error::custom)?;
        }
        Ok(Guid(guid))
    }
}

/// The same in every process that received the sample, so that a client can drop duplicates and
/// resume at any endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SampleId {
    /// Its writer.
    pub source: Guid,
    /// The writer's sequence number; the first is 1 in RTPS.
    pub seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guid_text_round_trips() {
        let guid = Guid::from_name("/imu");
        assert_ne!(guid, Guid::from_name("/imv"));
        let json = serde_json::to_string(&guid).unwrap();
        assert_eq!(serde_json::from_str::<Guid>(&json).unwrap(), guid);
        assert!(serde_json::from_str::<Guid>("\"zz\"").is_err());
        assert!(serde_json::from_str::<Guid>(&format!("\"{}\"", "ä".repeat(16))).is_err());
    }
}
