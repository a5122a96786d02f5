//! The table of key bindings: dispatch, footer, help and the self-check are generated from it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A context in which keys are bound. Several contexts can be active: the innermost comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// Everywhere, also in dialogs and text input.
    Always,
    /// On every screen.
    Screen,
    /// The topics list.
    Topics,
    /// The fields of the selected topic.
    Fields,
    /// While typing a filter.
    Filter,
    /// The help overlay.
    Help,
    /// The question before a release.
    Release,
    /// The question before quitting while a stop is unheard.
    Quit,
}

impl Context {
    /// Heading in the help overlay.
    pub const fn title(self) -> &'static str {
        match self {
            Context::Always => "Always",
            Context::Screen => "Every screen",
            Context::Topics => "Topics: list",
            Context::Fields => "Topics: fields",
            Context::Filter => "Filter",
            Context::Help => "This help",
            Context::Release => "Release?",
            Context::Quit => "Quit?",
        }
    }
}

/// The action of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is described in the table, for the operator")]
pub enum Action {
    Stop,
    Quit,
    QuitNow,
    Suspend,
    Help,
    AskRelease,
    NextTheme,
    Overview,
    Endpoints,
    Topics,
    NextScreen,
    PreviousScreen,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    EnterFields,
    LeaveFields,
    Toggle,
    Expand,
    Collapse,
    Sort,
    ReverseSort,
    StartFilter,
    AcceptFilter,
    ClearFilter,
    EraseFilter,
    Close,
    Confirm,
    EraseTyped,
}

/// One binding.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The key.
    pub code: KeyCode,
    /// With Ctrl.
    pub ctrl: bool,
    /// The action.
    pub action: Action,
    /// The context.
    pub context: Context,
    /// Description in the help overlay; bindings of one action in a context share a line.
    pub description: &'static str,
    /// Word in the footer, for the most important keys.
    pub footer: Option<&'static str>,
}

const fn key(code: KeyCode, action: Action, context: Context, description: &'static str) -> Binding {
    Binding { code, ctrl: false, action, context, description, footer: None }
}

const fn ctrl(c: char, action: Action, context: Context, description: &'static str) -> Binding {
    Binding { ctrl: true, ..key(KeyCode::Char(c), action, context, description) }
}

const fn char(c: char, action: Action, context: Context, description: &'static str) -> Binding {
    key(KeyCode::Char(c), action, context, description)
}

impl Binding {
    const fn footer(self, word: &'static str) -> Binding {
        Binding { footer: Some(word), ..self }
    }
}

use Context::{Always, Fields, Filter, Help, Quit, Release, Screen, Topics};

const STOP: &str = "emergency stop, at once, without a question";

