//! Type names, always stored in their long form.

use std::fmt;
use std::sync::Arc;

use crate::SchemaError;
use crate::limits::MAX_NAME_BYTES;

/// Kind of interface, which is also its directory in the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A message.
    Msg,
    /// Request or response of a service.
    Srv,
    /// A part of an action.
    Action,
}

impl Kind {
    /// The word in the name and the file extension.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Msg => "msg",
            Self::Srv => "srv",
            Self::Action => "action",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Msg, Self::Srv, Self::Action].into_iter().find(|k| k.word() == word)
    }
}

/// A validated type name: `pkg/msg/Type`, `pkg/srv/Type_Request`, `pkg/action/Type_Goal`.
///
/// It contains only letters, digits and underscores, so it is safe to use as a file name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeName {
    full: Arc<str>,
    package_bytes: usize,
    kind: Kind,
}

impl TypeName {
    /// Parses the long form, or the short `pkg/Type`, which means `pkg/msg/Type`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(name: &str) -> Result<Self, SchemaError> {
        let bad = || SchemaError::Name(name.chars().take(MAX_NAME_BYTES).collect());
        if name.len() > MAX_NAME_BYTES {
            return Err(bad());
        }
        let parts: Vec<&str> = name.split('/').collect();
        let (package, kind, short) = match parts[..] {
            [package, short] => (package, Kind::Msg, short),
            [package, kind, short] => (package, Kind::from_word(kind).ok_or_else(bad)?, short),
            _ => return Err(bad()),
        };
        Self::from_parts(package, kind, short).ok_or_else(bad)
    }

    /// A name from its parts, if they are identifiers.
    pub(crate) fn from_parts(package: &str, kind: Kind, short: &str) -> Option<Self> {
        (is_identifier(package) && is_identifier(short)).then(|| Self {
            full: format!("{package}/{}/{short}", kind.word()).into(),
            package_bytes: package.len(),
            kind,
        })
    }

    /// The long form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.full
    }

    /// The package.
    #[must_use]
    pub fn package(&self) -> &str {
        &self.full[..self.package_bytes]
    }

    /// Message, service or action.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The last part.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.full[self.package_bytes + self.kind.word().len() + 2..]
    }

    /// The form used in concatenated definitions: `pkg/Type` for messages.
    pub(crate) fn in_definitions(&self) -> String {
        match self.kind {
            Kind::Msg => format!("{}/{}", self.package(), self.short()),
            Kind::Srv | Kind::Action => self.full.to_string(),
        }
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

impl fmt::Debug for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

/// Whether `s` is an identifier of the definition language, and short enough.
pub(crate) fn is_identifier(s: &str) -> bool {
    s.len() <= MAX_NAME_BYTES
        && s.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_names_are_equal() {
        let a = TypeName::parse("std_msgs/Header").unwrap();
        assert_eq!(a, TypeName::parse("std_msgs/msg/Header").unwrap());
        assert_eq!((a.package(), a.short()), ("std_msgs", "Header"));
        let s = TypeName::parse("std_srvs/srv/SetBool_Request").unwrap();
        assert_eq!((s.kind(), s.short()), (Kind::Srv, "SetBool_Request"));
        assert_eq!(s.in_definitions(), "std_srvs/srv/SetBool_Request");
    }

    #[test]
    fn names_cannot_leave_their_directory() {
        for bad in
            ["", "a", "../b", "a/../b", "a/msg/../../b", "a/b/c/d", "a/msg/", "/b", "a b/c", "a/mag/b", "é/b"]
        {
            assert!(TypeName::parse(bad).is_err(), "{bad}");
        }
        assert!(TypeName::parse(&"a/".repeat(4000)).is_err());
    }
}
