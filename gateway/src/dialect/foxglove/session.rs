//! One Foxglove client's session: its state, and the handling of its messages and of changes.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roverline_protocol::ScopeSet;
use roverline_protocol::service_level::ServiceLevel;
use roverline_source::Graph;
use tokio::sync::watch;
use tungstenite::protocol::Message;

use crate::connection::close_reason::CloseReason;
use crate::dialect::foxglove::assets::{self, AssetError};
use crate::dialect::foxglove::background_tasks::BackgroundTasks;
use crate::dialect::foxglove::channels::Channels;
use crate::dialect::foxglove::client_message::{self, ClientMessage, Request};
use crate::dialect::foxglove::connection_graph::GraphSnapshot;
use crate::dialect::foxglove::encoding;
use crate::dialect::foxglove::error::{Limit, MalformedMessage, RequestError};
use crate::dialect::foxglove::parameters::{self, Parameters};
use crate::dialect::foxglove::playback::{self, PlaybackView};
use crate::dialect::foxglove::publications::{Encoding, Publications};
use crate::dialect::foxglove::server_message::{self, Level, ParameterJson, ServerMessage};
use crate::dialect::foxglove::services::Services;
use crate::dialect::foxglove::status::StatusReporter;
use crate::dialect::session::driver::{DialectSession, MessageError};
use crate::dialect::session::{ServiceReport, SessionContext};
use crate::limits;

/// How often dropped messages are reported.
const DROP_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Capabilities with a live graph, and with a recording.
const LIVE: [&str; 6] =
    ["clientPublish", "parameters", "parametersSubscribe", "services", "connectionGraph", "assets"];
const RECORDED: [&str; 3] = ["time", "connectionGraph", "assets"];
/// Capabilities with a recording whose playback can be controlled.
const SEEKABLE: [&str; 4] = ["time", "connectionGraph", "assets", "playbackControl"];

/// The state of one session.
pub(super) struct Session<'a> {
    context: &'a SessionContext,
    reporter: StatusReporter,
    channels: Channels,
    publications: Publications,
    services: Services,
    parameters: Parameters,
    tasks: BackgroundTasks,
    playback_view: PlaybackView,
    /// Whether the client knows that playback can be controlled.
    seekable: bool,
    /// The graph that the client knows, once it has subscribed to it.
    graph: Option<GraphSnapshot>,
    scopes: ScopeSet,
    packages: Option<OsString>,
    /// Topics are not yet announced, because the client's backlog was too large.
    topics_stale: bool,
    /// Services and the connection graph are not yet announced: they change in bursts, or the backlog was
    /// too large.
    graph_stale: bool,
    topic_changes: watch::Receiver<u64>,
    graph_changes: watch::Receiver<Arc<Graph>>,
    drops: HashMap<u32, u64>,
    drops_reported_at: Duration,
    time_ns: i64,
}

fn is_recording(context: &SessionContext) -> bool {
    context.endpoint.source_kind.is_recording()
}

fn server_info(context: &SessionContext, range: Option<(i64, i64)>) -> bytes::Bytes {
    let endpoint = &context.endpoint;
    let document = endpoint.document();
    let mut metadata = BTreeMap::from([
        ("tier", endpoint.tier.to_string()),
        ("source", endpoint.source_kind.name().to_owned()),
        ("version", document.version),
    ]);
    if let Ok(distribution) = std::env::var("ROS_DISTRO") {
        metadata.insert("ROS_DISTRO", distribution);
    }
    ServerMessage::ServerInfo {
        name: &format!("Roverline, {} endpoint", endpoint.tier),
        capabilities: match range {
            Some(_) => &SEEKABLE,
            None if is_recording(context) => &RECORDED,
            None => &LIVE,
        },
        supported_encodings: &Encoding::NAMES,
        metadata,
        // Another process is another session: its topics have other ids.
        session_id: format!("{}-{}", endpoint.tier, document.started_ns),
        data_start_time: range.map(|range| server_message::Time::from_ns(range.0)),
        data_end_time: range.map(|range| server_message::Time::from_ns(range.1)),
    }
    .frame()
}

