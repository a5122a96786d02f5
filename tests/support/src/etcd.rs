//! A cluster of three etcd nodes with short elections, on loopback or in network namespaces. The nodes' state is
//! read through etcd's own HTTP gateway, not through our client.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::process::{self, Signal};
use crate::skip::Missing;
use crate::temp::{self, TempDir};
use crate::wait::poll;

/// Deadline for events that must happen; generous, because a loaded machine stalls at times.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The server that `scripts/setup-clients` unpacks, or an installed one.
pub fn server() -> Result<PathBuf, Missing> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.clients/etcd/usr/bin/etcd");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).map(|folder| folder.join("etcd"));
    let found = std::iter::once(PathBuf::from(own)).chain(folders).find(|program| program.is_file());
    found.ok_or_else(|| Missing::client("run scripts/setup-clients to test against etcd"))
}

/// The addresses of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP address.
    pub host: String,
    /// The port for clients.
    pub client_port: u16,
    /// The port for the other nodes.
    pub peer_port: u16,
}

impl Address {
    fn peer_url(&self) -> String {
        format!("http://{}:{}", self.host, self.peer_port)
    }
}

/// A cluster of three nodes. The nodes are killed when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    program: PathBuf,
    folder: TempDir,
    /// The addresses of the nodes.
    pub addresses: [Address; 3],
    /// Whether each node runs in a network namespace of its own.
    separate: bool,
    /// Certificate and key with which nodes that are started from now on serve clients.
    pub tls: Option<(PathBuf, PathBuf)>,
    running: [Option<Child>; 3],
    spawner: Spawner,
}

/// A thread that starts the nodes and lives as long as the cluster. The kernel sends the parent-death signal when
/// the thread that started a child ends, so a short-lived thread would take its nodes along.
#[derive(Debug)]
struct Spawner(mpsc::SyncSender<(Command, mpsc::SyncSender<Child>)>);

impl Spawner {
    fn new() -> Spawner {
        let (sender, commands) = mpsc::sync_channel::<(Command, mpsc::SyncSender<Child>)>(1);
        std::thread::spawn(move || {
            for (mut command, result) in commands {
                let _ = result.send(command.spawn().unwrap());
            }
        });
        Spawner(sender)
    }

    fn spawn(&self, command: Command) -> Child {
        let (sender, child) = mpsc::sync_channel(1);
        self.0.send((command, sender)).unwrap();
        child.recv().unwrap()
    }
}

impl Cluster {
    /// Starts the cluster on free ports of loopback and waits until it has a leader.
    pub fn start() -> Result<Cluster, Missing> {
        let program = server()?;
        // Bind all ports before releasing any, so that no port is handed out twice.
        let free: Vec<_> = (0..6).map(|_| bind_below_ephemeral()).collect();
        let port = |n: usize| free[n].local_addr().unwrap().port();
        let addresses = [0, 1, 2].map(|node| Address {
            host: "127.0.0.1".to_owned(),
            client_port: port(2 * node),
            peer_port: port(2 * node + 1),
        });
        drop(free);
        Ok(Cluster::start_at(program, addresses, false))
    }

    /// Starts each node in a network namespace of its own, connected by routes that can be cut. Works only in a
    /// network namespace that belongs to the test.
    pub fn start_in_namespaces() -> Result<Cluster, Missing> {
        let program = server()?;
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let addresses = [0, 1, 2].map(|node| Address {
            host: format!("10.9.{node}.2"),
            client_port: 2_379,
            peer_port: 2_380,
        });
        Ok(Cluster::start_at(program, addresses, true))
    }

    fn start_at(program: PathBuf, addresses: [Address; 3], separate: bool) -> Cluster {
        let (folder, running) = (temp::dir(), [None, None, None]);
        let mut cluster =
            Cluster { program, folder, addresses, separate, tls: None, running, spawner: Spawner::new() };
        (0..3).for_each(|node| cluster.run(node));
        cluster.leader();
        cluster
    }

    /// The directory of the nodes' data and logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The members' addresses for clients, separated by commas.
    pub fn members(&self, nodes: &[usize]) -> String {
        let member = |node: &usize| {
            let Address { host, client_port, .. } = &self.addresses[*node];
            format!("{host}:{client_port}")
        };
        nodes.iter().map(member).collect::<Vec<_>>().join(",")
    }

    /// The value for the gateway's `--store`.
    pub fn store(&self) -> String {
        format!("etcd://{}", self.members(&[0, 1, 2]))
    }

