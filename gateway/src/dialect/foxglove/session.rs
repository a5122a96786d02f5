//! One client's session: what it was told, what it asked for, and what it is told when.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::time::{Duration, Instant};

use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::{ScopeSet, limits};
use tungstenite::protocol::Message;

use crate::dialect::foxglove::assets;
use crate::dialect::foxglove::background_tasks::Errands;
use crate::dialect::foxglove::channels::Channels;
use crate::dialect::foxglove::client_message::{self, Request, Said};
use crate::dialect::foxglove::connection_graph::Picture;
use crate::dialect::foxglove::parameters::{self, Parameters};
use crate::dialect::foxglove::playback::{self, Screen};
use crate::dialect::foxglove::publications::{Encoding, Publications};
use crate::dialect::foxglove::server_message::{self, Answer, Level, ShownParameter};
use crate::dialect::foxglove::services::Services;
use crate::dialect::foxglove::status::Notices;
use crate::dialect::session::{Care, Context, Ending, Service};
use crate::hub::Form;

/// How often the client is told of what it missed.
const TELL_DROPS: Duration = Duration::from_secs(1);

/// What a client may do where there is a live graph, and where there is a recording of one.
const LIVE: [&str; 6] =
    ["clientPublish", "parameters", "parametersSubscribe", "services", "connectionGraph", "assets"];
const RECORDED: [&str; 3] = ["time", "connectionGraph", "assets"];
/// The same where what is recorded can be steered.
const STEERED: [&str; 4] = ["time", "connectionGraph", "assets", "playbackControl"];

/// The state of one session.
pub(super) struct Session<'a> {
    context: &'a Context,
    notices: Notices,
    channels: Channels,
    publications: Publications,
    services: Services,
    parameters: Parameters,
    errands: Errands,
    screen: Screen,
    /// Whether the client knows that the recording can be steered.
    steered: bool,
    /// What the client knows of the connection graph, once it has asked.
    graph: Option<Picture>,
    care: Care,
    scopes: ScopeSet,
    packages: Option<OsString>,
    /// Something is to be told that was not yet: topics, and services and who is connected to what.
    stale: (bool, bool),
    drops: HashMap<u32, u64>,
    drops_told_at: Duration,
    time_ns: i64,
}

fn is_recording(context: &Context) -> bool {
    context.endpoint.source_kind == "bag"
}

fn server_info(context: &Context, range: Option<(i64, i64)>) -> bytes::Bytes {
    let endpoint = &context.endpoint;
    let document = endpoint.document();
    let mut metadata = BTreeMap::from([
        ("tier", endpoint.tier.to_string()),
        ("source", endpoint.source_kind.to_owned()),
        ("version", document.version),
    ]);
    if let Ok(distribution) = std::env::var("ROS_DISTRO") {
        metadata.insert("ROS_DISTRO", distribution);
    }
    Answer::ServerInfo {
        name: &format!("Roverline, {} endpoint", endpoint.tier),
        capabilities: match range {
            Some(_) => &STEERED,
            None if is_recording(context) => &RECORDED,
            None => &LIVE,
        },
        supported_encodings: &Encoding::NAMES,
        metadata,
        // Another process is another session: it numbers its topics anew.
        session_id: format!("{}-{}", endpoint.tier, document.started_ns),
        data_start_time: range.map(|range| server_message::Time::of(range.0)),
        data_end_time: range.map(|range| server_message::Time::of(range.1)),
    }
    .frame()
}

