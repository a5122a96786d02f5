//! A rover made of events: what the link would deliver, in, and a model, out.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests use this")]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Style;
use roverline_client::BreakerState;
use roverline_client::{EndpointView, Event, FailoverCause, FailoverView, LinkSample, LinkState};
use roverline_protocol::native::{ClientIdentity, TopicInfo};
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::HealthStatus;
use roverline_protocol::{Guid, Routing, SampleId, Tier};
use roverline_schema::Registry;
use roverline_tui::effect::Effect;
use roverline_tui::model::{Model, Now};
use roverline_tui::theme::{self, Theme};
use roverline_tui::update::{Msg, update};
use serde_json::{Value as Json, json};

/// 14:03:20 UTC on some day.
pub(crate) const WALL_NS: i64 = 1_700_056_800_000_000_000 + 200_000_000_000;

/// The link's ids of requests, beside the model's numbers.
const LINK_IDS: u64 = 1_000;

pub(crate) struct Rig {
    pub(crate) model: Model,
    pub(crate) effects: Vec<Effect>,
    watches: Vec<(String, u64)>,
    registry: Registry,
    seq: u64,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let names = vec!["roverline-dark".to_owned(), "roverline-light".to_owned()];
        let mut rig = Rig {
            model: Model::new(names, 0),
            effects: Vec::new(),
            watches: Vec::new(),
            registry: Registry::bundled(),
            seq: 0,
        };
        rig.send(Msg::Clock(Now { mono: Now::ORIGIN, wall_ns: WALL_NS }));
        rig.send(Msg::Resize(80, 24));
        rig
    }

    pub(crate) fn send(&mut self, msg: Msg) -> &mut Rig {
        let effects = update(&mut self.model, msg);
        for effect in &effects {
            if let Effect::Request { number, .. } | Effect::Watch { number, .. } = effect {
                update(&mut self.model, Msg::RequestSent { number: *number, id: LINK_IDS + number });
            }
        }
        let watches = effects.iter().filter_map(|effect| match effect {
            Effect::Watch { number, path } => Some((path.clone(), LINK_IDS + number)),
            _ => None,
        });
        self.watches.extend(watches);
        self.effects.extend(effects);
        self
    }

    /// The newest request or watch whose method and path begin so is answered.
    pub(crate) fn answer(&mut self, request: &str, status: u16, body: Json) -> &mut Rig {
        let number = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Request { number, method, path, .. } => {
                format!("{method} {path}").starts_with(request).then_some(*number)
            }
            Effect::Watch { number, path } => format!("WATCH {path}").starts_with(request).then_some(*number),
            _ => None,
        });
        let number = number.unwrap_or_else(|| panic!("no {request} in {:?}", self.effects));
        self.link(Event::Response { id: LINK_IDS + number, status, body })
    }

    /// The same for a watch that was begun before the effects were cleared.
    pub(crate) fn answer_again(&mut self, request: &str, status: u16, body: Json) -> &mut Rig {
        let watch = self.watches.iter().find(|(path, _)| request.ends_with(path.as_str())).map(|(_, id)| *id);
        let id = watch.unwrap_or_else(|| panic!("no {request} in {:?}", self.watches));
        self.link(Event::Response { id, status, body })
    }

    /// The body of the newest request whose method and path begin so.
    pub(crate) fn body(&self, request: &str) -> Json {
        let body = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Request { method, path, body, .. } => {
                format!("{method} {path}").starts_with(request).then(|| body.clone().unwrap_or_default())
            }
            _ => None,
        });
        body.unwrap_or_else(|| panic!("no {request} in {:?}", self.effects))
    }

    /// The terminal has taken a frame with the open question.
    pub(crate) fn drawn(&mut self) -> &mut Rig {
        let number = self.model.question().map(|question| question.number);
        self.send(Msg::Drawn(number.unwrap_or_default()))
    }

    /// A question is answered: what opens it, then the text.
    pub(crate) fn dialog(&mut self, open: &str, text: &str) -> &mut Rig {
        self.keys(open).drawn().keys(text)
    }

    /// The text of the newest notification.
    pub(crate) fn notification(&self) -> &str {
        self.model.notification.as_ref().map_or("", |shown| &shown.text)
    }

    pub(crate) fn wait(&mut self, time: Duration) -> &mut Rig {
        let now = self.model.now;
        self.send(Msg::Clock(Now { mono: now.mono + time, wall_ns: now.wall_ns + time.as_nanos() as i64 }))
    }

    pub(crate) fn keys(&mut self, keys: &str) -> &mut Rig {
        for c in keys.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\u{1b}' => KeyCode::Esc,
                '\u{8}' => KeyCode::Backspace,
                c => KeyCode::Char(c),
            };
            self.send(Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        }
        self
    }

    pub(crate) fn key(&mut self, code: KeyCode) -> &mut Rig {
        self.send(Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    pub(crate) fn link(&mut self, event: Event) -> &mut Rig {
        self.send(Msg::Link(event))
    }

    pub(crate) fn sample(&mut self, topic: &TopicInfo, value: &Json) -> &mut Rig {
        let payload = self.registry.plan(&topic.type_name).unwrap().encode_json(value).unwrap();
        self.raw(topic, payload)
    }

    /// A sample with this stamp of the gateway.
    pub(crate) fn sample_from(&mut self, topic: &TopicInfo, value: &Json, receive_time_ns: i64) -> &mut Rig {
        let payload = self.registry.plan(&topic.type_name).unwrap().encode_json(value).unwrap();
        self.stamped(topic, payload, receive_time_ns)
    }

    /// A value that the gateway kept, with its stamp.
    pub(crate) fn stored_from(&mut self, topic: &TopicInfo, value: &Json, receive_time_ns: i64) -> &mut Rig {
        let payload = self.registry.plan(&topic.type_name).unwrap().encode_json(value).unwrap();
        self.sample_with(topic, payload, receive_time_ns, true)
    }

    pub(crate) fn raw(&mut self, topic: &TopicInfo, payload: Vec<u8>) -> &mut Rig {
        self.stamped(topic, payload, self.model.now.wall_ns)
    }

    fn stamped(&mut self, topic: &TopicInfo, payload: Vec<u8>, receive_time_ns: i64) -> &mut Rig {
        self.sample_with(topic, payload, receive_time_ns, false)
    }

    fn sample_with(
        &mut self,
        topic: &TopicInfo,
        payload: Vec<u8>,
        receive_time_ns: i64,
        stored: bool,
    ) -> &mut Rig {
        self.seq += 1;
        let sample = LinkSample {
            topic: Arc::new(topic.clone()),
            id: SampleId { source: Guid::from_name(&topic.name), seq: self.seq },
            stored,
            replayed: false,
            traced: false,
            receipt: None,
            late: false,
            source_time_ns: self.model.now.wall_ns,
            receive_time_ns,
            payload: payload.into(),
        };
        self.link(Event::Sample(sample))
    }

    pub(crate) fn all_samples(&mut self) -> &mut Rig {
        for (topic, value) in messages() {
            self.sample(&topic, &value);
        }
        self
    }

    /// Connected to all four, every topic received at 10 Hz for a while.
    pub(crate) fn running() -> Rig {
        let mut rig = Rig::new();
        rig.link(Event::Endpoints(endpoints(Some(0)).into()));
        rig.link(Event::Failover(failover(None, Some(0), FailoverCause::First, None)));
        let infos: Vec<TopicInfo> = messages().into_iter().map(|(topic, _)| topic).collect();
        rig.link(Event::Topics(infos.into()));
        for _ in 0..45 {
            rig.wait(Duration::from_millis(100)).all_samples();
        }
        rig.wait(Duration::from_secs(10));
        for _ in 0..20 {
            rig.wait(Duration::from_millis(100)).all_samples();
        }
        rig.wait(Duration::from_millis(100));
        rig
    }

    /// The same, with a person at the console.
    pub(crate) fn attended() -> Rig {
        let mut rig = Rig::running();
        rig.send(Msg::Attend("ann@base".to_owned()));
        rig
    }
}

pub(crate) fn topic(name: &str, type_name: &str) -> TopicInfo {
    static ROUTING: LazyLock<Routing> = LazyLock::new(Routing::default);
    let route = ROUTING.route(name, type_name);
    TopicInfo {
        id: 1,
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        scopes: route.scopes,
        priority: route.priority,
        delivery: route.delivery,
        latched: false,
        encoding: Default::default(),
        history_depth: 1,
    }
}

pub(crate) fn url(tier: usize) -> String {
    format!("ws://127.0.0.1:{}", 8080 + tier)
}

pub(crate) fn endpoints(active: Option<usize>) -> Vec<EndpointView> {
    let view = |(i, tier): (usize, Tier)| EndpointView {
        url: url(i),
        rank: i + 1,
        tier: Some(tier),
        scopes: tier.scopes(),
        state: match active {
            Some(a) if a == i => LinkState::Active,
            Some(a) if a < i => LinkState::Standby,
            _ => LinkState::Down,
        },
        health: Some(if active.is_some_and(|a| a <= i) { HealthStatus::Healthy } else { HealthStatus::Down }),
        rtt: Some(Duration::from_micros(420 + 310 * i as u64)),
        jitter: Some(Duration::from_micros(35 + 10 * i as u64)),
        loss: 0.0,
        clock_offset_s: None,
        identity: active
            .filter(|a| *a <= i)
            .map(|_| ClientIdentity { name: "ann".into(), role: "operator".into() }),
        clients: Some((3 + i, 50)),
        connected_for: active.filter(|a| *a <= i).map(|_| Duration::from_secs(754)),
        failures: if active.is_some_and(|a| a <= i) { 0 } else { 7 },
        last_error: active.is_none_or(|a| a > i).then(|| "connection refused".to_owned()),
        received: 48_211 / (i as u64 + 1),
        received_bytes: 0,
        missed: 0,
        breaker: BreakerState::Closed,
        service: ServiceLevel::Full,
        draining: false,
        full: false,
    };
    Tier::ALL.into_iter().enumerate().map(view).collect()
}

pub(crate) fn failover(
    from: Option<usize>,
    to: Option<usize>,
    cause: FailoverCause,
    blackout_ms: Option<u64>,
) -> FailoverView {
    FailoverView {
        at_ns: WALL_NS,
        from: from.map(url),
        to: to.map(url),
        cause,
        blackout: blackout_ms.map(Duration::from_millis),
        replayed: 0,
        duplicates: 0,
        missing: 0,
    }
}

fn turned(degrees: f64) -> Json {
    let half = degrees.to_radians() / 2.0;
    json!({"x": 0.0, "y": 0.0, "z": half.sin(), "w": half.cos()})
}

pub(crate) fn messages() -> Vec<(TopicInfo, Json)> {
    let text = "std_msgs/msg/String";
    let flag = "std_msgs/msg/Bool";
    let mut all = vec![
        (
            topic("/gps/fix", "sensor_msgs/msg/NavSatFix"),
            json!({"latitude": 38.4063241, "longitude": -110.7918713, "altitude": 1372.4}),
        ),
        (
            topic("/odom", "nav_msgs/msg/Odometry"),
            json!({
                "pose": {"pose": {"position": {"x": 12.34, "y": -4.56, "z": 0.0}, "orientation": turned(10.0)}},
                "twist": {"twist": {"linear": {"x": 0.82}, "angular": {"z": 0.11}}},
            }),
        ),
        (topic("/imu/data", "sensor_msgs/msg/Imu"), json!({"orientation": turned(3.0)})),
        (
            topic("/battery_state", "sensor_msgs/msg/BatteryState"),
            json!({"percentage": 0.78, "voltage": 25.1, "current": -3.4}),
        ),
        (topic("/mission/name", text), json!({"data": "Sample return 3"})),
        (topic("/mission/status", text), json!({"data": "driving to site B"})),
        (topic("/mission/samples_collected", "std_msgs/msg/Int32"), json!({"data": 4})),
        (topic("/autonomy/mode", text), json!({"data": "waypoint"})),
        (topic("/autonomy/enabled", flag), json!({"data": true})),
        (topic("/led/state", "std_msgs/msg/ColorRGBA"), json!({"r": 0.0, "g": 1.0, "b": 0.0, "a": 1.0})),
        (topic("/emergency_stop", flag), json!({"data": false})),
        (topic("/safety/boundary_violation", flag), json!({"data": false})),
        (
            topic("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray"),
            json!({"status": [
                {"level": 0, "name": "drive", "message": "OK"},
                {"level": 0, "name": "power", "message": "OK"},
                {"level": 1, "name": "radio", "message": "weak signal: -91 dBm"},
            ]}),
        ),
        (
            topic("/joint_states", "sensor_msgs/msg/JointState"),
            json!({"name": ["fl", "fr", "rl", "rr"], "position": [0.1, 0.2, 0.3, 0.4]}),
        ),
    ];
    for (i, part) in ["front_left", "front_right", "rear_left", "rear_right"].into_iter().enumerate() {
        let celsius = [41.2, 43.0, 72.5, 40.9][i];
        all.push((
            topic(&format!("/motor/{part}/temperature"), "sensor_msgs/msg/Temperature"),
            json!({"temperature": celsius}),
        ));
    }
    all
}

pub(crate) fn themes() -> Vec<Theme> {
    theme::load(None).themes
}

pub(crate) fn draw(model: &Model, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let themes = themes();
    terminal
        .draw(|frame| {
            roverline_tui::view::view(model, &themes[model.theme], frame);
        })
        .unwrap();
    terminal.backend().buffer().clone()
}

pub(crate) fn text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let line = |y| {
        let symbols: String = (0..area.width).map(|x| buffer[(x, y)].symbol()).collect();
        symbols.trim_end().to_owned()
    };
    (0..area.height).map(line).collect::<Vec<_>>().join("\n")
}

