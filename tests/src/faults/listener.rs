//! The measuring clients: a child process that holds links (and plain connections) and reports their losses
//! and delays on its standard output. It is a separate process so that it can be frozen, run in another
//! network namespace, and have another clock.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use roverline_client::{Config, Event, Events, Link, LinkSample, TlsOptions};
use roverline_protocol::service_level::ServiceLevel;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::measure::{GapTracker, Quantiles, SequenceTracker};
use crate::wait::observe_for_async;

/// A link counts as served if its newest sample is younger than this.
const SERVED: Duration = Duration::from_millis(500);
/// A sample that is older than this on arrival is stale.
const STALE_MS: f64 = 1_000.0;
/// Maximum number of delays kept per topic.
const DELAYS: usize = 200_000;
/// Maximum number of unread lines from the parent.
const LINES: usize = 64;

/// Command line options.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// An endpoint of the rover; every link uses all of them
    #[arg(long = "url")]
    pub(crate) urls: Vec<String>,
    /// The authority of their certificates, if they use TLS
    #[arg(long)]
    pub(crate) ca: Option<PathBuf>,
    /// A topic to count, as NAME or NAME@HZ; gaps are measured for those with a rate
    #[arg(long = "topic")]
    pub(crate) topics: Vec<String>,
    /// Number of links
    #[arg(long, default_value_t = 1)]
    pub(crate) links: usize,
    /// A URL that plain clients connect to, and reconnect to when closed
    #[arg(long = "plain")]
    pub(crate) plain: Vec<String>,
    /// Number of plain clients per URL
    #[arg(long, default_value_t = 1)]
    pub(crate) plains: usize,
    /// How long a plain client waits before it reconnects, in milliseconds
    #[arg(long, default_value_t = 50)]
    pub(crate) retry_ms: u64,
}

/// A line on standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Line {
    /// The only link has switched to another endpoint.
    Switch(Switch),
    /// The service level of a session of the only link.
    Service {
        /// The endpoint.
        url: String,
        /// Whether everything is delivered.
        full: bool,
    },
    /// The response to `report`.
    Report(Box<Report>),
}

/// A switch to another endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Switch {
    /// The previous endpoint.
    pub(crate) from: Option<String>,
    /// The endpoint in use now.
    pub(crate) to: Option<String>,
    /// The link's word for the cause.
    pub(crate) cause: String,
    /// The blackout as measured by the link.
    pub(crate) blackout_ms: Option<f64>,
}

/// The measurements of all links and plain clients since the previous report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Links that receive samples now.
    pub(crate) served: usize,
    /// Samples of the counted topics.
    pub(crate) samples: u64,
    /// Lost samples.
    pub(crate) lost: u64,
    /// Duplicated samples.
    pub(crate) duplicated: u64,
    /// Samples that arrived after a newer one.
    pub(crate) late: u64,
    /// Samples that were older than a second on arrival, except requested history.
    pub(crate) stale: u64,
    /// The longest gap between samples beyond the topic's period, over all links.
    pub(crate) gap_ms: f64,
    /// Switches to another endpoint.
    pub(crate) switches: u64,
    /// The longest blackout as measured by a link itself.
    pub(crate) link_blackout_ms: f64,
    /// Delays from the gateway's receipt to the client's, by topic; valid if both share a clock.
    pub(crate) delays_ms: BTreeMap<String, Quantiles>,
    /// The measurements of the plain clients.
    pub(crate) plain: PlainReport,
}

/// The measurements of plain clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlainReport {
    /// Plain clients that are connected.
    pub(crate) connected: usize,
    /// Connections that ended.
    pub(crate) closed: u64,
    /// Connection attempts that were refused.
    pub(crate) refused: u64,
    /// Connection attempts that failed otherwise.
    pub(crate) failed: u64,
    /// The longest gap between two telemetry messages.
    pub(crate) gap_ms: f64,
}

/// The measurements of one link.
#[derive(Debug, Default)]
struct LinkStats {
    sequences: SequenceTracker,
    gaps: BTreeMap<String, GapTracker>,
    stale: u64,
    switches: u64,
    link_blackout: Duration,
    delays_ms: BTreeMap<String, Vec<f64>>,
}

#[derive(Debug, Default)]
struct PlainStats {
    report: PlainReport,
    newest: Option<Instant>,
}

type Shared<T> = Arc<Mutex<T>>;

/// Runs until standard input ends.
pub(crate) fn run(options: &Options) -> ExitCode {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(run_clients(options));
    ExitCode::SUCCESS
}

async fn run_clients(options: &Options) {
    let start = Instant::now();
    let mut links = Vec::new();
    let mut handles = Vec::new();
    for _ in 0..if options.urls.is_empty() { 0 } else { options.links } {
        let tls = TlsOptions { ca: options.ca.clone(), ..TlsOptions::default() };
        let mut config = Config::with_urls(&options.urls).unwrap().with_tls(tls).unwrap();
        "faults".clone_into(&mut config.client_name);
        let (link, events) = Link::open(config);
        let stats = Arc::<Mutex<LinkStats>>::default();
        for topic in &options.topics {
            let (name, rate) = topic.split_once('@').map_or((topic.as_str(), None), |(n, r)| (n, Some(r)));
            link.subscribe(name, None);
            if let Some(rate) = rate {
                let gap = GapTracker::of_rate(rate.parse().unwrap());
                stats.lock().unwrap().gaps.insert(name.to_owned(), gap);
            }
        }
        tokio::spawn(receive(events, stats.clone(), start, options.links == 1));
        links.push(stats);
        handles.push(link);
    }
    let mut plains = Vec::new();
    for url in options.plain.iter().flat_map(|url| std::iter::repeat_n(url, options.plains)) {
        let stats = Shared::<PlainStats>::default();
        let retry = Duration::from_millis(options.retry_ms);
        tokio::spawn(run_plain_client(url.clone(), stats.clone(), retry));
        plains.push(stats);
    }
    let (sender, mut lines) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        if line == "report" {
            print(&Line::Report(Box::new(report(&links, &plains, start.elapsed()))));
        }
    }
}

