//! MCAP schemas and channels, converted to ours.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mcap::records::{Channel as ChannelRecord, Record, SchemaHeader};
use roverline_protocol::MessageEncoding;

use crate::SchemaText;
use crate::bag::qos;
use crate::bag::recording::{Channel, full_type_name};

/// A schema record; its text is shared by all channels of the type.
#[derive(Clone)]
struct Schema {
    name: String,
    text: Option<SchemaText>,
}

impl Schema {
    fn new(header: SchemaHeader, data: &[u8]) -> Schema {
        let text = match header.encoding.as_str() {
            _ if data.is_empty() => None,
            "protobuf" | "flatbuffer" => Some(STANDARD.encode(data)),
            _ => std::str::from_utf8(data).ok().filter(|text| !text.trim().is_empty()).map(str::to_owned),
        };
        let text = text.map(|text| SchemaText { encoding: header.encoding, text: Arc::from(text) });
        Schema { name: header.name, text }
    }

    /// The definition, for messages in this encoding. ROS 2 has two languages.
    fn text_for(&self, encoding: &MessageEncoding) -> Option<SchemaText> {
        let is_ros = |text: &&SchemaText| matches!(text.encoding.as_str(), "ros2msg" | "ros2idl");
        self.text.as_ref().filter(|text| !encoding.is_cdr() || is_ros(text)).cloned()
    }
}

/// All definitions read so far. Definitions repeat; the first one of an id counts.
#[derive(Clone, Default)]
pub(super) struct Definitions {
    schemas: HashMap<u16, Schema>,
    indexes: HashMap<u16, usize>,
    pub(super) channels: Vec<Channel>,
}

impl Definitions {
    /// Adds a schema or channel record.
    pub(super) fn define(&mut self, record: Record<'_>) {
        match record {
            Record::Schema { header, data } => {
                self.schemas.entry(header.id).or_insert_with(|| Schema::new(header, &data));
            }
            Record::Channel(record) if !self.indexes.contains_key(&record.id) => {
                self.indexes.insert(record.id, self.channels.len());
                let channel = self.channel(record);
                self.channels.push(channel);
            }
            _ => {}
        }
    }

    /// The index of a channel, `None` if it is not defined.
    pub(super) fn index(&self, id: u16) -> Option<usize> {
        self.indexes.get(&id).copied()
    }

    fn channel(&self, record: ChannelRecord) -> Channel {
        let schema = self.schemas.get(&record.schema_id);
        let encoding = MessageEncoding::from(record.message_encoding);
        let name = schema.map_or_else(String::new, |schema| schema.name.clone());
        let unusable = if encoding.name().is_empty() {
            Some("the recording does not say how its messages are encoded")
        } else if encoding.is_cdr() && name.is_empty() {
            Some("the recording does not say its type")
        } else {
            None
        };
        let profiles = record.metadata.get("offered_qos_profiles").map_or("", String::as_str);
        Channel {
            id: u32::from(record.id),
            qos: qos::offered(&record.topic, profiles),
            latching_publishers: qos::latching_publishers(&record.topic, profiles),
            history_depth: qos::history_depth(&record.topic, profiles),
            type_name: if encoding.is_cdr() { full_type_name(name) } else { name },
            schema: schema.and_then(|schema| schema.text_for(&encoding)),
            encoding,
            topic: record.topic,
            unusable: unusable.map(str::to_owned),
        }
    }
}
