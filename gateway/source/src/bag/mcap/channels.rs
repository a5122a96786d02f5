//! MCAP schemas and channels, converted to ours.

use std::collections::HashMap;
use std::sync::Arc;

use mcap::records::{Channel as ChannelRecord, Record};

use crate::SchemaText;
use crate::bag::qos;
use crate::bag::recording::{Channel, full_type_name};

/// A schema record; its text is shared by all channels of the type.
#[derive(Clone)]
struct Schema {
    name: String,
    text: Option<SchemaText>,
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
                self.schemas.entry(header.id).or_insert_with(|| {
                    let known = matches!(header.encoding.as_str(), "ros2msg" | "ros2idl");
                    let text =
                        std::str::from_utf8(&data).ok().filter(|text| known && !text.trim().is_empty());
                    let text =
                        text.map(|text| SchemaText { encoding: header.encoding, text: Arc::from(text) });
                    Schema { name: full_type_name(header.name), text }
                });
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
        let unusable = if record.message_encoding != "cdr" {
            Some(format!("its messages are `{}`, not cdr", record.message_encoding))
        } else if schema.is_none_or(|schema| schema.name.is_empty()) {
            Some("the recording does not say its type".to_owned())
        } else {
            None
        };
        let profiles = record.metadata.get("offered_qos_profiles").map_or("", String::as_str);
        Channel {
            id: u32::from(record.id),
            qos: qos::offered(&record.topic, profiles),
            latching_publishers: qos::latching_publishers(&record.topic, profiles),
            type_name: schema.map_or_else(String::new, |schema| schema.name.clone()),
            schema: schema.and_then(|schema| schema.text.clone()),
            topic: record.topic,
            unusable,
        }
    }
}
