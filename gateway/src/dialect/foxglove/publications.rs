//! Publishing for a client: only what its role allows and this endpoint serves, and only messages that
//! match their type.

use std::collections::HashMap;

use bytes::Bytes;
use roverline_schema::TypeName;
use roverline_source::Publication;

use crate::dialect::foxglove::check_length;
use crate::dialect::foxglove::client_message::ClientChannel;
use crate::dialect::foxglove::error::{Duplicate, Limit, PayloadError, RequestError};
use crate::dialect::foxglove::server_message::Level;
use crate::dialect::foxglove::status::StatusReporter;
use crate::dialect::session::SessionContext;
use crate::limits;

/// The encoding in which a client sends messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Cdr,
    Json,
}

impl Encoding {
    pub(super) const NAMES: [&str; 2] = ["cdr", "json"];

    pub(super) fn parse(name: &str) -> Result<Encoding, PayloadError> {
        match name {
            "cdr" => Ok(Encoding::Cdr),
            "json" => Ok(Encoding::Json),
            other => {
                let given = other.chars().take(32).collect();
                Err(PayloadError::Encoding { given, known: &Encoding::NAMES })
            }
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Encoding::Cdr => "cdr",
            Encoding::Json => "json",
        }
    }
}

struct Advertised {
    topic: String,
    type_name: String,
    encoding: Encoding,
    /// Keeps the topic's writer open.
    _writer: Option<roverline_source::ros::Advertised>,
}

/// The channels that one client has advertised.
#[derive(Default)]
pub(super) struct Publications(HashMap<u32, Advertised>);

impl Publications {
    pub(super) fn advertise(
        &mut self,
        context: &SessionContext,
        channels: Vec<ClientChannel>,
        reporter: &mut StatusReporter,
    ) -> Result<(), RequestError> {
        check_length(&channels)?;
        for channel in channels {
            if let Err(error) = self.advertise_one(context, channel) {
                reporter.report(Level::Error, error);
            }
        }
        Ok(())
    }

    fn advertise_one(
        &mut self,
        context: &SessionContext,
        channel: ClientChannel,
    ) -> Result<(), RequestError> {
        let ClientChannel { id, topic, encoding, schema_name } = channel;
        if self.0.contains_key(&id) {
            return Err(Duplicate::Advertised(id).into());
        }
        if self.0.len() >= limits::PUBLICATIONS_PER_SESSION {
            return Err(Limit::Publications.into());
        }
        if topic.is_empty() || topic.len() > limits::TOPIC_NAME_CHARS {
            return Err(Limit::TopicName.into());
        }
        let topic = if topic.starts_with('/') { topic } else { format!("/{topic}") };
        let encoding = Encoding::parse(&encoding)?;
        let type_name = TypeName::parse(&schema_name)?.to_string();
        // The channel is stored all the same: a token or a scope may come later, and each message is
        // checked.
        let may = context.authorize_publish(&topic, &type_name);
        let writer = may.is_ok().then(|| context.open_writer(&topic, &type_name, false)).flatten();
        self.0.insert(id, Advertised { topic, type_name, encoding, _writer: writer });
        Ok(may?)
    }

    pub(super) fn unadvertise(
        &mut self,
        ids: &[u32],
        reporter: &mut StatusReporter,
    ) -> Result<(), RequestError> {
        check_length(ids)?;
        for id in ids {
            if self.0.remove(id).is_none() {
                reporter.report(Level::Warning, RequestError::NotAdvertised(*id));
            }
        }
        Ok(())
    }

    /// Publishes a message.
    pub(super) fn publish(
        &self,
        context: &SessionContext,
        channel: u32,
        payload: &Bytes,
    ) -> Result<(), RequestError> {
        let advertised = self.0.get(&channel).ok_or(RequestError::NotAdvertised(channel))?;
        let Advertised { topic, type_name, encoding, .. } = advertised;
        // Checked before any decoding work.
        context.authorize_publish(topic, type_name)?;
        let payload = to_cdr(context, *encoding, type_name, payload)
            .map_err(|source| RequestError::Message { topic: topic.clone(), source })?;
        let (topic, type_name) = (topic.clone(), type_name.clone());
        let publication = Publication { topic, type_name, payload, latched: false };
        Ok(context.publish(publication)?)
    }
}

/// Converts a client's payload to CDR that matches its type. CDR of an unknown type is passed on
/// unchanged.
pub(super) fn to_cdr(
    context: &SessionContext,
    encoding: Encoding,
    type_name: &str,
    payload: &Bytes,
) -> Result<Bytes, PayloadError> {
    let endpoint = &context.endpoint;
    match encoding {
        Encoding::Json => {
            let json = serde_json::from_slice(payload)?;
            Ok(endpoint.ros.encode(type_name, &json)?)
        }
        Encoding::Cdr => match endpoint.hub.registry().plan(type_name) {
            Ok(plan) => match plan.decode(payload) {
                Ok(_) => Ok(payload.clone()),
                Err(source) => Err(PayloadError::Cdr { type_name: type_name.to_owned(), source }),
            },
            Err(_) if payload.len() < 4 => Err(PayloadError::NoHeader),
            Err(_) => Ok(payload.clone()),
        },
    }
}
