//! The console's state. No I/O: time comes in as messages, effects leave through `update`.

pub mod api;
pub mod history;
mod network;
mod now;
pub mod palette;
pub mod quality;
mod question;
mod rover;
mod screen;
mod stamps;
mod stop;
mod topics;

use std::time::Duration;

use roverline_schema::Registry;

pub use crate::model::api::{Answer, Api, Document};
pub use crate::model::history::{History, RecordedTimes};
pub use crate::model::network::{Network, Serving};
pub use crate::model::now::Now;
pub use crate::model::question::{Form, Question, QuestionKind, RELEASE_WORD, SMALLEST};
pub use crate::model::rover::{
    Battery, Fix, Led, MAX_DIAGNOSTICS, MAX_TEMPERATURES, Odometry, Reading, Rover, Severity, Status,
};
pub use crate::model::screen::{Screen, Screens};
pub use crate::model::stamps::Stamps;
pub use crate::model::stop::{StopAnswer, StopCommand, StopState};
pub use crate::model::topics::{FILTER_CHARS, Focus, Sort, TopicRow, Topics};
use crate::screen::log::model::{Entry, Level, Origin};

/// How long a notification is shown.
pub const NOTIFICATION_DURATION: Duration = Duration::from_secs(8);

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
    /// The composer of commands.
    Composer,
    /// The command palette.
    Palette,
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

/// A moment of the past, shown instead of now.
#[derive(Debug)]
pub struct Rewind {
    /// The moment.
    pub at: Duration,
    /// Whether it is the moment at which the screen was frozen.
    pub is_frozen: bool,
    /// Everything as it was.
    pub past: Box<Model>,
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
    /// The screen that a key of another one asks for.
    pub next_screen: Option<Screen>,
    /// The current overlay.
    pub overlay: Overlay,
    /// The command palette, while it is the overlay.
    pub palette: palette::Palette,
    /// Questions asked so far.
    pub questions: u64,
    /// The states of the screens.
    pub screens: Screens,
    /// The name of this client, under which it takes locks.
    pub client: String,
    /// Whether this is what was, shown by rewind.
    pub is_past: bool,
    /// Whether a person is at the console; a command that prints is unattended.
    pub is_attended: bool,
    /// Requests to the HTTP API, and watches of its paths.
    pub api: Api,
    /// The last half hour.
    pub history: History,
    /// When what was last recorded of the team had come.
    pub recorded: RecordedTimes,
    /// What is shown instead of now.
    pub rewind: Option<Rewind>,
    /// The composer of commands.
    pub composer: crate::composer::model::State,
    /// The links.
    pub network: Network,
    /// The topics.
    pub topics: Topics,
    /// The stamps of live samples.
    pub stamps: Stamps,
    /// Values of the overview.
    pub rover: Rover,
    /// The operator's last stop or release.
    pub stop: Option<StopCommand>,
    /// When Ctrl-C was last pressed.
    pub quit_asked: Option<Duration>,
    /// Since when the console waits for its last requests, before it ends.
    pub quitting: Option<Duration>,
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

    /// Shows a notification, and keeps it in the log.
    pub fn notify(&mut self, serious: bool, text: String) {
        let level = if serious { Level::Warning } else { Level::Info };
        let entry = Entry::new(
            self.now.wall_ns,
            Origin::Notification,
            level,
            ["notification", "console", "console", &text],
        );
        self.screens.log.push(entry);
        self.notification = Some(Notification { at: self.now.mono, serious, text });
    }
}
