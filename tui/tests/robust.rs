//! Nothing that is typed or received makes the console panic, at any size.

mod support;

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use roverline_client::{Event, FailoverCause, LinkState};
use roverline_protocol::native::Level;
use roverline_tui::update::Msg;
use serde_json::json;
use support::{Rig, draw, endpoints, failover, messages, topic};

#[derive(Clone, Debug)]
enum Step {
    Key(KeyCode, bool),
    Size(u16, u16),
    Wait(u64),
    Sample(usize),
    Raw(usize, Vec<u8>),
    Topics(Vec<usize>),
    Endpoints(Option<usize>, LinkState),
    Failover(Option<usize>, Option<usize>),
    Notification(String),
    Schema(String, String),
    Command(bool, String),
}

fn key() -> impl Strategy<Value = KeyCode> {
    prop_oneof![
        4 => prop::sample::select("!?q12345678tRaeEFwXrhjkl/sS yngG\u{1b}xX".chars().collect::<Vec<_>>()).prop_map(KeyCode::Char),
        1 => any::<char>().prop_map(KeyCode::Char),
        3 => prop::sample::select(vec![
            KeyCode::Up, KeyCode::Down, KeyCode::Left, KeyCode::Right, KeyCode::Enter, KeyCode::Esc,
            KeyCode::Tab, KeyCode::BackTab, KeyCode::Backspace, KeyCode::PageUp, KeyCode::PageDown,
            KeyCode::Home, KeyCode::End, KeyCode::F(5),
        ]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let tier = || prop::option::of(0..4_usize);
    let state = prop::sample::select(vec![
        LinkState::Active,
        LinkState::Standby,
        LinkState::Suspect,
        LinkState::Connecting,
        LinkState::Down,
    ]);
    prop_oneof![
        6 => (key(), prop::bool::weighted(0.05)).prop_map(|(k, ctrl)| Step::Key(k, ctrl)),
        2 => (0..200_u16, 0..80_u16).prop_map(|(w, h)| Step::Size(w, h)),
        2 => (0..100_000_u64).prop_map(Step::Wait),
        4 => (0..18_usize).prop_map(Step::Sample),
        2 => (0..19_usize, prop::collection::vec(any::<u8>(), 0..64)).prop_map(|(i, b)| Step::Raw(i, b)),
        1 => prop::collection::vec(0..19_usize, 0..19).prop_map(Step::Topics),
        1 => (tier(), state).prop_map(|(a, s)| Step::Endpoints(a, s)),
        1 => (tier(), tier()).prop_map(|(a, b)| Step::Failover(a, b)),
        1 => any::<String>().prop_map(Step::Notification),
        1 => (any::<String>(), any::<String>()).prop_map(|(a, b)| Step::Schema(a, b)),
        1 => (any::<bool>(), any::<String>()).prop_map(|(a, m)| Step::Command(a, m)),
    ]
}

fn take(rig: &mut Rig, step: Step) {
    let all = messages();
    let of = |i: usize| all.get(i).map_or_else(|| topic("/odd\u{7}name", "a/msg/B"), |(t, _)| t.clone());
    match step {
        Step::Key(code, ctrl) => {
            let modifiers = if ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
            rig.send(Msg::Key(KeyEvent::new(code, modifiers)));
        }
        Step::Size(width, height) => drop(rig.send(Msg::Resize(width, height))),
        Step::Wait(ms) => drop(rig.wait(Duration::from_millis(ms))),
        Step::Sample(i) => drop(rig.sample(&all[i].0, &all[i].1)),
        Step::Raw(i, bytes) => drop(rig.raw(&of(i), bytes)),
        Step::Topics(list) => drop(rig.link(Event::Topics(list.into_iter().map(of).collect()))),
        Step::Endpoints(active, state) => {
            let mut views = endpoints(active);
            views[0].state = state;
            rig.link(Event::Endpoints(views.into()));
        }
        Step::Failover(from, to) => {
            rig.link(Event::Failover(failover(from, to, FailoverCause::Silent, Some(3))));
        }
        Step::Notification(text) => drop(rig.link(Event::Notice { level: Level::Warning, text })),
        Step::Schema(type_name, text) => {
            let encoding = "ros2msg".to_owned();
            rig.link(Event::Schema { type_name, encoding, text });
        }
        Step::Command(accepted, message) => {
            rig.send(Msg::StopSent { id: "a".into(), engage: true });
            rig.link(Event::Command { id: "a".into(), accepted, message });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_at_any_size(steps in prop::collection::vec(step(), 1..60), width in 0..200_u16, height in 0..70_u16) {
        let mut rig = Rig::new();
        rig.send(Msg::Resize(width, height));
        for step in steps {
            take(&mut rig, step);
            let (width, height) = rig.model.size;
            draw(&rig.model, width, height);
        }
    }
}

/// CPU time of this thread, which the load of other programs does not change.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Not a benchmark of the machine: it fails only when a frame has become a matter of its own.
#[test]
fn a_frame_at_200_topics_is_quick() {
    let mut rig = Rig::running();
    let mut infos: Vec<_> = messages().into_iter().map(|(topic, _)| topic).collect();
    let many = (infos.len()..200).map(|i| topic(&format!("/joint/{i}/position"), "std_msgs/msg/Float64"));
    infos.extend(many.collect::<Vec<_>>());
    rig.link(Event::Topics(infos.clone().into()));
    let themes = support::themes();
    for (keys, name) in
        [("1", "drive"), ("2", "map"), ("3", "links"), ("4", "team"), ("5", "topics"), ("6", "log")]
    {
        rig.keys(keys).send(Msg::Resize(160, 50));
        let backend = ratatui::backend::TestBackend::new(160, 50);
        let mut terminal = ratatui::Terminal::new(backend).unwrap();
        let (mut times, mut cpu) = (Vec::new(), Vec::new());
        for i in 0..300 {
            for info in infos.iter().skip(18).step_by(4) {
                rig.sample(info, &json!({"data": f64::from(i)}));
            }
            let (start, start_cpu) = (Instant::now(), cpu_time());
            rig.wait(Duration::from_millis(33));
            terminal
                .draw(|frame| {
                    roverline_tui::view::view(&rig.model, &themes[0], frame);
                })
                .unwrap();
            times.push(start.elapsed());
            cpu.push(cpu_time() - start_cpu);
        }
        for (what, list) in [("passed", &mut times), ("computed", &mut cpu)] {
            list.sort();
            println!("{name}: p50 {} µs, p99 {} µs {what}", list[150].as_micros(), list[297].as_micros());
        }
        let p50 = cpu[150];
        assert!(p50 < Duration::from_millis(50), "{name}: {p50:?} for a frame");
    }
}
