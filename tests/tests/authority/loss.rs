//! The loss of a driver: the time from its last command to the first zero at the rover.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::binary;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::net::{Namespace, Net, Radio};
use roverline_tests::process::{self, Signal};
use roverline_tests::temp::{self, TempDir};
use roverline_tests::wait::{eventually, poll};

use crate::PATIENCE;
use crate::driver::{AnyDriver, CommandDriver, Dialect, Driver};
use crate::rover::{Rover, authority_at};

const LAN: Radio = Radio { delay_ms: 1.0, jitter_ms: 1.0, loss: 0.0, rate_kbit: 100_000.0 };
/// The first port of a gateway in a namespace of its own.
const BASE_PORT: u16 = 8_080;
/// The driver at the other end of the radio needs no token.
const ACCESS: &str = "[access]\nremote = \"commander\"\n";
/// Keeps DDS on the rover's computer.
const LOCAL_DDS: (&str, &str) = ("ROS_LOCALHOST_ONLY", "1");

/// A way to lose the driver of the moving rover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    ClosedSocket,
    Silence,
    KilledEndpoint,
    HungEndpoint,
    CutRadio,
    DeadRelay,
}

/// Those on this computer's own network, without a relay.
pub(crate) const LOCAL: [Loss; 4] =
    [Loss::ClosedSocket, Loss::Silence, Loss::KilledEndpoint, Loss::HungEndpoint];
/// The others; each has a rover of its own.
pub(crate) const REMOTE: [Loss; 2] = [Loss::CutRadio, Loss::DeadRelay];

impl Loss {
    /// The name in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Loss::ClosedSocket => "closed socket",
            Loss::Silence => "silent holder",
            Loss::KilledEndpoint => "killed endpoint",
            Loss::HungEndpoint => "hung endpoint",
            Loss::CutRadio => "cut radio",
            Loss::DeadRelay => "dead relay",
        }
    }
}

/// The rover of such trials. Fields are dropped in order: processes before their network.
pub(crate) struct LossTrials {
    relay: Option<Gateway>,
    pub(crate) gateway: Gateway,
    pub(crate) rover: Rover,
    _config: TempDir,
    host: IpAddr,
    ground: Namespace,
    net: Mutex<Net>,
}

impl LossTrials {
    /// Starts what this loss needs, or says why that is impossible here.
    pub(crate) fn start(python: &Path, domain: &str, seconds: u32, loss: Loss) -> Result<LossTrials, String> {
        let net = if loss == Loss::CutRadio { Net::radio(LAN, 7)? } else { Net::loopback() };
        let mut command = net.rover.command(&binary::bin("roverline-gateway"));
        gateway::clean_environment(&mut command);
        let base_port = if net.is_radio() { BASE_PORT } else { 0 }.to_string();
        command.args(["up", "--host", &net.host, "--base-port", &base_port]).envs([LOCAL_DDS]);
        let scratch = temp::dir();
        let config = temp::write(&scratch, "roverline.toml", ACCESS);
        let config = config.to_str().unwrap();
        let args = ["--source", "dds", "--domain-id", domain, "--config", config];
        let gateway = Gateway::start(command, &args);
        let rover = Rover::start_in(&net.rover, python, domain, seconds);
        let relay = (loss == Loss::DeadRelay).then(|| {
            let relay = gateway::command(&["relay", "--base-port", "0"]);
            Gateway::start(relay, &["--upstream", &gateway.urls().join(",")])
        });
        let (host, ground) = (net.host.parse().unwrap(), net.ground.clone());
        Ok(LossTrials { relay, gateway, rover, _config: scratch, host, ground, net: Mutex::new(net) })
    }

    /// The rover's primary endpoint, as the ground sees it.
    fn primary(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.gateway.port(Tier::Primary))
    }

    /// Where the driver connects.
    fn entrance(&self) -> SocketAddr {
        let behind = self.relay.as_ref().unwrap_or(&self.gateway);
        SocketAddr::new(self.host, behind.port(Tier::Primary))
    }

    /// Runs this on the driver's side of the network.
    fn on_ground<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let ground = self.ground.clone();
        let enter_and_run = move || {
            ground.enter();
            run()
        };
        std::thread::scope(|scope| scope.spawn(enter_and_run).join().unwrap())
    }

    async fn dashboard(&self, entrance: SocketAddr) -> Driver {
        let socket = tokio::task::block_in_place(|| {
            let connect = || std::net::TcpStream::connect(entrance).ok();
            self.on_ground(|| poll(PATIENCE, connect)).unwrap()
        });
        Driver::over(socket, entrance, Dialect::Rosbridge).await
    }

    fn wait_ready(&self) {
        let (primary, entrance) = (self.primary(), self.entrance());
        self.on_ground(|| {
            for server in [primary, entrance] {
                eventually("the endpoint serves", PATIENCE, || std::net::TcpStream::connect(server).is_ok());
            }
            let is_free = || {
                let drive = authority_at(primary, "drive");
                drive.is_some_and(|drive| drive.problem.is_none() && drive.holder.is_none())
            };
            eventually("drive is free", PATIENCE, is_free);
        });
    }

    /// Drives, loses the driver, and returns the time from the last command to the stop.
    pub(crate) async fn lose(&self, loss: Loss) -> Duration {
        tokio::task::block_in_place(|| self.wait_ready());
        self.rover.take();
        let entrance = self.entrance();
        let mut driver = match loss {
            // What rosbridge and Foxglove clients publish at a relay is refused.
            Loss::DeadRelay => AnyDriver::Commands(CommandDriver(entrance)),
            _ => AnyDriver::Session(Box::new(self.dashboard(entrance).await)),
        };
        let mut moving = false;
        for _ in 0..100 {
            driver.drive_for(1.0, Duration::from_millis(200)).await;
            moving = moving || self.rover.take().iter().any(|(_, x)| *x == 1.0);
            if moving {
                break;
            }
        }
        assert!(moving, "{loss:?}: the rover does not move");
        driver.drive_for(1.0, Duration::from_millis(300)).await;
        let serving = self.relay.as_ref().unwrap_or(&self.gateway);
        let pid = if loss == Loss::CutRadio { 0 } else { serving.endpoint_pid(Tier::Primary) };
        driver.drive(1.0).await;
        let mut kept = Some(driver);
        match loss {
            Loss::ClosedSocket => kept = None,
            Loss::Silence => {}
            Loss::KilledEndpoint | Loss::DeadRelay => process::signal(pid, Signal::KILL),
            Loss::HungEndpoint => process::signal(pid, Signal::STOP),
            Loss::CutRadio => self.net.lock().unwrap().send("cut both"),
        }
        let time = tokio::task::block_in_place(|| self.rover.time_to_stop());
        match loss {
            // The supervisor has replaced it, or it goes on.
            Loss::HungEndpoint => process::resume(&[pid]),
            Loss::CutRadio => self.net.lock().unwrap().send("heal both"),
            _ => {}
        }
        drop(kept);
        time
    }
}
