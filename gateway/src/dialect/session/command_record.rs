//! The record of a call, goal or parameter of a client whose protocol has no ids for commands: an event when its outcome is
//! known.

use std::sync::Arc;

use roverline_protocol::api::commands::CommandKind;
use roverline_source::clock::monotonic;

use crate::dialect::session::SessionContext;
use crate::endpoint::Endpoint;
use crate::endpoint::command_streams::{StreamClient, StreamKey};

/// Services of every node that only read.
const READ_ONLY: [&str; 5] = [
    "rcl_interfaces/srv/DescribeParameters",
    "rcl_interfaces/srv/GetParameters",
    "rcl_interfaces/srv/GetParameterTypes",
    "rcl_interfaces/srv/ListParameters",
    "type_description_interfaces/srv/GetTypeDescription",
];
const UNFINISHED: &str = "its client left, or had too many under way, before the outcome was known";

/// A command under way. One that is dropped has failed.
pub struct CommandRecord {
    endpoint: Arc<Endpoint>,
    command: Option<(StreamKey, StreamClient)>,
    type_name: String,
}

impl SessionContext {
    /// Begins the record of a command that this client may give.
    pub fn record_command(&self, kind: CommandKind, target: &str, type_name: &str) -> CommandRecord {
        let key = StreamKey { session: self.info.id, kind, target: target.to_owned() };
        let changes_rover = !READ_ONLY.contains(&type_name);
        CommandRecord {
            endpoint: self.endpoint.clone(),
            command: changes_rover.then(|| (key, StreamClient::of(&self.info))),
            type_name: type_name.to_owned(),
        }
    }
}

impl CommandRecord {
    /// Records the outcome: done, or why not.
    pub fn finish(mut self, failure: Option<String>) {
        self.record(failure);
    }

    /// The same of a result.
    pub fn finish_with<T, E: std::fmt::Display>(self, result: &Result<T, E>) {
        self.finish(result.as_ref().err().map(ToString::to_string));
    }

    fn record(&mut self, failure: Option<String>) {
        if let Some((key, client)) = self.command.take() {
            let streams = &self.endpoint.command_streams;
            streams.record(key, &self.type_name, || client, failure, monotonic());
        }
    }
}

impl Drop for CommandRecord {
    fn drop(&mut self) {
        self.record(Some(UNFINISHED.to_owned()));
    }
}
