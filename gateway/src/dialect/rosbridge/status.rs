//! Status messages and their levels: what a session reports apart from responses, and how much of it the
//! client wants.

use std::fmt::Display;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::connection::frame;
use crate::dialect::rosbridge::request::Id;

/// The severity of a status; a session receives those of its level and above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// An operation succeeded.
    Info,
    /// Messages were lost, or may not be as intended.
    #[default]
    Warning,
    /// An operation failed.
    Error,
    /// The level of a session that wants no statuses.
    None,
}

impl Level {
    pub(super) fn parse(word: &str) -> Option<Level> {
        [Level::Info, Level::Warning, Level::Error, Level::None]
            .into_iter()
            .find(|level| level.word() == word)
    }

    const fn word(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
            Level::None => "none",
        }
    }
}

/// A status message.
pub(super) fn status(level: Level, id: &Id, msg: &dyn Display) -> Bytes {
    let mut fields = Map::new();
    fields.insert("op".to_owned(), "status".into());
    fields.insert("level".to_owned(), level.word().into());
    fields.insert("msg".to_owned(), msg.to_string().into());
    if let Some(id) = id {
        fields.insert("id".to_owned(), id.clone());
    }
    frame::json(&Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::rosbridge::framing::tests::messages;

    #[test]
    fn levels_are_in_order_and_ids_are_echoed() {
        assert!(Level::Info < Level::default() && Level::default() < Level::Error);
        assert_eq!(Level::parse("none"), Some(Level::None));
        assert_eq!(Level::parse("loud"), None);
        let frame = status(Level::Error, &Some(7.into()), &"no");
        let status: Value = serde_json::from_slice(&messages(&frame)[0]).unwrap();
        assert_eq!(status, serde_json::json!({"op": "status", "level": "error", "msg": "no", "id": 7}));
    }
}