/// The table.
pub static KEYS: &[Binding] = &[
    char('!', Action::Stop, Always, STOP).footer("STOP"),
    ctrl('c', Action::QuitNow, Always, "quit; asks first while a stop is unheard"),
    ctrl('z', Action::Suspend, Always, "suspend, back with fg"),
    char('?', Action::Help, Screen, "this help").footer("help"),
    char('q', Action::Quit, Screen, "quit").footer("quit"),
    char('1', Action::Overview, Screen, "overview"),
    char('2', Action::Endpoints, Screen, "endpoints"),
    char('3', Action::Topics, Screen, "topics"),
    key(KeyCode::Tab, Action::NextScreen, Screen, "next screen").footer("screen"),
    key(KeyCode::BackTab, Action::PreviousScreen, Screen, "previous screen"),
    char('t', Action::NextTheme, Screen, "next theme").footer("theme"),
    char('R', Action::AskRelease, Screen, "release the emergency stop (asks for a word)").footer("release"),
    key(KeyCode::Right, Action::NextScreen, Screen, "next screen"),
    key(KeyCode::Left, Action::PreviousScreen, Screen, "previous screen"),
    char('l', Action::NextScreen, Screen, "next screen"),
    char('h', Action::PreviousScreen, Screen, "previous screen"),
    key(KeyCode::Down, Action::Down, Screen, "down"),
    key(KeyCode::Up, Action::Up, Screen, "up"),
    char('j', Action::Down, Screen, "down"),
    char('k', Action::Up, Screen, "up"),
    key(KeyCode::PageDown, Action::PageDown, Screen, "a page down"),
    key(KeyCode::PageUp, Action::PageUp, Screen, "a page up"),
    key(KeyCode::Home, Action::First, Screen, "first"),
    key(KeyCode::End, Action::Last, Screen, "last"),
    char('g', Action::First, Screen, "first"),
    char('G', Action::Last, Screen, "last"),
    char('/', Action::StartFilter, Topics, "filter by name or type").footer("filter"),
    char('s', Action::Sort, Topics, "sort by the next column").footer("sort"),
    char('S', Action::ReverseSort, Topics, "turn the order round"),
    key(KeyCode::Enter, Action::EnterFields, Topics, "go to the fields").footer("fields"),
    key(KeyCode::Right, Action::EnterFields, Topics, "go to the fields"),
    char('l', Action::EnterFields, Topics, "go to the fields"),
    key(KeyCode::Esc, Action::ClearFilter, Topics, "clear the filter"),
    key(KeyCode::Enter, Action::Toggle, Fields, "open or close").footer("open/close"),
    char(' ', Action::Toggle, Fields, "open or close"),
    key(KeyCode::Right, Action::Expand, Fields, "open"),
    char('l', Action::Expand, Fields, "open"),
    key(KeyCode::Left, Action::Collapse, Fields, "close, then back to the list"),
    char('h', Action::Collapse, Fields, "close, then back to the list"),
    key(KeyCode::Esc, Action::LeaveFields, Fields, "back to the list").footer("list"),
    key(KeyCode::Enter, Action::AcceptFilter, Filter, "keep the filter").footer("keep"),
    key(KeyCode::Esc, Action::ClearFilter, Filter, "clear the filter").footer("clear"),
    key(KeyCode::Backspace, Action::EraseFilter, Filter, "erase a character"),
    key(KeyCode::Down, Action::Down, Filter, "down"),
    key(KeyCode::Up, Action::Up, Filter, "up"),
    key(KeyCode::Esc, Action::Close, Help, "close").footer("close"),
    char('?', Action::Close, Help, "close"),
    char('q', Action::Close, Help, "close"),
    key(KeyCode::Down, Action::Down, Help, "down").footer("more"),
    key(KeyCode::Up, Action::Up, Help, "up"),
    char('j', Action::Down, Help, "down"),
    char('k', Action::Up, Help, "up"),
    key(KeyCode::PageDown, Action::PageDown, Help, "a page down"),
    key(KeyCode::PageUp, Action::PageUp, Help, "a page up"),
    key(KeyCode::Enter, Action::Confirm, Release, "release, once the word is typed").footer("release"),
    key(KeyCode::Esc, Action::Close, Release, "leave it engaged").footer("cancel"),
    key(KeyCode::Backspace, Action::EraseTyped, Release, "erase a character"),
    char('y', Action::Confirm, Quit, "quit all the same").footer("quit"),
    char('n', Action::Close, Quit, "stay").footer("stay"),
    key(KeyCode::Esc, Action::Close, Quit, "stay"),
];

impl Binding {
    fn matches(&self, event: &KeyEvent) -> bool {
        // For letters, Shift is part of the character; BackTab is Shift+Tab.
        let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
        let alt = event.modifiers.contains(KeyModifiers::ALT);
        self.code == event.code && self.ctrl == ctrl && !alt
    }

    /// The key's name as printed on a keyboard.
    pub fn name(&self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::Up => "↑".to_owned(),
            KeyCode::Down => "↓".to_owned(),
            KeyCode::Left => "←".to_owned(),
            KeyCode::Right => "→".to_owned(),
            KeyCode::BackTab => "Shift-Tab".to_owned(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            other => other.to_string(),
        };
        if self.ctrl { format!("^{}", name.to_uppercase()) } else { name }
    }
}

