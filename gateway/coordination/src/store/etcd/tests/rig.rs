//! Three nodes of etcd on loopback, with short elections.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::store::etcd::EtcdStore;
use crate::store::etcd::member::{Member, STATUS};
use crate::store::etcd::proto::{StatusRequest, StatusResponse};

/// For what must come; the machine stands still at times.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Clusters that run at once: most tests wait for most of their time.
const CLUSTERS: u32 = 3;
static TURNS: Semaphore = Semaphore::const_new(CLUSTERS as usize);

/// Until one more cluster may run.
pub(super) async fn turn() -> SemaphorePermit<'static> {
    TURNS.acquire().await.unwrap()
}

/// Says it past the test runner, which would keep it to itself.
pub(super) fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// The server, and `None` where there is none: then skip, and it has been said.
pub(super) fn etcd() -> Option<PathBuf> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../.clients/etcd/usr/bin/etcd");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).map(|folder| folder.join("etcd"));
    let found = std::iter::once(PathBuf::from(own)).chain(folders).find(|program| program.is_file());
    if found.is_none() {
        assert!(
            std::env::var("ROVERLINE_REQUIRE_CLIENTS").as_deref() != Ok("1"),
            "etcd is required here: run scripts/setup-clients"
        );
        say("SKIPPED: run scripts/setup-clients to test against etcd");
    }
    found
}

/// The nodes; they are killed when dropped.
pub(super) struct Nodes {
    program: PathBuf,
    pub(super) folder: PathBuf,
    /// Each one's address, and its ports for clients and for the others.
    pub(super) places: [(String, u16, u16); 3],
    /// Whether each is in a network of its own.
    apart: bool,
    /// Certificate and key, with which those that are started speak to clients.
    pub(super) tls: Option<(PathBuf, PathBuf)>,
    running: [Option<Child>; 3],
    _turn: SemaphorePermit<'static>,
}

impl Nodes {
    /// Started, and with a leader.
    pub(super) async fn start(name: &str) -> Option<Nodes> {
        Nodes::start_near(name, 1).await
    }

    /// The same, with no other cluster running: for what is measured.
    pub(super) async fn start_alone(name: &str) -> Option<Nodes> {
        Nodes::start_near(name, CLUSTERS).await
    }

    async fn start_near(name: &str, turns: u32) -> Option<Nodes> {
        let turn = TURNS.acquire_many(turns).await.unwrap();
        // All at once, so that none is given twice.
        let free: Vec<_> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let port = |n: usize| free[n].local_addr().unwrap().port();
        let places = [0, 1, 2].map(|node| ("127.0.0.1".to_owned(), port(2 * node), port(2 * node + 1)));
        drop(free);
        Nodes::start_at(name, places, turn, false).await
    }

    /// The same, each in a network namespace of its own, with a route to the others that can be cut. Only
    /// where that may be set up: in a namespace that is the test's own.
    pub(super) async fn start_apart(name: &str) -> Option<Nodes> {
        let turn = turn().await;
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let places = [0, 1, 2].map(|node| (format!("10.9.{node}.2"), 2_379, 2_380));
        Nodes::start_at(name, places, turn, true).await
    }

