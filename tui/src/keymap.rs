//! Key bindings: what a key does in a context. Dispatch, footer, help and the self-check read the same tables.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::effect::Effect;
use crate::model::Model;

/// What a key does.
pub type Run = fn(&mut Model) -> Vec<Effect>;

/// Which keys count that arrive together with others, as pasted text does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gravity {
    /// Two may have been typed quickly.
    #[default]
    Plain,
    /// It ends the program or releases something: it needs a key of its own.
    Grave,
    /// Always: a stuck link delays keys, and an unintended stop is harmless.
    Urgent,
}

/// One binding.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The key.
    pub code: KeyCode,
    /// With Ctrl.
    pub ctrl: bool,
    /// What it does.
    pub run: Run,
    /// How it is taken when it arrives with others.
    pub gravity: Gravity,
    /// Description in the help; keys with the same one in a context share a line.
    pub description: &'static str,
    /// Word in the footer, for the most important keys.
    pub footer: Option<&'static str>,
}

/// Keys that are active together. Several contexts can be active: the innermost comes first.
#[derive(Debug)]
pub struct Context {
    /// Heading in the help.
    pub title: &'static str,
    /// The keys.
    pub keys: &'static [Binding],
    /// What takes the characters that are not keys, if text is typed here.
    pub text: Option<TextInput>,
}

/// Takes typed characters, and pasted text.
#[derive(Clone, Copy, Debug)]
pub struct TextInput {
    /// A character was typed.
    pub typed: fn(&mut Model, char) -> Vec<Effect>,
    /// A text was pasted; `None` where text has to be typed.
    pub pasted: Option<fn(&mut Model, &str) -> Vec<Effect>>,
}

/// A binding of any key.
pub const fn key(code: KeyCode, run: Run, description: &'static str) -> Binding {
    Binding { code, ctrl: false, run, gravity: Gravity::Plain, description, footer: None }
}

/// A binding of a character with Ctrl.
pub const fn ctrl(c: char, run: Run, description: &'static str) -> Binding {
    Binding { ctrl: true, ..key(KeyCode::Char(c), run, description) }
}

/// A binding of a character.
pub const fn char(c: char, run: Run, description: &'static str) -> Binding {
    key(KeyCode::Char(c), run, description)
}

impl Binding {
    /// With this word in the footer.
    #[must_use]
    pub const fn footer(self, word: &'static str) -> Binding {
        Binding { footer: Some(word), ..self }
    }

    /// It needs a key of its own.
    #[must_use]
    pub const fn grave(self) -> Binding {
        Binding { gravity: Gravity::Grave, ..self }
    }

    /// It acts always.
    #[must_use]
    pub const fn urgent(self) -> Binding {
        Binding { gravity: Gravity::Urgent, ..self }
    }

