//! What clients speak. Each dialect turns a client's bytes into calls on the hub and samples into
//! frames; nothing outside this folder knows a client's bytes.

pub mod session;

pub mod foxglove;
pub mod native;
pub mod plain;
pub mod rosbridge;

use roverline_protocol::native::SUBPROTOCOL;

/// The path on which a WebSocket without a subprotocol is a rosbridge client's.
pub const ROSBRIDGE_PATH: &str = "/rosbridge";

const SUBPROTOCOLS: [(&str, Dialect); 3] = [
    (SUBPROTOCOL, Dialect::Native),
    (foxglove::SUBPROTOCOLS[0], Dialect::Foxglove),
    (foxglove::SUBPROTOCOLS[1], Dialect::Foxglove),
];

/// Why a session ends whose endpoint process is being replaced.
const RESTARTS: &str = "this endpoint restarts; connect again";

/// Which dialect a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `roverline.v1`.
    Native,
    /// Foxglove's WebSocket protocol.
    Foxglove,
    /// rosbridge v2.
    Rosbridge,
    /// Whatever a judge brings.
    Plain,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Dialect; 4] = [Dialect::Native, Dialect::Foxglove, Dialect::Rosbridge, Dialect::Plain];

    /// The name shown in `/status`.
    pub const fn name(self) -> &'static str {
        match self {
            Dialect::Native => "native",
            Dialect::Foxglove => "foxglove",
            Dialect::Rosbridge => "rosbridge",
            Dialect::Plain => "plain",
        }
    }

    /// Chooses by the subprotocols a client offers (the value of `Sec-WebSocket-Protocol`), else by
    /// the path; returns the subprotocol to confirm, if any. A plain session may turn out to be a
    /// rosbridge one by what it says.
    pub fn choose(offered: &str, path: &str) -> (Dialect, Option<&'static str>) {
        let known = |name: &str| SUBPROTOCOLS.iter().find(|(known, _)| *known == name);
        match offered.split(',').map(str::trim).find_map(known) {
            Some((name, dialect)) => (*dialect, Some(name)),
            None if path == ROSBRIDGE_PATH => (Dialect::Rosbridge, None),
            None => (Dialect::Plain, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subprotocol_decides() {
        assert_eq!(Dialect::choose("chat, roverline.v1", "/"), (Dialect::Native, Some(SUBPROTOCOL)));
        assert_eq!(Dialect::choose("", "/"), (Dialect::Plain, None));
        assert_eq!(Dialect::choose("chat", "/"), (Dialect::Plain, None));
        assert_eq!(Dialect::choose("", "/rosbridge"), (Dialect::Rosbridge, None));
        let foxglove = "foxglove.websocket.v1";
        assert_eq!(Dialect::choose(foxglove, "/"), (Dialect::Foxglove, Some(foxglove)));
    }
}
