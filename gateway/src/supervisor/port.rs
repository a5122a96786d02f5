//! Binds a port, and names the process that uses it if it is taken.

use std::net::{TcpListener, ToSocketAddrs};

use roverline_protocol::Tier;

/// Connections that wait until the endpoint accepts them. Beyond it TCP tries again after a second, and an
/// operator's stop would wait with it. The kernel's `net.core.somaxconn` bounds it as well.
const LISTEN_BACKLOG: i32 = 1_024;

/// Why a port could not be bound; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BindError(String);

impl BindError {
    pub(super) fn other(error: &std::io::Error) -> BindError {
        BindError(error.to_string())
    }
}

/// Listens on `host:port` for `tier`.
pub fn bind(host: &str, port: u16, tier: Tier) -> Result<TcpListener, BindError> {
    let addresses =
        (host.trim_start_matches('[').trim_end_matches(']'), port).to_socket_addrs().map_err(|error| {
            BindError(format!("'{host}' is not an address to listen on: {error}; see --host"))
        })?;
    let bound = TcpListener::bind(&addresses.collect::<Vec<_>>()[..]);
    // The standard library asks for a backlog of 128.
    let bound = bound.and_then(|listener| {
        rustix::net::listen(&listener, LISTEN_BACKLOG)?;
        Ok(listener)
    });
    bound.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let owner = owner(port).unwrap_or_else(|| "another program".to_owned());
            BindError(format!(
                "port {port} ({tier}) is taken by {owner}; stop it, or choose other ports with --base-port"
            ))
        }
        std::io::ErrorKind::PermissionDenied => BindError(format!(
            "port {port} ({tier}) needs privileges; choose ports above 1023 with --base-port"
        )),
        _ => {
            BindError(format!("cannot listen on {host}:{port} ({tier}): {error}; see --host and --base-port"))
        }
    })
}

/// The process that listens on a TCP port, as `name (pid N)`, as far as Linux shows it.
fn owner(port: u16) -> Option<String> {
    let inode = listening_inode(port)?;
    let wanted = format!("socket:[{inode}]");
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(entry.path().join("fd")) else { continue };
        let holds = descriptors.flatten().any(|fd| {
            std::fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str())
        });
        if holds {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

fn listening_inode(port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = std::fs::read_to_string(table) else { continue };
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1)?.rsplit(':').next()?;
            if fields.get(3) == Some(&LISTEN) && u16::from_str_radix(local, 16) == Ok(port) {
                return fields.get(9)?.parse().ok();
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_owner_and_the_way_out() {
        let first = bind("127.0.0.1", 0, Tier::Primary).unwrap();
        let port = first.local_addr().unwrap().port();
        let error = bind("127.0.0.1", port, Tier::Primary).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--base-port"), "{error}");
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        assert!(bind("no such host", 1, Tier::Primary).unwrap_err().to_string().contains("--host"));
    }

    #[test]
    fn a_burst_of_connections_waits_for_the_endpoint_and_not_for_a_second_attempt() {
        let listener = bind("127.0.0.1", 0, Tier::Primary).unwrap();
        let address = listener.local_addr().unwrap();
        // No program accepts. TCP retries a connection that finds no room after one second.
        let patience = std::time::Duration::from_millis(800);
        let connect = |_| std::net::TcpStream::connect_timeout(&address, patience);
        let all: Vec<_> = (0..300).map(connect).take_while(Result::is_ok).collect();
        assert_eq!(all.len(), 300);
    }
}
