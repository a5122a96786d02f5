//! A gateway, and operators who press stop one after the other.

use roverline_tests::clients::browser;
use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::skip::skip;
use roverline_tests::wait::{eventually, observe_for};
use std::time::Duration;

use crate::Timing;
use crate::operators::{Operator, Way};
use crate::press::{PATIENCE, Row, press, release};

/// A running gateway and the runtime of its WebSocket clients.
pub(crate) struct StopFixture {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) gateway: Gateway,
    pub(crate) ports: Vec<u16>,
}

impl StopFixture {
    pub(crate) fn with_gateway(gateway: Gateway) -> StopFixture {
        let ports = gateway.endpoints.iter().map(|(_, port)| *port).collect();
        StopFixture { runtime: runtime(), gateway, ports }
    }

    pub(crate) fn start(args: &[&str]) -> StopFixture {
        StopFixture::with_gateway(Gateway::up(&[&["--source", "sim"], args].concat()))
    }

    pub(crate) fn operator(&self, way: Way) -> Operator {
        let operator = Operator::open(way, &self.ports, self.runtime.handle());
        eventually("the operator is ready", PATIENCE, || operator.is_connected());
        observe_for(Duration::from_millis(300), "standbys connect");
        operator
    }

    /// Presses stop in each of these ways. The condition is set up by `begin` before the press, and ended by `end`
    /// after the last observation.
    pub(crate) fn press_in_each_way(
        &self,
        name: &str,
        timing: Timing,
        ways: &[Way],
        begin: impl Fn(&mut Operator),
        end: impl Fn(&Operator),
    ) -> Vec<Row> {
        let mut rows = Vec::new();
        for way in ways {
            let mut operator = self.operator(*way);
            begin(&mut operator);
            rows.push(press(name, timing, &mut operator, &self.ports, &end));
            drop(operator);
            self.reset();
        }
        rows
    }

    /// Releases the stop, and waits until all clients have left.
    pub(crate) fn reset(&self) {
        release(&self.ports);
        eventually("all clients have left", PATIENCE, || {
            self.ports.iter().all(|port| http::health(*port).endpoint.clients == 0)
        });
    }
}

/// Every way that this computer can test: the page needs a browser.
pub(crate) fn ways() -> Vec<Way> {
    let page = browser().map_err(|missing| skip(&missing)).is_ok();
    Way::ALL.into_iter().filter(|way| page || *way != Way::Page).collect()
}

/// The ways that have a screen and a human operator.
pub(crate) fn screens() -> Vec<Way> {
    ways().into_iter().filter(|way| matches!(way, Way::Console | Way::SmallConsole | Way::Page)).collect()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}
