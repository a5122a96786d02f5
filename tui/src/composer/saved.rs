//! Commands of earlier days, in a file of their own: the last ones, and those that are kept.

use roverline_protocol::api::commands::CommandKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Commands that are remembered.
pub const MAX_HISTORY: usize = 100;
/// Commands that are kept.
pub const MAX_KEPT: usize = 50;
/// Bytes of the file; a larger one is not read.
pub const MAX_FILE_BYTES: usize = 512 << 10;
/// Bytes of a body that is remembered.
const MAX_BODY_BYTES: usize = 4 << 10;
/// Bytes of a name.
const MAX_NAME_BYTES: usize = 256;

/// A command as it was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedCommand {
    /// What was done.
    pub kind: CommandKind,
    /// The topic, service, action or node.
    pub target: String,
    /// Its ROS type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The message, request, goal, or the parameter.
    pub body: Value,
}

impl SavedCommand {
    fn is_small(&self) -> bool {
        self.target.len() <= MAX_NAME_BYTES
            && self.type_name.len() <= MAX_NAME_BYTES
            && self.body.to_string().len() <= MAX_BODY_BYTES
    }
}

/// The contents of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedCommands {
    /// Kept ones, newest first.
    #[serde(default)]
    pub kept: Vec<SavedCommand>,
    /// The last ones, newest first.
    #[serde(default)]
    pub history: Vec<SavedCommand>,
}

impl SavedCommands {
    /// Reads the file; one that is damaged or too large is empty.
    pub fn parse(text: &str) -> SavedCommands {
        if text.len() > MAX_FILE_BYTES {
            return SavedCommands::default();
        }
        let mut saved: SavedCommands = serde_json::from_str(text).unwrap_or_default();
        saved.kept.retain(SavedCommand::is_small);
        saved.history.retain(SavedCommand::is_small);
        saved.kept.truncate(MAX_KEPT);
        saved.history.truncate(MAX_HISTORY);
        saved
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Remembers a command that was sent.
    pub fn remember(&mut self, command: SavedCommand) {
        push(&mut self.history, command, MAX_HISTORY);
    }

    /// Keeps a command, or no more. Returns whether it is kept now.
    pub fn toggle(&mut self, command: SavedCommand) -> bool {
        let before = self.kept.len();
        self.kept.retain(|kept| *kept != command);
        let is_new = self.kept.len() == before;
        if is_new {
            push(&mut self.kept, command, MAX_KEPT);
        }
        is_new
    }

    /// Commands to a target, kept ones first.
    pub fn of<'a>(&'a self, kind: CommandKind, target: &'a str) -> impl Iterator<Item = &'a SavedCommand> {
        let all = self.kept.iter().chain(&self.history);
        all.filter(move |command| command.kind == kind && command.target == target)
    }
}

fn push(list: &mut Vec<SavedCommand>, command: SavedCommand, most: usize) {
    if command.is_small() {
        list.retain(|known| *known != command);
        list.insert(0, command);
        list.truncate(most);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn command(n: usize) -> SavedCommand {
        let (target, type_name) = (format!("/t{n}"), "a/msg/B".to_owned());
        SavedCommand { kind: CommandKind::Publish, target, type_name, body: json!({"n": n}) }
    }

    #[test]
    fn the_newest_are_remembered_once() {
        let mut saved = SavedCommands::default();
        (0..500).for_each(|n| saved.remember(command(n)));
        saved.remember(command(450));
        assert_eq!(saved.history.len(), MAX_HISTORY);
        assert_eq!(saved.history[0], command(450));
        assert_eq!(saved.history.iter().filter(|known| **known == command(450)).count(), 1);
        assert!(saved.toggle(command(1)) && !saved.toggle(command(1)) && saved.kept.is_empty());
        assert_eq!(SavedCommands::parse(&saved.text()), saved);
        assert_eq!(saved.of(CommandKind::Publish, "/t450").count(), 1);
        let huge = SavedCommand { body: json!("x".repeat(MAX_BODY_BYTES)), ..command(7) };
        saved.remember(huge.clone());
        assert!(!saved.history.contains(&huge));
    }

    #[test]
    fn a_damaged_file_is_empty() {
        for text in ["", "{", "[]", "{\"history\": 7}", &"x".repeat(MAX_FILE_BYTES + 1)] {
            assert_eq!(SavedCommands::parse(text), SavedCommands::default());
        }
        let many = SavedCommands { kept: (0..900).map(command).collect(), history: Vec::new() };
        assert_eq!(SavedCommands::parse(&many.text()).kept.len(), MAX_KEPT);
    }
}
