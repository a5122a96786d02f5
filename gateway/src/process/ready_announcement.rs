//! The announcement on standard output that a process serves.

use std::io::{IsTerminal, Write};

use roverline_protocol::Tier;

/// Prints to standard output that these endpoints listen: a table at a terminal, otherwise one line `ready
/// {json}` for programs.
pub fn report_ready(endpoints: &[(Tier, String, u16)]) {
    if std::io::stdout().is_terminal() {
        let mut table = String::from("Serving; ^C ends it.\n");
        for (tier, address, port) in endpoints {
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            table += &format!("  {tier:<10} ws://{host}:{port}\n");
        }
        let _ = std::io::stdout().write_all(table.as_bytes());
        return;
    }
    let list: Vec<_> = endpoints
        .iter()
        .map(|(tier, address, port)| {
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            serde_json::json!({"tier": tier, "url": format!("ws://{host}:{port}")})
        })
        .collect();
    let line = format!("ready {}\n", serde_json::json!({"endpoints": list}));
    // Standard output may be closed, which is no reason to stop.
    let _ = std::io::stdout().write_all(line.as_bytes());
}
