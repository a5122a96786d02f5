//! A rover in a live ROS graph: the built-in one, published over DDS by a process of its own, which the gateway
//! reads as it reads any robot.

use std::path::Path;
use std::process::{Child, Stdio};

use crate::binary;
use crate::gateway;
use crate::net::Net;

/// The running rover; it ends with this value.
#[derive(Debug)]
pub(crate) struct LiveRover {
    child: Child,
    domain: String,
}

impl LiveRover {
    /// Starts the rover on its side of the network, in a domain of its own.
    pub(crate) fn start(net: &Net, state: &Path) -> LiveRover {
        let domain = (100 + std::process::id() % 100).to_string();
        let mut command = net.rover.command(&binary::bin("roverline-gateway"));
        gateway::clean_environment(&mut command);
        command.args(["sim", "--dds", "--domain-id", &domain, "--state"]).arg(state);
        command.envs(environment()).stdout(Stdio::null()).stderr(Stdio::null());
        LiveRover { child: command.spawn().unwrap(), domain }
    }

    /// The gateway's arguments, with this rover instead of the simulated one.
    pub(crate) fn arguments(&self, simulated: &[String]) -> Vec<String> {
        let mut arguments: Vec<String> = simulated
            .iter()
            .map(|word| if word == "sim" { "dds".to_owned() } else { word.clone() })
            .collect();
        arguments.extend(["--domain-id".to_owned(), self.domain.clone()]);
        arguments
    }
}

impl Drop for LiveRover {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The environment that keeps its DDS on the rover's computer.
pub(crate) fn environment() -> [(String, String); 1] {
    [("ROS_LOCALHOST_ONLY".to_owned(), "1".to_owned())]
}