/// The action of a key in the active contexts, innermost first.
pub fn action(event: &KeyEvent, contexts: &[Context]) -> Option<Action> {
    contexts
        .iter()
        .find_map(|&context| KEYS.iter().find(|b| b.context == context && b.matches(event)).map(|b| b.action))
}

/// Footer entries (key and word) of the active contexts. The stop comes first: it is the key that
/// must be found in a hurry.
pub fn footer(contexts: &[Context]) -> Vec<(String, &'static str)> {
    let of = |context: Context| {
        KEYS.iter()
            .filter(move |b| b.context == context)
            .filter_map(|b| b.footer.map(|word| (b.name(), word)))
    };
    of(Always).chain(contexts.iter().filter(|&&c| c != Always).flat_map(|&c| of(c))).collect()
}

/// A section of the help overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelpLine {
    /// The context's title.
    Title(&'static str),
    /// Keys and their descriptions.
    Entry(String, &'static str),
}

/// Sections of the help overlay; keys with the same action in one context share a line.
pub fn help() -> Vec<HelpLine> {
    let mut lines = Vec::new();
    for context in [Always, Screen, Topics, Fields, Filter, Release, Quit] {
        lines.push(HelpLine::Title(context.title()));
        let mut done: Vec<Action> = Vec::new();
        for first in KEYS.iter().filter(|b| b.context == context) {
            if done.contains(&first.action) {
                continue;
            }
            done.push(first.action);
            let same = KEYS.iter().filter(|b| b.context == context && b.action == first.action);
            let keys = same.map(Binding::name).collect::<Vec<_>>().join(" ");
            lines.push(HelpLine::Entry(keys, first.description));
        }
    }
    lines
}

/// The last line of the help at which its overlay can begin, for this terminal size.
pub fn last_scroll(size: (u16, u16)) -> usize {
    // The header, at most three lines of messages, the footer, the frame and the warning.
    let visible = size.1.saturating_sub(9);
    help().len().saturating_sub(usize::from(visible))
}

/// Errors in the table: a key bound twice in one context, or one that `Always` already binds.
pub fn problems(table: &[Binding]) -> Vec<String> {
    let mut found = Vec::new();
    for (i, a) in table.iter().enumerate() {
        if a.description.is_empty() {
            found.push(format!("{} has no description", a.name()));
        }
        for b in &table[i + 1..] {
            let overlap = a.context == b.context || a.context == Always || b.context == Always;
            if overlap && a.code == b.code && a.ctrl == b.ctrl {
                found.push(format!("{} is bound twice in {}", a.name(), b.context.title()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_problems() {
        assert_eq!(problems(KEYS), Vec::<String>::new());
    }

    #[test]
    fn the_check_finds_what_it_is_for() {
        let twice = [char('a', Action::Up, Screen, "up"), char('a', Action::Down, Screen, "down")];
        assert_eq!(problems(&twice).len(), 1);
        let shadows_stop = [char('!', Action::Stop, Always, "stop"), char('!', Action::Up, Filter, "up")];
        assert_eq!(problems(&shadows_stop).len(), 1);
    }

    #[test]
    fn the_inner_context_wins() {
        let right = KeyEvent::new(KeyCode::Right, KeyModifiers::NONE);
        assert_eq!(action(&right, &[Fields, Screen, Always]), Some(Action::Expand));
        assert_eq!(action(&right, &[Screen, Always]), Some(Action::NextScreen));
        let alt = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT);
        assert_eq!(action(&alt, &[Screen, Always]), None);
    }

    #[test]
    fn every_action_on_screen_is_in_the_help() {
        let entries = help().into_iter().filter(|line| matches!(line, HelpLine::Entry(..))).count();
        assert!(entries > 25, "{entries}");
    }
}