impl<'a> Session<'a> {
    /// Tells a new client what there is.
    pub(super) fn greet(context: &'a Context) -> Session<'a> {
        let (endpoint, id, outbox) = (&context.endpoint, context.info.id, context.info.outbox());
        let screen = Screen::new(context);
        let range = screen.range();
        outbox.control(server_info(context, range));
        // Its subscriptions have their own numbers; there is none without one.
        endpoint.hub.attach(id, outbox.clone(), Form::Foxglove { subscription: 0 });
        let mut session = Session {
            context,
            notices: Notices::new(outbox.clone()),
            channels: Channels::new(endpoint.hub.clone(), id, outbox.clone()),
            publications: Publications::default(),
            services: Services::default(),
            parameters: Parameters::default(),
            errands: Errands::new(outbox.clone()),
            screen,
            steered: range.is_some(),
            graph: None,
            care: Care::default(),
            scopes: endpoint.scopes(),
            packages: std::env::var_os("AMENT_PREFIX_PATH"),
            stale: (true, true),
            drops: HashMap::new(),
            drops_told_at: Duration::ZERO,
            time_ns: 0,
        };
        session.topics_changed();
        session.refresh_services();
        session.tell_playback();
        session
    }

    /// The topics are not what they were: told at once.
    pub(super) fn topics_changed(&mut self) {
        self.stale.0 = !self.channels.sync(&mut self.notices);
    }

    /// The graph is not what it was: told with the next tick, since it changes in bursts.
    pub(super) fn graph_changed(&mut self) {
        self.stale.1 = true;
    }

    fn refresh_services(&mut self) {
        self.stale.1 = !self.services.sync(self.context, &mut self.notices);
        let Some(before) = self.graph.take() else { return };
        self.graph = Some(self.tell_connections(Some(before)));
    }

    /// Says how the graph differs from what the client knows, or all of it; returns what it knows now.
    fn tell_connections(&self, before: Option<Picture>) -> Picture {
        let now = Picture::of(&self.context.endpoint.graph());
        // The first is told even if there is nothing in it.
        if before.as_ref() != Some(&now) {
            let update = now.since(&before.unwrap_or_default());
            self.context.info.outbox().control(Answer::ConnectionGraphUpdate(&update).frame());
        }
        now
    }

    /// Looks after the session at `now` (monotonic).
    pub(super) fn tick(&mut self, now: Duration) -> Result<(), Ending> {
        if let Some(service) = self.care.look(self.context, now)? {
            self.tell_service(&service);
        }
        let outbox = self.context.info.outbox();
        if outbox.is_paused() {
            return Ok(());
        }
        let scopes = self.context.endpoint.scopes();
        if scopes != std::mem::replace(&mut self.scopes, scopes) {
            self.stale.1 = true;
        }
        if self.stale.0 {
            self.topics_changed();
        }
        if self.stale.1 {
            self.refresh_services();
        }
        if is_recording(self.context) {
            self.tell_playback();
            self.tell_time();
        }
        self.parameters.renew(&self.context.endpoint, now);
        self.tell_drops(now);
        self.notices.calm_down(now);
        Ok(())
    }

    fn tell_service(&self, service: &Service) {
        let Service { level, reason, shed } = service;
        match level {
            ServiceLevel::Full => self.notices.clear("service"),
            level => {
                let word = level.word();
                let message = format!(
                    "service level {word}: {reason}; {shed} messages were not sent because of it so far"
                );
                self.notices.keep(Level::Warning, &message, "service");
            }
        }
    }

    fn tell_drops(&mut self, now: Duration) {
        for drop in self.context.info.outbox().take_drops() {
            *self.drops.entry(drop.id).or_default() += drop.count;
        }
        if self.drops.is_empty() || now.saturating_sub(self.drops_told_at) < TELL_DROPS {
            return;
        }
        self.drops_told_at = now;
        let count: u64 = self.drops.values().sum();
        let mut topics: Vec<(u64, &str)> =
            self.drops.iter().map(|(id, count)| (*count, self.channels.name(*id))).collect();
        topics.sort_unstable_by(|a, b| b.cmp(a));
        let mut worst: Vec<String> =
            topics.iter().take(3).map(|(count, name)| format!("{name} ({count})")).collect();
        if topics.len() > worst.len() {
            worst.push(format!("{} more topics", topics.len() - worst.len()));
        }
        let message = format!(
            "{count} messages were dropped, because they are not taken fast enough: {}",
            worst.join(", ")
        );
        self.drops.clear();
        self.notices.keep(Level::Warning, &message, "drops");
    }

    /// A recording has its own time: where it is, or that of its newest message.
    fn tell_time(&mut self) {
        let hub = &self.context.endpoint.hub;
        let newest = || {
            hub.with_topics(|topics| {
                topics.filter_map(|topic| Some(topic.latest.as_ref()?.sample.receive_time_ns)).max()
            })
        };
        let time = self.screen.time(Instant::now()).or_else(newest);
        if let Some(time) = time.filter(|time| *time != self.time_ns) {
            self.time_ns = time;
            self.context.info.outbox().control(server_message::time(time));
        }
    }

    /// Tells where the recording is, and before the first time that it can be steered.
    fn tell_playback(&mut self) {
        let outbox = self.context.info.outbox();
        if let Some(range) = self.screen.range().filter(|_| !self.steered) {
            self.steered = true;
            outbox.control(server_info(self.context, Some(range)));
        }
        self.screen.tell(outbox, Instant::now());
    }

    /// Waits for what the client is to hear at once, and tells it.
    pub(super) async fn follow(&mut self) {
        tokio::select! {
            parameter = self.parameters.changed(&self.context.endpoint) => self.tell_parameter(parameter),
            () = self.screen.changed() => self.tell_playback(),
        }
    }

    fn tell_parameter(&self, parameter: ShownParameter) {
        let parameters = [parameter];
        let frame = Answer::ParameterValues { parameters: &parameters, id: None }.frame();
        self.context.info.outbox().control(frame);
    }

    /// Tells the client of a mistake.
    pub(super) fn complain(&mut self, why: String) {
        self.notices.tell(Level::Error, why);
    }

    /// Does what the client says. An error is a message that cannot be understood; what can be
    /// understood and not be done is told as a status, and costs nothing.
    pub(super) async fn handle(&mut self, message: &Message) -> Result<(), String> {
        let said = match message {
            Message::Text(text) => client_message::text(text.as_str())?,
            Message::Binary(bytes) => client_message::binary(bytes)?,
            _ => return Ok(()),
        };
        match said {
            Said::Request(request) => self.request(request, message.len()).await,
            Said::Publish { channel, payload } => self.publications.publish(self.context, channel, &payload),
            Said::Call(request) => {
                self.services.call(self.context, &mut self.errands, request);
                Ok(())
            }
            Said::Playback(request) => playback::control(self.context, request),
        }
        .unwrap_or_else(|why| self.complain(why));
        Ok(())
    }

    async fn request(&mut self, request: Request, bytes: usize) -> Result<(), String> {
        let Session { context, notices, channels, publications, parameters, errands, .. } = self;
        match request {
            Request::Subscribe { subscriptions } => {
                channels.subscribe(&subscriptions, notices).await?;
                context.endpoint.ingress.listener_arrived();
            }
            Request::Unsubscribe { subscription_ids } => channels.unsubscribe(&subscription_ids, notices)?,
            Request::Advertise { channels } => publications.advertise(context, channels, notices)?,
            Request::Unadvertise { channel_ids } => publications.unadvertise(&channel_ids, notices)?,
            Request::GetParameters { parameter_names, id } => {
                parameters::get(context, errands, &parameter_names, id, notices)?;
            }
            Request::SetParameters { parameters, id } => {
                parameters::set(context, errands, (parameters, bytes), id, notices)?;
            }
            Request::SubscribeParameterUpdates { parameter_names } => {
                parameters.subscribe(context, parameter_names)?;
            }
            Request::UnsubscribeParameterUpdates { parameter_names } => {
                parameters.unsubscribe(&parameter_names)
            }
            Request::SubscribeConnectionGraph if self.graph.is_some() => {}
            Request::SubscribeConnectionGraph => {
                self.graph = Some(self.tell_connections(None));
            }
            Request::UnsubscribeConnectionGraph => self.graph = None,
            Request::FetchAsset { uri, request_id } => {
                if let Err(why) = self.fetch(uri, request_id) {
                    self.context.info.outbox().control(server_message::asset(request_id, Err(&why)));
                }
            }
        }
        Ok(())
    }

    fn fetch(&mut self, uri: String, request: u32) -> Result<(), String> {
        if uri.len() > limits::FOXGLOVE_URI_BYTES {
            return Err(format!("a URI may have {} bytes", limits::FOXGLOVE_URI_BYTES));
        }
        let packages = self.packages.clone();
        self.errands.start(uri.len(), |desk| async move {
            desk.hand_over(async {
                let reading = move || assets::read(packages.as_deref(), &uri);
                match tokio::task::spawn_blocking(reading).await {
                    Ok(Ok(file)) => server_message::asset(request, Ok(&file)),
                    Ok(Err(why)) => server_message::asset(request, Err(&why)),
                    Err(_) => server_message::asset(request, Err("it could not be read")),
                }
            })
            .await;
        })
    }
}
