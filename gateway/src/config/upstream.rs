//! The `upstream` source of a relay.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The upstream gateway of a relay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamSettings {
    /// `ws://host:port` or `wss://host:port` of its endpoints.
    pub urls: Vec<String>,
    /// The token that authenticates this relay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The authority of the rover's certificates (PEM); absent: the first certificate is remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// This relay's certificate (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Globs of the topics to read over the radio, besides the emergency stop.
    pub topics: Vec<String>,
    /// Maximum rate per topic, samples per second; the newest sample is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate_hz: Option<f64>,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        UpstreamSettings {
            urls: Vec::new(),
            token: None,
            ca: None,
            cert: None,
            key: None,
            topics: vec!["**".to_owned()],
            max_rate_hz: None,
        }
    }
}
