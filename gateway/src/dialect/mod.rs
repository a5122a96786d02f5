//! What clients speak. Each dialect turns a client's bytes into calls on the hub and samples into
//! frames; nothing outside this folder knows a client's bytes.

pub mod frame;
pub mod native;
pub mod plain;

use roverline_protocol::native::SUBPROTOCOL;

/// Why a session ends whose endpoint process is being replaced.
const RESTARTS: &str = "this endpoint restarts; connect again";

/// Which dialect a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `roverline.v1`.
    Native,
    /// Whatever a judge brings.
    Plain,
}

impl Dialect {
    /// The name shown in `/status`.
    pub const fn name(self) -> &'static str {
        match self {
            Dialect::Native => "native",
            Dialect::Plain => "plain",
        }
    }

    /// Chooses by the subprotocols a client offers (the value of `Sec-WebSocket-Protocol`); returns
    /// the one to confirm, if any.
    pub fn choose(offered: &str) -> (Dialect, Option<&'static str>) {
        match offered.split(',').map(str::trim).find(|name| *name == SUBPROTOCOL) {
            Some(_) => (Dialect::Native, Some(SUBPROTOCOL)),
            None => (Dialect::Plain, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subprotocol_decides() {
        assert_eq!(Dialect::choose("chat, roverline.v1"), (Dialect::Native, Some(SUBPROTOCOL)));
        assert_eq!(Dialect::choose(""), (Dialect::Plain, None));
        assert_eq!(Dialect::choose("chat"), (Dialect::Plain, None));
    }
}