    async fn start_at(
        name: &str,
        places: [(String, u16, u16); 3],
        turn: SemaphorePermit<'static>,
        apart: bool,
    ) -> Option<Nodes> {
        let program = etcd()?;
        let folder = std::env::temp_dir().join(format!("roverline-etcd-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let running = [None, None, None];
        let mut nodes = Nodes { program, folder, places, apart, tls: None, running, _turn: turn };
        (0..3).for_each(|node| nodes.run(node));
        nodes.leader().await;
        Some(nodes)
    }

    /// Starts a node, anew if it was killed.
    pub(super) fn run(&mut self, node: usize) {
        let peer_of = |(host, _, port): &(String, u16, u16)| format!("http://{host}:{port}");
        let cluster: Vec<_> = (0..3).map(|n| format!("n{n}={}", peer_of(&self.places[n]))).collect();
        let (host, port, _) = &self.places[node];
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let (client, peer) = (format!("{scheme}://{host}:{port}"), peer_of(&self.places[node]));
        let log = std::fs::File::create(self.folder.join(format!("n{node}.log"))).unwrap();
        // It does not outlive the test, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if self.apart {
            // It waits for its end of the wire.
            let begin = format!(
                "until ip link set eth0 up 2>/dev/null; do sleep 0.02; done; ip link set lo up; \
                 ip address add {host}/24 dev eth0; ip route add default via 10.9.{node}.1; exec \"$0\" \"$@\""
            );
            command.args(["unshare", "-n", "sh", "-c", &begin]);
        }
        let tls = self.tls.iter().flat_map(|(cert, key)| {
            [
                "--cert-file".into(),
                cert.clone().into_os_string(),
                "--key-file".into(),
                key.clone().into_os_string(),
            ]
        });
        let child = command
            .arg(&self.program)
            .args(["--name", &format!("n{node}"), "--data-dir"])
            .arg(self.folder.join(format!("n{node}")))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &cluster.join(",")])
            .args(["--heartbeat-interval", "50", "--election-timeout", "300", "--pre-vote"])
            // What a request may weigh is left as etcd has it: all of ours has to fit.
            .args(["--logger", "zap"])
            .args(tls)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        if self.apart {
            wire(node, child.id());
        }
        self.running[node] = Some(child);
    }

    /// Cuts the wires between a node and the other two, or mends them. Clients reach all of them.
    pub(super) fn cut(node: usize, is_cut: bool) {
        let act = if is_cut { "add" } else { "delete" };
        for other in (0..3).filter(|other| *other != node) {
            for (from, to) in [(node, other), (other, node)] {
                ip(&format!("rule {act} iif v{from} to 10.9.{to}.0/24 blackhole"));
            }
        }
    }

    /// Kills a node, as a loss of power would, but for the disk.
    pub(super) fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.running[node].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops a node, or lets it go on.
    pub(super) fn signal(&self, node: usize, signal: Signal) {
        let id = self.running[node].as_ref().unwrap().id();
        kill_process(Pid::from_raw(id.cast_signed()).unwrap(), signal).unwrap();
    }

    /// A client of these nodes.
    pub(super) fn client(&self, nodes: &[usize], prefix: &str) -> EtcdStore {
        let members: Vec<_> =
            nodes.iter().map(|node| format!("{}:{}", self.places[*node].0, self.places[*node].1)).collect();
        EtcdStore::open(&format!("etcd://{}/{prefix}", members.join(","))).unwrap()
    }

    /// The number of a node, and whom it follows.
    async fn says(&self, node: usize) -> Option<(u64, u64)> {
        let (host, port, _) = &self.places[node];
        let member = Member::connect(&(host.clone(), *port), None).await.ok()?;
        let within = Duration::from_secs(1);
        let status: StatusResponse = member.call(STATUS, &StatusRequest {}, None, within).await.ok()?;
        Some((status.header?.member_id, status.leader))
    }

    /// The leader, once all that run follow it.
    pub(super) async fn leader(&self) -> usize {
        let begun = Instant::now();
        loop {
            let mut said = Vec::new();
            for node in (0..3).filter(|node| self.running[*node].is_some()) {
                said.push((node, self.says(node).await));
            }
            let leader =
                said.iter().find_map(|(node, said)| said.filter(|said| said.0 == said.1).map(|_| *node));
            let one = said
                .iter()
                .all(|(_, it)| it.is_some_and(|it| it.1 != 0 && Some(it.1) == said[0].1.map(|s| s.1)));
            if let Some(leader) = leader.filter(|_| one) {
                return leader;
            }
            assert!(begun.elapsed() < PATIENCE, "no leader: {said:?}, see {}", self.folder.display());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Lays a wire to the network of a process, once it has one.
fn wire(node: usize, process: u32) {
    let network = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let (begun, ours) = (Instant::now(), network("self"));
    while network(&process.to_string()) == ours {
        assert!(begun.elapsed() < PATIENCE, "it gets no network of its own");
        std::thread::sleep(Duration::from_millis(5));
    }
    ip(&format!("link add v{node} type veth peer name eth0 netns {process}"));
    ip(&format!("address add 10.9.{node}.1/24 dev v{node}"));
    ip(&format!("link set v{node} up"));
}

fn ip(words: &str) {
    assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
}

impl Drop for Nodes {
    fn drop(&mut self) {
        (0..3).for_each(|node| self.kill(node));
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
