//! Everything the console knows. No I/O in here: time comes in, effects go out through `update`.

mod fields;
mod network;
mod rover;
mod topics;

use std::time::Duration;

use roverline_schema::Registry;

use crate::keymap::Context;
pub use crate::model::fields::{FieldRow, Fields};
pub use crate::model::network::{Network, Serving};
pub use crate::model::rover::{
    Battery, Fix, Led, MAX_DIAGNOSTICS, MAX_TEMPERATURES, Odometry, Reading, Rover, Severity, Status,
};
pub use crate::model::topics::{FILTER_CHARS, Focus, Sort, TopicRow, Topics};

/// Time as the model sees it; it never asks a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic. Begins at [`Now::ORIGIN`], so that what is older than the program has a place.
    pub mono: Duration,
    /// Wall clock, nanoseconds since the Unix epoch; for display and for the age of stored values.
    pub wall_ns: i64,
}

impl Now {
    /// Where the monotonic clock begins; older than this counts as this old.
    pub const ORIGIN: Duration = Duration::from_secs(30 * 86_400);

    /// How long ago `then` was.
    pub fn since(self, then: Duration) -> Duration {
        self.mono.saturating_sub(then)
    }
}

impl Default for Now {
    fn default() -> Self {
        Now { mono: Now::ORIGIN, wall_ns: 0 }
    }
}

/// The three screens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Screen {
    /// The rover at a glance.
    #[default]
    Overview,
    /// The links.
    Endpoints,
    /// Everything that is published.
    Topics,
}

impl Screen {
    /// In the order of their keys.
    pub const ALL: [Screen; 3] = [Screen::Overview, Screen::Endpoints, Screen::Topics];

    /// The name in the header.
    pub const fn title(self) -> &'static str {
        match self {
            Screen::Overview => "Overview",
            Screen::Endpoints => "Endpoints",
            Screen::Topics => "Topics",
        }
    }
}

/// What lies over the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// The keys, from this line on.
    Help {
        /// First line shown.
        scroll: usize,
    },
    /// The question before a release.
    ConfirmRelease,
}

/// What became of the operator's last stop or release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopCommand {
    /// The command's id, as the link gave it.
    pub id: String,
    /// Engage, or release.
    pub engage: bool,
    /// When it was sent.
    pub sent: Duration,
    /// Accepted or not, and the words with it; `None` while nobody answered.
    pub answer: Option<(bool, String, Duration)>,
}

/// A sentence for the operator that goes away by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When it came.
    pub at: Duration,
    /// Whether it is worth a colour.
    pub serious: bool,
    /// The sentence.
    pub text: String,
}

/// The whole state.
#[derive(Debug, Default)]
pub struct Model {
    /// The time of the last clock message.
    pub now: Now,
    /// When rates were last made anew.
    pub refreshed: Option<Duration>,
    /// Columns and lines.
    pub size: (u16, u16),
    /// What is shown.
    pub screen: Screen,
    /// What lies over it.
    pub overlay: Overlay,
    /// Scroll position of the endpoints screen.
    pub endpoints_scroll: usize,
    /// The links.
    pub network: Network,
    /// The topics.
    pub topics: Topics,
    /// The selected topic's fields.
    pub fields: Fields,
    /// The overview's values.
    pub rover: Rover,
    /// The operator's last stop or release.
    pub stop: Option<StopCommand>,
    /// The newest notice.
    pub notice: Option<Notice>,
    /// Which of the themes is in use.
    pub theme: usize,
    /// Their names.
    pub theme_names: Vec<String>,
    /// Definitions of message types.
    pub registry: Registry,
    /// Types whose definition was asked for.
    pub asked_schemas: std::collections::BTreeSet<String>,
}

impl Model {
    /// An empty model with these themes.
    pub fn new(theme_names: Vec<String>, theme: usize) -> Model {
        Model { theme_names, theme, ..Model::default() }
    }

    /// Where keys have their meaning now, innermost first.
    pub fn contexts(&self) -> &'static [Context] {
        use Context::{Always, Confirm, Fields, Filter, Help, Screen as Every, Topics};
        match (self.overlay, self.screen) {
            (Overlay::Help { .. }, _) => &[Help, Always],
            (Overlay::ConfirmRelease, _) => &[Confirm, Always],
            (Overlay::None, Screen::Topics) if self.topics.filtering => &[Filter, Always],
            (Overlay::None, Screen::Topics) => match self.topics.focus {
                Focus::List => &[Topics, Every, Always],
                Focus::Fields => &[Fields, Every, Always],
            },
            (Overlay::None, _) => &[Every, Always],
        }
    }
}
