//! Effects: what the runtime does for the model.

use serde_json::Value;

use crate::picture::PictureJob;

/// An action for the runtime.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Subscribe to these topics.
    Subscribe {
        /// Their names.
        topics: Vec<String>,
        /// Maximum rate.
        max_rate_hz: Option<f64>,
    },
    /// Unsubscribe from these topics.
    Unsubscribe(Vec<String>),
    /// Request the definition of a type.
    Schema(String),
    /// Engage or release the emergency stop.
    EmergencyStop {
        /// Engage or release.
        engage: bool,
    },
    /// Send a request to the HTTP API.
    Request {
        /// The model's number of it.
        number: u64,
        /// `GET`, `POST`, …
        method: &'static str,
        /// The path with its query.
        path: String,
        /// The body.
        body: Option<Value>,
    },
    /// Watch a path of the HTTP API.
    Watch {
        /// The model's number of it.
        number: u64,
        /// The path with its query.
        path: String,
    },
    /// End the watch that the link knows by this id.
    Unwatch(u64),
    /// Publish a message of which the newest counts; it is useless after `ttl`.
    Publish {
        /// The topic.
        topic: String,
        /// Its ROS type.
        type_name: &'static str,
        /// The message.
        body: Value,
        /// Its time to live.
        ttl: std::time::Duration,
        /// The fencing token of the lock that guards the topic.
        token: Option<u64>,
    },
    /// Let the terminal report key releases and its focus, or not any more.
    DrivingInput(bool),
    /// Write the file of the composer's commands.
    SaveCommands(String),
    /// Put a text into the terminal's clipboard (OSC 52).
    Copy(String),
    /// Make a picture, off the loop.
    Picture(PictureJob),
    /// Ring the terminal's bell.
    Bell,
    /// Set the title of the terminal's window.
    Title(String),
    /// Restore the terminal and suspend until the shell continues the process.
    Suspend,
    /// Exit.
    Quit,
}
