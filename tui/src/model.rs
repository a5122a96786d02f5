//! The console's state. No I/O: time comes in as messages, effects leave through `update`.

mod fields;
mod network;
pub mod quality;
mod question;
mod rover;
mod stamps;
mod stop;
mod topics;

use std::time::Duration;

use roverline_schema::Registry;

use crate::keymap::Context;
pub use crate::model::fields::{FieldRow, Fields};
pub use crate::model::network::{Network, Serving};
pub use crate::model::question::{Question, QuestionKind, RELEASE_WORD, SMALLEST};
pub use crate::model::rover::{
    Battery, Fix, Led, MAX_DIAGNOSTICS, MAX_TEMPERATURES, Odometry, Reading, Rover, Severity, Status,
};
pub use crate::model::stamps::Stamps;
pub use crate::model::stop::{StopAnswer, StopCommand, StopState};
pub use crate::model::topics::{FILTER_CHARS, Focus, Sort, TopicRow, Topics};

/// How long a notification is shown.
pub const NOTIFICATION_DURATION: Duration = Duration::from_secs(8);

/// Time as the model sees it; the model never reads a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time. Starts at [`Now::ORIGIN`], so that times before the program's start can be
    /// represented.
    pub mono: Duration,
    /// Wall clock, nanoseconds since the Unix epoch; for display and for the age of stored values.
    pub wall_ns: i64,
}

impl Now {
    /// Origin of the monotonic clock; anything older counts as this old.
    pub const ORIGIN: Duration = Duration::from_secs(30 * 86_400);

    /// Time since `then`.
    pub fn since(self, then: Duration) -> Duration {
        self.mono.saturating_sub(then)
    }
}

impl Default for Now {
    fn default() -> Self {
        Now { mono: Now::ORIGIN, wall_ns: 0 }
    }
}

/// The screens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Screen {
    /// The rover at a glance.
    #[default]
    Overview,
    /// The endpoints and their links.
    Endpoints,
    /// All topics.
    Topics,
}

impl Screen {
    /// In the order of their keys.
    pub const ALL: [Screen; 3] = [Screen::Overview, Screen::Endpoints, Screen::Topics];

    /// Title in the header.
    pub const fn title(self) -> &'static str {
        match self {
            Screen::Overview => "Overview",
            Screen::Endpoints => "Endpoints",
            Screen::Topics => "Topics",
        }
    }
}

/// Overlay on top of the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// Key help, scrolled to this line.
    Help {
        /// First line shown.
        scroll: usize,
    },
    /// A question.
    Question(Question),
}

/// A message for the operator that disappears by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// When it was created.
    pub at: Duration,
    /// Whether it is shown in a warning colour.
    pub serious: bool,
    /// The text.
    pub text: String,
}

/// The whole state.
#[derive(Debug, Default)]
pub struct Model {
    /// Time of the last clock message.
    pub now: Now,
    /// When rates were last computed.
    pub refreshed: Option<Duration>,
    /// Columns and lines of the terminal.
    pub size: (u16, u16),
    /// The current screen.
    pub screen: Screen,
    /// The current overlay.
    pub overlay: Overlay,
    /// Questions asked so far.
    pub questions: u64,
    /// Scroll position of the endpoints screen.
    pub endpoints_scroll: usize,
    /// The links.
    pub network: Network,
    /// The topics.
    pub topics: Topics,
    /// The stamps of live samples.
    pub stamps: Stamps,
    /// Fields of the selected topic.
    pub fields: Fields,
    /// Values of the overview.
    pub rover: Rover,
    /// The operator's last stop or release.
    pub stop: Option<StopCommand>,
    /// When Ctrl-C was last pressed.
    pub quit_asked: Option<Duration>,
    /// When suspending was last asked for, monotonic.
    pub suspend_asked: Option<Duration>,
    /// The newest notification.
    pub notification: Option<Notification>,
    /// Index of the current theme.
    pub theme: usize,
    /// Names of the themes.
    pub theme_names: Vec<String>,
    /// Definitions of message types.
    pub registry: Registry,
    /// Small topics that are not subscribed because there are too many.
    pub left_out_topics: usize,
    /// Types whose definition was requested.
    pub asked_schemas: std::collections::BTreeSet<String>,
}

impl Model {
    /// An empty model with these themes.
    pub fn new(theme_names: Vec<String>, theme: usize) -> Model {
        Model { theme_names, theme, ..Model::default() }
    }

    /// Active key contexts, innermost first.
    pub fn contexts(&self) -> &'static [Context] {
        use Context::{Always, Fields, Filter, Help, Quit, Release, Screen as Every, Topics};
        match (&self.overlay, self.screen) {
            (Overlay::Help { .. }, _) => &[Help, Always],
            (Overlay::Question(question), _) => match question.asked {
                QuestionKind::Release => &[Release, Always],
                QuestionKind::Quit => &[Quit, Always],
            },
            (Overlay::None, Screen::Topics) if self.topics.filtering => &[Filter, Always],
            (Overlay::None, Screen::Topics) => match self.topics.focus {
                Focus::List => &[Topics, Every, Always],
                Focus::Fields => &[Fields, Every, Always],
            },
            (Overlay::None, _) => &[Every, Always],
        }
    }
}