impl<'a> Session<'a> {
    /// Opens a session: sends the server info and everything that exists.
    pub(super) fn open(context: &'a SessionContext) -> Session<'a> {
        let (endpoint, id, outbox) = (&context.endpoint, context.info.id, context.info.outbox());
        // Subscribed before anything is sent: a change in between is announced twice and never missed.
        let (topic_changes, graph_changes) = (endpoint.hub.topic_changes(), endpoint.hub.graph());
        let playback_view = PlaybackView::new(context);
        let range = playback_view.range();
        outbox.control(server_info(context, range));
        // Each subscription has its own id, so a session without a subscription has no id yet.
        endpoint.hub.attach(id, outbox.clone(), encoding::format(0));
        let mut session = Session {
            context,
            reporter: StatusReporter::new(outbox.clone()),
            channels: Channels::new(endpoint.hub.clone(), id, outbox.clone()),
            publications: Publications::default(),
            services: Services::default(),
            parameters: Parameters::default(),
            tasks: BackgroundTasks::new(outbox.clone()),
            playback_view,
            seekable: range.is_some(),
            graph: None,
            scopes: endpoint.scopes(),
            packages: std::env::var_os("AMENT_PREFIX_PATH"),
            topics_stale: true,
            graph_stale: true,
            topic_changes,
            graph_changes,
            drops: HashMap::new(),
            drops_reported_at: Duration::ZERO,
            time_ns: 0,
        };
        session.topics_changed();
        session.refresh_services();
        session.report_playback();
        session
    }

    /// Announces changed topics at once.
    fn topics_changed(&mut self) {
        self.topics_stale = !self.channels.sync(&mut self.reporter);
    }

    fn refresh_services(&mut self) {
        self.graph_stale = !self.services.sync(self.context, &mut self.reporter);
        let Some(before) = self.graph.take() else { return };
        self.graph = Some(self.send_graph_diff(Some(before)));
    }

    /// Sends the difference between the graph and `before`, or all of it; returns the current graph.
    fn send_graph_diff(&self, before: Option<GraphSnapshot>) -> GraphSnapshot {
        let now = GraphSnapshot::from_graph(&self.context.endpoint.graph());
        // The first update is sent even if it is empty.
        if before.as_ref() != Some(&now) {
            let update = now.diff_from(&before.unwrap_or_default());
            self.context.info.outbox().control(ServerMessage::ConnectionGraphUpdate(&update).frame());
        }
        now
    }

    fn report_drops(&mut self, now: Duration) {
        for drop in self.context.info.outbox().take_drops() {
            *self.drops.entry(drop.id).or_default() += drop.count;
        }
        if self.drops.is_empty() || now.saturating_sub(self.drops_reported_at) < DROP_REPORT_INTERVAL {
            return;
        }
        self.drops_reported_at = now;
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
        self.reporter.set(Level::Warning, &message, "drops");
    }

    /// A recording has its own time: the playback position, or that of its newest message.
    fn send_time(&mut self) {
        let hub = &self.context.endpoint.hub;
        let newest = || {
            hub.with_topics(|topics| {
                topics.filter_map(|topic| Some(topic.latest.as_ref()?.sample.receive_time_ns)).max()
            })
        };
        let time = self.playback_view.time(Instant::now()).or_else(newest);
        if let Some(time) = time.filter(|time| *time != self.time_ns) {
            self.time_ns = time;
            self.context.info.outbox().control(server_message::time(time));
        }
    }

    /// Sends the playback state, and beforehand, once, that playback can be controlled.
    fn report_playback(&mut self) {
        let outbox = self.context.info.outbox();
        if let Some(range) = self.playback_view.range().filter(|_| !self.seekable) {
            self.seekable = true;
            outbox.control(server_info(self.context, Some(range)));
        }
        self.playback_view.report(outbox, Instant::now());
    }

    fn send_parameter(&self, parameter: ParameterJson) {
        let parameters = [parameter];
        let frame = ServerMessage::ParameterValues { parameters: &parameters, id: None }.frame();
        self.context.info.outbox().control(frame);
    }

    async fn request(&mut self, request: Request, bytes: usize) -> Result<(), RequestError> {
        let Session { context, reporter, channels, publications, parameters, tasks, .. } = self;
        let confined = || context.info.check_not_confined();
        match request {
            Request::Subscribe { subscriptions } => {
                channels.subscribe(&subscriptions, reporter).await?;
                context.endpoint.ingress.listener_arrived();
            }
            Request::Unsubscribe { subscription_ids } => channels.unsubscribe(&subscription_ids, reporter)?,
            Request::Advertise { channels } => publications.advertise(context, channels, reporter)?,
            Request::Unadvertise { channel_ids } => publications.unadvertise(&channel_ids, reporter)?,
            Request::GetParameters { parameter_names, id } => {
                confined()?;
                parameters::get(context, tasks, &parameter_names, id, reporter)?;
            }
            Request::SetParameters { parameters, id } => {
                confined()?;
                parameters::set(context, tasks, (parameters, bytes), id, reporter)?;
            }
            Request::SubscribeParameterUpdates { parameter_names } => {
                confined()?;
                parameters.subscribe(context, parameter_names)?;
            }
            Request::UnsubscribeParameterUpdates { parameter_names } => {
                parameters.unsubscribe(&parameter_names)
            }
            Request::SubscribeConnectionGraph if self.graph.is_some() => {}
            Request::SubscribeConnectionGraph => {
                self.graph = Some(self.send_graph_diff(None));
            }
            Request::UnsubscribeConnectionGraph => self.graph = None,
            Request::FetchAsset { uri, request_id } => {
                if let Err(error) = self.fetch(uri, request_id) {
                    self.context.info.outbox().control(server_message::asset(request_id, Err(&error)));
                }
            }
        }
        Ok(())
    }

    fn fetch(&mut self, uri: String, request: u32) -> Result<(), RequestError> {
        self.context.info.check_not_confined()?;
        if uri.len() > limits::FOXGLOVE_URI_BYTES {
            return Err(Limit::Uri.into());
        }
        let packages = self.packages.clone();
        self.tasks.start(uri.len(), |responder| async move {
            responder
                .send_large(async {
                    let reading = move || assets::read(packages.as_deref(), &uri);
                    let read = tokio::task::spawn_blocking(reading).await;
                    match read.unwrap_or(Err(AssetError::Interrupted)) {
                        Ok(file) => server_message::asset(request, Ok(&file)),
                        Err(error) => server_message::asset(request, Err(&error.into())),
                    }
                })
                .await;
        })?;
        Ok(())
    }
}

impl DialectSession for Session<'_> {
    type Malformed = MalformedMessage;