    /// Starts a node, or restarts it after [`Cluster::kill`].
    pub fn run(&mut self, node: usize) {
        let all: Vec<_> = (0..3).map(|n| format!("n{n}={}", self.addresses[n].peer_url())).collect();
        let Address { host, client_port, .. } = &self.addresses[node];
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let (client, peer) = (format!("{scheme}://{host}:{client_port}"), self.addresses[node].peer_url());
        let log = File::create(self.folder().join(format!("n{node}.log"))).unwrap();
        // The node dies with the test process, however the test ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if self.separate {
            // The node waits for its end of the virtual cable.
            let begin = format!(
                "until ip link set eth0 up 2>/dev/null; do sleep 0.02; done; ip link set lo up; \
                 ip address add {host}/24 dev eth0; ip route add default via 10.9.{node}.1; exec \"$0\" \"$@\""
            );
            command.args(["unshare", "-n", "sh", "-c", &begin]);
        }
        command
            .arg(&self.program)
            .args(["--name", &format!("n{node}"), "--data-dir"])
            .arg(self.folder().join(format!("n{node}")))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &all.join(",")])
            // The maximum request size is left at etcd's default: all of our requests must fit.
            .args([
                "--heartbeat-interval",
                "50",
                "--election-timeout",
                "300",
                "--pre-vote",
                "--logger",
                "zap",
            ]);
        if let Some((certificate, key)) = &self.tls {
            command.arg("--cert-file").arg(certificate).arg("--key-file").arg(key);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = self.spawner.spawn(command);
        if self.separate {
            connect_namespace(node, child.id());
        }
        self.running[node] = Some(child);
    }

    /// Kills a node: like a power loss, except that the disk keeps what the kernel has buffered.
    pub fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.running[node].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal to a node, to stop or resume it.
    pub fn signal(&self, node: usize, signal: Signal) {
        process::signal(self.running[node].as_ref().expect("the node runs").id(), signal);
    }

    /// Cuts the routes between a node and the other two, or restores them. Clients still reach all nodes.
    pub fn cut(node: usize, is_cut: bool) {
        let action = if is_cut { "add" } else { "delete" };
        for other in (0..3).filter(|other| *other != node) {
            for (from, to) in [(node, other), (other, node)] {
                ip(&format!("rule {action} iif v{from} to 10.9.{to}.0/24 blackhole"));
            }
        }
    }

    /// The running nodes and their addresses, for [`leader_of`].
    pub fn running(&self) -> Vec<(usize, Address)> {
        let nodes = (0..3).filter(|node| self.running[*node].is_some());
        nodes.map(|node| (node, self.addresses[node].clone())).collect()
    }

    /// The leader, once every running node follows it. Blocks.
    pub fn leader(&self) -> usize {
        leader_of(&self.running())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..3).for_each(|node| self.kill(node));
        if std::thread::panicking() {
            // Its logs may explain the failure.
            self.folder.disable_cleanup(true);
        }
    }
}

/// Binds a free port below those that the kernel gives to outgoing connections (32768 and more): a node that is down
/// finds its port free again.
fn bind_below_ephemeral() -> TcpListener {
    let random = || RandomState::new().build_hasher().finish();
    let port = || u16::try_from(20_000 + random() % 12_000).unwrap();
    let attempts = (0..1_000).find_map(|_| TcpListener::bind(("127.0.0.1", port())).ok());
    attempts.expect("a port between 20000 and 31999 is free")
}

/// The leader of these nodes, once every one of them follows it. Blocks, up to [`PATIENCE`].
pub fn leader_of(nodes: &[(usize, Address)]) -> usize {
    let mut statuses = Vec::new();
    let leader = poll(PATIENCE, || {
        statuses = nodes.iter().map(|(node, address)| Some((*node, status(address)?))).collect();
        let all: Vec<(usize, Status)> = statuses.iter().cloned().collect::<Option<_>>()?;
        let (node, leader) = all.iter().find(|(_, status)| status.member == status.leader)?;
        all.iter().all(|(_, status)| status.leader == leader.member).then_some(*node)
    });
    leader.unwrap_or_else(|| panic!("no leader: {statuses:?}"))
}

/// A node's own member id, and the id of the leader that it follows.
#[derive(Clone, Debug)]
struct Status {
    member: String,
    leader: String,
}

fn status(address: &Address) -> Option<Status> {
    let timeout = Duration::from_secs(1);
    let to = (address.host.as_str(), address.client_port).to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&to, timeout).ok()?;
    stream.set_read_timeout(Some(timeout)).ok()?;
    let head = "POST /v3/maintenance/status HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: 2";
    stream.write_all(format!("{head}\r\n\r\n{{}}").as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let status: Value = serde_json::from_str(response.split_once("\r\n\r\n")?.1).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(Status { member: text(&status["header"]["member_id"])?, leader: text(&status["leader"])? })
}

/// Connects the network namespace of a process to this one, once it exists.
fn connect_namespace(node: usize, process: u32) {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let own = namespace("self");
    let entered = poll(PATIENCE, || (namespace(&process.to_string()) != own).then_some(()));
    assert!(entered.is_some(), "the node gets no network namespace");
    ip(&format!("link add v{node} type veth peer name eth0 netns {process}"));
    ip(&format!("address add 10.9.{node}.1/24 dev v{node}"));
    ip(&format!("link set v{node} up"));
}

fn ip(arguments: &str) {
    assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
}
