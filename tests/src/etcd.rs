//! Three nodes of etcd on loopback, with short elections; what they say of themselves is asked over
//! their own HTTP, not by code of ours.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http;
use crate::python::skipped;
use crate::scratch::Scratch;

/// For what must come; the machine stands still at times.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server that `scripts/setup-clients` unpacks, or one that is installed. `None` where there is
/// none: then skip, and it has been said.
pub fn server() -> Option<PathBuf> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../.clients/etcd/usr/bin/etcd");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).map(|folder| folder.join("etcd"));
    let found = std::iter::once(PathBuf::from(own)).chain(folders).find(|program| program.is_file());
    if found.is_none() {
        assert!(
            std::env::var("ROVERLINE_REQUIRE_CLIENTS").as_deref() != Ok("1"),
            "etcd is required here: run scripts/setup-clients"
        );
        skipped("run scripts/setup-clients to test against etcd");
    }
    found
}

/// A cluster. Its nodes are killed when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    program: PathBuf,
    folder: Scratch,
    /// Each one's ports: for clients, and for the others.
    ports: [(u16, u16); 3],
    running: [Option<Child>; 3],
}

impl Cluster {
    /// Started, and with a leader.
    pub fn start() -> Option<Cluster> {
        let program = server()?;
        // All at once, so that none is given twice.
        let free: Vec<_> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let port = |n: usize| free[n].local_addr().unwrap().port();
        let ports = [0, 1, 2].map(|node| (port(2 * node), port(2 * node + 1)));
        drop(free);
        let mut cluster = Cluster { program, folder: Scratch::new(), ports, running: [None, None, None] };
        (0..3).for_each(|node| cluster.run(node));
        cluster.leader();
        Some(cluster)
    }

    /// As the gateway is told where it is.
    pub fn store(&self) -> String {
        let members = self.ports.map(|(port, _)| format!("127.0.0.1:{port}"));
        format!("etcd://{}", members.join(","))
    }

    /// Starts a node, anew if it was killed.
    pub fn run(&mut self, node: usize) {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let all: Vec<_> = (0..3).map(|n| format!("n{n}={}", url(self.ports[n].1))).collect();
        let (client, peer) = (url(self.ports[node].0), url(self.ports[node].1));
        // It does not outlive the test, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(&self.program)
            .args(["--name", &format!("n{node}"), "--data-dir"])
            .arg(self.folder.path().join(format!("n{node}")))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &all.join(",")])
            .args(["--heartbeat-interval", "50", "--election-timeout", "300", "--pre-vote"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running[node] = Some(child);
    }

    /// Kills a node, as a loss of power would, but for the disk.
    pub fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.running[node].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The leader, once all that run follow it.
    pub fn leader(&self) -> usize {
        let begun = Instant::now();
        loop {
            let runs = (0..3).filter(|node| self.running[*node].is_some());
            let said: Vec<_> = runs.map(|node| (node, self.says(node))).collect();
            let leader = said.iter().find(|(_, said)| said.as_ref().is_some_and(|(id, leader)| id == leader));
            if let Some((node, Some((id, _)))) = leader
                && said.iter().all(|(_, said)| said.as_ref().is_some_and(|(_, leader)| leader == id))
            {
                return *node;
            }
            assert!(begun.elapsed() < PATIENCE, "no leader: {said:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The number of a node, and whom it follows.
    fn says(&self, node: usize) -> Option<(String, String)> {
        let (port, _) = self.ports[node];
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        let answer = http::request(port, "POST", "/v3/maintenance/status", "", "{}");
        let status: Value = serde_json::from_str(&answer.body).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some((text(&status["header"]["member_id"])?, text(&status["leader"])?))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..3).for_each(|node| self.kill(node));
    }
}