    async fn on_message(&mut self, message: &Message) -> Result<(), MessageError<MalformedMessage>> {
        let decoded = match message {
            Message::Text(text) => client_message::text(text.as_str()),
            Message::Binary(bytes) => client_message::binary(bytes),
            _ => return Ok(()),
        };
        match decoded.map_err(MessageError::Malformed)? {
            ClientMessage::Request(request) => self.request(request, message.len()).await,
            ClientMessage::Publish { channel, payload } => {
                self.publications.publish(self.context, channel, &payload)
            }
            ClientMessage::Call(request) => {
                self.services.call(self.context, &mut self.tasks, request);
                Ok(())
            }
            ClientMessage::Playback(request) => playback::apply_control(self.context, request),
        }
        // Understood but not possible: reported, but not counted.
        .unwrap_or_else(|error| self.reporter.report(Level::Error, error));
        Ok(())
    }

    fn report_malformed(&mut self, malformed: MalformedMessage) {
        self.reporter.report(Level::Error, malformed);
    }

    fn report_service(&mut self, ServiceReport { level, reason, shed }: ServiceReport) {
        if level == ServiceLevel::Full {
            return self.reporter.clear("service");
        }
        let word = level.word();
        let message =
            format!("service level {word}: {reason}; {shed} messages were not sent because of it so far");
        self.reporter.set(Level::Warning, &message, "service");
    }

    fn on_active_tick(&mut self, now: Duration) {
        let scopes = self.context.endpoint.scopes();
        if scopes != std::mem::replace(&mut self.scopes, scopes) {
            self.graph_stale = true;
        }
        if self.topics_stale {
            self.topics_changed();
        }
        if self.graph_stale {
            self.refresh_services();
        }
        if is_recording(self.context) {
            self.report_playback();
            self.send_time();
        }
        self.parameters.resubscribe(&self.context.endpoint, now);
        self.report_drops(now);
        self.reporter.reset_window(now);
    }

    async fn next_change(&mut self) -> Result<(), CloseReason> {
        tokio::select! {
            Ok(()) = self.topic_changes.changed() => self.topics_changed(),
            Ok(()) = self.graph_changes.changed() => self.graph_stale = true,
            parameter = self.parameters.changed(&self.context.endpoint) => self.send_parameter(parameter),
            () = self.playback_view.changed() => self.report_playback(),
        }
        Ok(())
    }
}