    /// Whether it acts for a key that arrived together with others, `together` in all.
    pub fn acts(&self, together: usize) -> bool {
        match self.gravity {
            Gravity::Urgent => true,
            Gravity::Plain => together <= 2,
            Gravity::Grave => together <= 1,
        }
    }

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

/// The binding of a key in the active contexts, innermost first, and its context.
pub fn find(event: &KeyEvent, contexts: &[&'static Context]) -> Option<(&'static Binding, &'static Context)> {
    contexts.iter().find_map(|context| {
        context.keys.iter().find(|binding| binding.matches(event)).map(|binding| (binding, *context))
    })
}

/// Footer entries (key and word) of contexts, in their order.
pub fn footer(contexts: &[&'static Context]) -> Vec<(String, &'static str)> {
    let all = contexts.iter().flat_map(|context| context.keys);
    all.filter_map(|binding| binding.footer.map(|word| (binding.name(), word))).collect()
}

/// A line of the help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelpLine {
    /// The context's title.
    Title(&'static str),
    /// Keys and their descriptions.
    Entry(String, &'static str),
}

/// Sections of the help; keys with the same description in one context share a line.
pub fn help(contexts: &[&'static Context]) -> Vec<HelpLine> {
    let mut lines = Vec::new();
    for context in contexts {
        lines.push(HelpLine::Title(context.title));
        let mut done: Vec<&str> = Vec::new();
        for first in context.keys {
            if done.contains(&first.description) {
                continue;
            }
            done.push(first.description);
            let same = context.keys.iter().filter(|binding| binding.description == first.description);
            let keys = same.map(Binding::name).collect::<Vec<_>>().join(" ");
            lines.push(HelpLine::Entry(keys, first.description));
        }
    }
    lines
}

/// Errors in tables: a key bound twice in one context, or one that the first context, which is always active, binds as
/// well.
pub fn problems(contexts: &[&Context]) -> Vec<String> {
    let mut found = Vec::new();
    let is_same = |a: &Binding, b: &Binding| a.code == b.code && a.ctrl == b.ctrl;
    for (n, context) in contexts.iter().enumerate() {
        for (i, a) in context.keys.iter().enumerate() {
            if a.description.is_empty() {
                found.push(format!("{} has no description", a.name()));
            }
            let always = contexts.first().filter(|_| n > 0).map_or(&[][..], |first| first.keys);
            if context.keys[i + 1..].iter().chain(always).any(|b| is_same(a, b)) {
                found.push(format!("{} is bound twice in {}", a.name(), context.title));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &mut Model) -> Vec<Effect> {
        Vec::new()
    }

    fn stop(_: &mut Model) -> Vec<Effect> {
        vec![Effect::EmergencyStop { engage: true }]
    }

    static ALWAYS: Context =
        Context { title: "Always", keys: &[char('!', stop, "stop").urgent()], text: None };
    static OUTER: Context =
        Context { title: "Outer", keys: &[key(KeyCode::Right, stop, "next").grave()], text: None };
    static INNER: Context = Context {
        title: "Inner",
        keys: &[key(KeyCode::Right, nothing, "open"), char('l', nothing, "open").footer("open")],
        text: None,
    };

    #[test]
    fn the_check_finds_what_it_is_for() {
        assert_eq!(problems(&[&ALWAYS, &OUTER, &INNER]), Vec::<String>::new());
        static TWICE: Context =
            Context { title: "T", keys: &[char('a', stop, "a"), char('a', nothing, "b")], text: None };
        assert_eq!(problems(&[&ALWAYS, &TWICE]).len(), 1);
        static SHADOW: Context = Context { title: "S", keys: &[char('!', nothing, "up")], text: None };
        assert_eq!(problems(&[&ALWAYS, &SHADOW]).len(), 1);
    }

    #[test]
    fn the_inner_context_wins() {
        let right = KeyEvent::new(KeyCode::Right, KeyModifiers::NONE);
        let description = |contexts: &[&'static Context]| {
            find(&right, contexts).map(|(binding, context)| (binding.description, context.title))
        };
        assert_eq!(description(&[&INNER, &OUTER, &ALWAYS]), Some(("open", "Inner")));
        assert_eq!(description(&[&OUTER, &ALWAYS]), Some(("next", "Outer")));
        let alt = KeyEvent::new(KeyCode::Char('!'), KeyModifiers::ALT);
        assert!(find(&alt, &[&INNER, &OUTER, &ALWAYS]).is_none());
    }

    #[test]
    fn keys_with_one_description_share_a_line() {
        assert_eq!(help(&[&INNER])[1..], [HelpLine::Entry("→ l".to_owned(), "open")]);
        assert_eq!(footer(&[&OUTER, &INNER]), [("l".to_owned(), "open")]);
    }

    #[test]
    fn only_the_stop_acts_within_a_paste() {
        let acts = |context: &Context, together| context.keys[0].acts(together);
        assert_eq!([1, 2, 3].map(|n| acts(&ALWAYS, n)), [true, true, true]);
        assert_eq!([1, 2, 3].map(|n| acts(&OUTER, n)), [true, false, false]);
        assert_eq!([1, 2, 3].map(|n| acts(&INNER, n)), [true, true, false]);
    }
}