fn print(line: &Line) {
    // If the parent no longer reads, it has exited: standard input ends, too.
    let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string(line).unwrap());
}

async fn receive(mut events: Events, stats: Shared<LinkStats>, start: Instant, only: bool) {
    while let Some(event) = events.next().await {
        match event {
            Event::Sample(sample) => stats.lock().unwrap().sample(&sample, start.elapsed()),
            Event::Failover(view) => {
                {
                    let mut stats = stats.lock().unwrap();
                    stats.switches += 1;
                    stats.link_blackout = stats.link_blackout.max(view.blackout.unwrap_or_default());
                }
                if only {
                    let blackout_ms = view.blackout.map(|blackout| blackout.as_secs_f64() * 1e3);
                    let cause = view.cause.word().to_owned();
                    print(&Line::Switch(Switch { from: view.from, to: view.to, cause, blackout_ms }));
                }
            }
            Event::Service { url, level, .. } if only => {
                print(&Line::Service { url, full: level == ServiceLevel::Full });
            }
            _ => {}
        }
    }
}

impl LinkStats {
    fn sample(&mut self, sample: &LinkSample, now: Duration) {
        self.sequences.record(sample.id);
        if let Some(gap) = self.gaps.get_mut(&sample.topic.name) {
            gap.on_sample(now);
        }
        let unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
        let delay_ms = (unix_ns - sample.receive_time_ns) as f64 / 1e6;
        if is_history(sample) {
            return;
        }
        self.stale += u64::from(delay_ms > STALE_MS);
        let delays = self.delays_ms.entry(sample.topic.name.clone()).or_default();
        if delays.len() < DELAYS {
            delays.push(delay_ms);
        }
    }
}

/// Whether the client requested this sample from the past: it may be old.
fn is_history(sample: &LinkSample) -> bool {
    sample.stored || sample.replayed
}

fn report(links: &[Shared<LinkStats>], plains: &[Shared<PlainStats>], now: Duration) -> Report {
    let mut report = Report::default();
    let mut delays_ms = BTreeMap::<String, Vec<f64>>::new();
    for stats in links {
        let mut stats = stats.lock().unwrap();
        let (lost, counts) = stats.sequences.take();
        report.lost += lost;
        report.samples += counts.samples;
        report.duplicated += counts.duplicated;
        report.late += counts.late;
        report.stale += std::mem::take(&mut stats.stale);
        report.switches += std::mem::take(&mut stats.switches);
        let blackout_ms = std::mem::take(&mut stats.link_blackout).as_secs_f64() * 1e3;
        report.link_blackout_ms = report.link_blackout_ms.max(blackout_ms);
        report.served += usize::from(stats.gaps.values().all(|gap| gap.is_served(now, SERVED)));
        for gap in stats.gaps.values_mut() {
            report.gap_ms = report.gap_ms.max(gap.take(now).as_secs_f64() * 1e3);
        }
        for (topic, figures) in std::mem::take(&mut stats.delays_ms) {
            delays_ms.entry(topic).or_default().extend(figures);
        }
    }
    report.delays_ms = delays_ms.into_iter().map(|(topic, all)| (topic, Quantiles::of(&all))).collect();
    for stats in plains {
        let mut stats = stats.lock().unwrap();
        stats.update_gap();
        let plain = std::mem::take(&mut stats.report);
        stats.report.connected = plain.connected;
        report.plain.connected += plain.connected;
        report.plain.closed += plain.closed;
        report.plain.refused += plain.refused;
        report.plain.failed += plain.failed;
        report.plain.gap_ms = report.plain.gap_ms.max(plain.gap_ms);
    }
    report
}

impl PlainStats {
    fn update_gap(&mut self) {
        let gap_ms = self.newest.map_or(0.0, |newest| newest.elapsed().as_secs_f64() * 1e3);
        self.report.gap_ms = self.report.gap_ms.max(gap_ms);
    }
}

/// A typical client: it reads, and reconnects a little later when it is closed.
async fn run_plain_client(url: String, stats: Shared<PlainStats>, retry: Duration) {
    loop {
        match open_plain(&url).await {
            Ok(mut socket) => {
                stats.lock().unwrap().report.connected = 1;
                while let Some(Ok(message)) = socket.next().await {
                    match message {
                        Message::Close(_) => break,
                        // Only telemetry counts, not the initial message.
                        Message::Text(text) if text.as_str().contains("\"telemetry\"") => {}
                        _ => continue,
                    }
                    let mut stats = stats.lock().unwrap();
                    stats.update_gap();
                    stats.newest = Some(Instant::now());
                }
                let mut stats = stats.lock().unwrap();
                stats.report.connected = 0;
                stats.report.closed += 1;
            }
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                stats.lock().unwrap().report.refused += 1;
            }
            Err(_) => stats.lock().unwrap().report.failed += 1,
        }
        observe_for_async(retry, "the client's reconnect delay").await;
    }
}

async fn open_plain(url: &str) -> Result<tokio_tungstenite::WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(url.trim_start_matches("ws://")).await?;
    Ok(tokio_tungstenite::client_async(url, stream).await?.0)
}
