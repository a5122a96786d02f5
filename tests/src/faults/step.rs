//! Doing what a scenario says.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_protocol::native::SUBPROTOCOL;

use super::child::Listener;
use super::listener::Options;
use super::scenario::{Step, Target, Way};
use super::stage::Stage;
use crate::process::{self, Signal};
use crate::raw;

/// What a trial has going, and what it did.
#[derive(Debug, Default)]
pub(crate) struct Running {
    frozen: Vec<u32>,
    slow: Vec<TcpStream>,
    herds: Vec<Listener>,
    /// The tiers that something was done to.
    pub(crate) harmed: Vec<Tier>,
    /// Links of herds that hear samples, and that should.
    pub(crate) herd: Option<(usize, usize)>,
}

/// Does one step.
pub(crate) fn take(stage: &mut Stage, step: &Step, running: &mut Running, quick: bool) {
    let ms = Duration::from_millis;
    match step {
        Step::Kill { target } => signal(stage, *target, Signal::KILL, running),
        Step::Stop { target } => signal(stage, *target, Signal::STOP, running),
        Step::Cont => running.thaw(),
        Step::FreezeClient { ms: long, quick_ms } => {
            process::signal(stage.client.pid(), Signal::STOP);
            std::thread::sleep(ms(if quick { *quick_ms } else { *long }));
            process::signal(stage.client.pid(), Signal::CONT);
        }
        Step::KillSupervisor => stage.end_rover(true),
        Step::StopRover => stage.end_rover(false),
        Step::StartRover => stage.start_rover(),
        Step::BreakFrame { target } => {
            if let Some(tier) = harm(stage, *target, running) {
                stage.proxies[usize::from(tier.port_offset())].break_next_frame();
            }
        }
        Step::Block { target, way } => {
            if let Some(tier) = harm(stage, *target, running) {
                block(stage, tier, *way);
            }
        }
        Step::Cut { way } => stage.net.say(&format!("cut {}", way.word())),
        Step::Radio { way, set } => stage.net.say(&format!("set {} {set}", way.word())),
        Step::Heal => stage.net.say("heal"),
        Step::Flap { target, ms: each, times } => {
            let Some(tier) = harm(stage, *target, running) else { return };
            for _ in 0..*times {
                block(stage, tier, Way::Both);
                std::thread::sleep(ms(*each));
                stage.net.say("heal");
                std::thread::sleep(ms(*each));
            }
        }
        Step::Clock { hours } => {
            if let Some(clock) = &stage.clock {
                clock.step_to(*hours);
            }
        }
        Step::SlowReaders { count } => {
            let port = stage.port(Tier::Primary);
            running.slow.extend((0..*count).map(|_| slow_reader(&stage.net.host, port)));
        }
        Step::Herd { links } => {
            let urls = Tier::ALL.map(|tier| format!("ws://{}:{}", stage.net.host, stage.port(tier)));
            let topics = vec!["/odom@50".to_owned()];
            let options = Options { urls: urls.to_vec(), topics, links: *links, ..Options::default() };
            running.herds.push(Listener::start(&stage.net.ground, &options, &[]));
            running.herd = Some((0, running.herd.map_or(0, |(_, all)| all) + links));
        }
        Step::Wait { ms: long } => std::thread::sleep(ms(*long)),
        Step::Settle => stage.settle(),
    }
}

impl Running {
    /// Ends what still goes on.
    pub(crate) fn finish(&mut self) {
        self.thaw();
        if let Some((served, _)) = &mut self.herd {
            *served = self.herds.iter_mut().map(|herd| herd.report().served).sum();
        }
        self.herds.clear();
        self.slow.clear();
    }

    fn thaw(&mut self) {
        for pid in self.frozen.drain(..) {
            process::signal(pid, Signal::CONT);
        }
    }
}

fn harm(stage: &Stage, target: Target, running: &mut Running) -> Option<Tier> {
    let tier = stage.tier(target);
    running.harmed.extend(tier);
    tier
}

fn signal(stage: &Stage, target: Target, signal: Signal, running: &mut Running) {
    let Some(pid) = harm(stage, target, running).and_then(|tier| stage.pid(tier)) else { return };
    process::signal(pid, signal);
    if signal == Signal::STOP {
        running.frozen.push(pid);
    }
}

fn block(stage: &mut Stage, tier: Tier, way: Way) {
    let port = stage.port(tier);
    stage.net.say(&format!("block {} {port}", way.word()));
}

/// A native client that wants everything and reads nothing.
fn slow_reader(host: &str, port: u16) -> TcpStream {
    let mut stream = TcpStream::connect((host, port)).unwrap();
    let plain = raw::handshake("/");
    let native = plain.trim_end().to_owned() + &format!("\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n");
    stream.write_all(native.as_bytes()).unwrap();
    stream.write_all(&raw::frame(1, br#"{"op":"subscribe","topics":["**"]}"#)).unwrap();
    stream
}
