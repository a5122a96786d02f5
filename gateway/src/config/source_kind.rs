//! The kinds of sources, and what the rest of the gateway has to know of each.

use serde::{Deserialize, Serialize};

/// The source of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Live ROS 2 over DDS; no ROS installation is needed.
    #[default]
    Dds,
    /// Live ROS 2 through an installed ROS 2 (a build with the `r2r` feature).
    R2r,
    /// A recording: MCAP or rosbag2 .db3.
    Bag,
    /// The built-in rover.
    Sim,
    /// Another gateway over the network, as used by `relay`.
    Upstream,
}

impl SourceKind {
    /// The name used in configuration and documents.
    pub const fn name(self) -> &'static str {
        match self {
            SourceKind::Dds => "dds",
            SourceKind::R2r => "r2r",
            SourceKind::Bag => "bag",
            SourceKind::Sim => "sim",
            SourceKind::Upstream => "upstream",
        }
    }

    /// Whether a failed source is opened again: its graph may come back.
    pub const fn reopens(self) -> bool {
        match self {
            SourceKind::Dds | SourceKind::R2r | SourceKind::Upstream => true,
            SourceKind::Bag | SourceKind::Sim => false,
        }
    }

    /// Whether it is a live ROS graph, into which the gateway publishes its diagnostics.
    pub const fn is_ros_graph(self) -> bool {
        match self {
            SourceKind::Dds | SourceKind::R2r => true,
            SourceKind::Bag | SourceKind::Sim | SourceKind::Upstream => false,
        }
    }

    /// Whether each endpoint finds the writers of its graph itself, one after the other. Such an endpoint warms up
    /// until it hears what the others hear, and joins the graph anew if it hears less than they do and its source can.
    pub const fn discovers_writers(self) -> bool {
        match self {
            SourceKind::Dds | SourceKind::R2r => true,
            SourceKind::Bag | SourceKind::Sim | SourceKind::Upstream => false,
        }
    }

    /// Whether it can join its graph anew beside its present run: `rcl` has no second node of the same name in one
    /// process, so `r2r` cannot.
    pub const fn joins_anew(self) -> bool {
        match self {
            SourceKind::Dds => true,
            SourceKind::R2r | SourceKind::Bag | SourceKind::Sim | SourceKind::Upstream => false,
        }
    }

    /// Whether the gateway publishes the emergency stop into it. A recording accepts no publications;
    /// for a relay, the rover's own gateway latches and publishes the stop.
    pub const fn takes_emergency_stop(self) -> bool {
        match self {
            SourceKind::Dds | SourceKind::R2r | SourceKind::Sim => true,
            SourceKind::Bag | SourceKind::Upstream => false,
        }
    }

    /// Whether it is another gateway, so that this one is a relay: it latches, shares and covers nothing itself.
    pub const fn is_relay(self) -> bool {
        match self {
            SourceKind::Upstream => true,
            SourceKind::Dds | SourceKind::R2r | SourceKind::Bag | SourceKind::Sim => false,
        }
    }

    /// Whether it plays a recording, whose time and length clients can follow.
    pub const fn is_recording(self) -> bool {
        match self {
            SourceKind::Bag => true,
            SourceKind::Dds | SourceKind::R2r | SourceKind::Sim | SourceKind::Upstream => false,
        }
    }

    /// Whether each run of the gateway starts a rover of its own, with a latched stop and log of its own.
    pub const fn is_new_rover_each_run(self) -> bool {
        match self {
            SourceKind::Sim => true,
            SourceKind::Dds | SourceKind::R2r | SourceKind::Bag | SourceKind::Upstream => false,
        }
    }

    /// Whether it is opened once for a check before any port is: it may not be able to start.
    pub const fn is_tried_at_start(self) -> bool {
        match self {
            SourceKind::R2r | SourceKind::Bag | SourceKind::Upstream => true,
            SourceKind::Dds | SourceKind::Sim => false,
        }
    }
}
