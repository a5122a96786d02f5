//! Executes the steps of a scenario.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_protocol::native::SUBPROTOCOL;

use super::environment::ScenarioEnv;
use super::listener::Options;
use super::listener_process::Listener;
use super::scenario::{Direction, Step, Target};
use crate::process::{self, Signal};
use crate::raw;
use crate::wait::observe_for;

/// The running clients of a trial, and its effects.
#[derive(Debug, Default)]
pub(crate) struct TrialState {
    frozen: Vec<u32>,
    slow: Vec<TcpStream>,
    herds: Vec<Listener>,
    /// The tiers affected by a step.
    pub(crate) affected: Vec<Tier>,
    /// Links of herds that receive samples, and the total.
    pub(crate) herd: Option<(usize, usize)>,
}

/// Executes one step.
pub(crate) fn execute(env: &mut ScenarioEnv, step: &Step, state: &mut TrialState, quick: bool) {
    let ms = Duration::from_millis;
    match step {
        Step::Kill { target } => signal(env, *target, Signal::KILL, state),
        Step::Stop { target } => signal(env, *target, Signal::STOP, state),
        Step::Cont => state.thaw(),
        Step::FreezeClient { ms: long, quick_ms } => {
            process::signal(env.client.pid(), Signal::STOP);
            observe_for(ms(if quick { *quick_ms } else { *long }), "the duration of the fault");
            process::signal(env.client.pid(), Signal::CONT);
        }
        Step::KillSupervisor => env.stop_rover(true),
        Step::StopRover => env.stop_rover(false),
        Step::StartRover => env.start_rover(),
        Step::BreakFrame { target } => {
            if let Some(tier) = affected_tier(env, *target, state) {
                env.proxies[usize::from(tier.port_offset())].break_next_frame();
            }
        }
        Step::Block { target, direction } => {
            if let Some(tier) = affected_tier(env, *target, state) {
                block(env, tier, *direction);
            }
        }
        Step::Cut { direction } => env.net.send(&format!("cut {}", direction.as_str())),
        Step::Radio { direction, set } => env.net.send(&format!("set {} {set}", direction.as_str())),
        Step::Heal => env.net.send("heal"),
        Step::Flap { target, ms: half, times } => {
            let Some(tier) = affected_tier(env, *target, state) else { return };
            for _ in 0..*times {
                block(env, tier, Direction::Both);
                observe_for(ms(*half), "the rhythm of the flapping");
                env.net.send("heal");
                observe_for(ms(*half), "the rhythm of the flapping");
            }
        }
        Step::Clock { hours } => {
            if let Some(clock) = &env.clock {
                clock.step_to(*hours);
            }
        }
        Step::SlowReaders { count } => {
            let port = env.port(Tier::Primary);
            state.slow.extend((0..*count).map(|_| slow_reader(&env.net.host, port)));
        }
        Step::Herd { links } => {
            let urls = Tier::ALL.map(|tier| format!("ws://{}:{}", env.net.host, env.port(tier)));
            let topics = vec!["/odom@50".to_owned()];
            let options = Options { urls: urls.to_vec(), topics, links: *links, ..Options::default() };
            state.herds.push(Listener::start(&env.net.ground, &options, &[]));
            state.herd = Some((0, state.herd.map_or(0, |(_, all)| all) + links));
        }
        Step::Wait { ms: long } => observe_for(ms(*long), "a step of the scenario"),
        Step::Settle => env.settle(),
    }
}

impl TrialState {
    /// Stops the clients and resumes frozen processes.
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

fn affected_tier(env: &ScenarioEnv, target: Target, state: &mut TrialState) -> Option<Tier> {
    let tier = env.tier(target);
    state.affected.extend(tier);
    tier
}

fn signal(env: &ScenarioEnv, target: Target, signal: Signal, state: &mut TrialState) {
    let Some(pid) = affected_tier(env, target, state).and_then(|tier| env.pid(tier)) else { return };
    process::signal(pid, signal);
    if signal == Signal::STOP {
        state.frozen.push(pid);
    }
}

fn block(env: &mut ScenarioEnv, tier: Tier, direction: Direction) {
    let port = env.port(tier);
    env.net.send(&format!("block {} {port}", direction.as_str()));
}

/// A native client that subscribes to everything and reads nothing.
fn slow_reader(host: &str, port: u16) -> TcpStream {
    let mut stream = TcpStream::connect((host, port)).unwrap();
    let plain = raw::handshake("/");
    let native = plain.trim_end().to_owned() + &format!("\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n");
    stream.write_all(native.as_bytes()).unwrap();
    stream.write_all(&raw::frame(1, br#"{"op":"subscribe","topics":["**"]}"#)).unwrap();
    stream
}