/// The places that are not quiet: line, text and the theme's role.
pub(crate) fn abnormal(buffer: &Buffer) -> String {
    let mut theme = themes().remove(0);
    let loud = ["ageing", "invalid", "caution", "alarm", "alarm_fill", "stale"];
    let roles: Vec<(&str, Style)> = theme.roles_mut().into_iter().map(|(n, s)| (n, *s)).collect();
    let screen = roles[0].1;
    let role_at = |x, y| {
        let style = buffer[(x, y)].style();
        roles.iter().filter(|(name, _)| loud.contains(name)).find_map(|(name, role)| {
            let same = style.fg == role.fg.or(screen.fg)
                && style.bg == role.bg.or(screen.bg)
                && style.add_modifier == role.add_modifier;
            same.then_some(*name)
        })
    };
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut runs: Vec<(&str, String)> = Vec::new();
        for x in 0..buffer.area.width {
            let (role, symbol) = (role_at(x, y).unwrap_or(""), buffer[(x, y)].symbol());
            match runs.last_mut() {
                Some((last, text)) if *last == role => text.push_str(symbol),
                _ => runs.push((role, symbol.to_owned())),
            }
        }
        for (role, text) in runs.iter().filter(|(role, text)| !role.is_empty() && !text.trim().is_empty()) {
            out.push_str(&format!("{y:>3} {role}: {}\n", text.trim()));
        }
    }
    out
}

/// Text and what is not quiet in it.
pub(crate) fn picture(model: &Model, width: u16, height: u16) -> String {
    let buffer = draw(model, width, height);
    let loud = abnormal(&buffer);
    let loud = if loud.is_empty() { "  (nothing)\n".to_owned() } else { loud };
    format!("{}\n\nabnormal styles:\n{loud}", text(&buffer))
}
