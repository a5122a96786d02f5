//! The measuring clients: a child process that holds links (and plain connections) and tells over
//! its standard output what they went through. A process of its own, so that it can be frozen, can
//! live in another network namespace, and can have another clock.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use roverline_client::{Config, Event, Events, Link, LinkSample};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::measure::{Numbers, Quantiles, Wait};

/// Who has heard a sample this recently is served.
const SERVED: Duration = Duration::from_millis(500);
/// A sample older than this at its arrival is stale.
const STALE_MS: f64 = 1_000.0;
/// Delays kept per topic.
const DELAYS: usize = 200_000;
/// Lines from the one who started this that wait.
const LINES: usize = 64;

/// What to listen to.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// An endpoint of the rover; all of them are one link's
    #[arg(long = "url")]
    pub(crate) urls: Vec<String>,
    /// A topic to count, as NAME or NAME@HZ; those with a rate tell how long nothing came
    #[arg(long = "topic")]
    pub(crate) topics: Vec<String>,
    /// How many links of this kind
    #[arg(long, default_value_t = 1)]
    pub(crate) links: usize,
    /// An address that a plain client holds, and connects to again when it is closed
    #[arg(long = "plain")]
    pub(crate) plain: Vec<String>,
    /// How many plain clients per address
    #[arg(long, default_value_t = 1)]
    pub(crate) plains: usize,
    /// How long a plain client waits before it connects again
    #[arg(long, default_value_t = 50)]
    pub(crate) retry_ms: u64,
}

/// A line on standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub(crate) enum Line {
    /// The endpoint in use changed, in the only link.
    Switch(Switch),
    /// The answer to `report`.
    Report(Box<Report>),
}

/// A change of the endpoint in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Switch {
    /// The one left.
    pub(crate) from: Option<String>,
    /// The one in use now.
    pub(crate) to: Option<String>,
    /// The link's word for why.
    pub(crate) cause: String,
    /// As the link tells it.
    pub(crate) blackout_ms: Option<f64>,
}

/// What all links and plain clients went through since the last report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Links that hear samples now.
    pub(crate) served: usize,
    /// Samples of the counted topics.
    pub(crate) samples: u64,
    /// Samples that never came.
    pub(crate) lost: u64,
    /// Samples that came twice.
    pub(crate) duplicated: u64,
    /// Samples that came after a newer one.
    pub(crate) late: u64,
    /// Samples older than a second that nobody had asked for.
    pub(crate) stale: u64,
    /// The longest wait for a sample beyond its topic's period, over all links.
    pub(crate) gap_ms: f64,
    /// Switches of endpoints.
    pub(crate) switches: u64,
    /// The longest blackout as a link itself tells it.
    pub(crate) link_blackout_ms: f64,
    /// From the gateway's receipt to the client's, by topic; right where both share a clock.
    pub(crate) delays_ms: BTreeMap<String, Quantiles>,
    /// What plain clients went through.
    pub(crate) plain: PlainReport,
}

/// What plain clients went through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlainReport {
    /// Plain clients that are connected.
    pub(crate) connected: usize,
    /// Connections that ended.
    pub(crate) closed: u64,
    /// Attempts that were refused.
    pub(crate) refused: u64,
    /// Attempts that failed otherwise.
    pub(crate) failed: u64,
    /// The longest wait between two messages of telemetry.
    pub(crate) gap_ms: f64,
}

/// What one link has seen.
#[derive(Debug, Default)]
struct Heard {
    numbers: Numbers,
    waits: BTreeMap<String, Wait>,
    stale: u64,
    switches: u64,
    link_blackout: Duration,
    delays_ms: BTreeMap<String, Vec<f64>>,
}

#[derive(Debug, Default)]
struct PlainHeard {
    told: PlainReport,
    newest: Option<Instant>,
}

type Shared<T> = Arc<Mutex<T>>;

/// Runs until standard input ends.
pub(crate) fn run(options: &Options) -> ExitCode {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(listen(options));
    ExitCode::SUCCESS
}

async fn listen(options: &Options) {
    let start = Instant::now();
    let mut links = Vec::new();
    let mut handles = Vec::new();
    for _ in 0..if options.urls.is_empty() { 0 } else { options.links } {
        let mut config = Config::with_urls(&options.urls).unwrap();
        "faults".clone_into(&mut config.client_name);
        let (link, events) = Link::open(config);
        let heard = Arc::<Mutex<Heard>>::default();
        for topic in &options.topics {
            let (name, rate) = topic.split_once('@').map_or((topic.as_str(), None), |(n, r)| (n, Some(r)));
            link.subscribe(name, None);
            if let Some(rate) = rate {
                let wait = Wait::of_rate(rate.parse().unwrap());
                heard.lock().unwrap().waits.insert(name.to_owned(), wait);
            }
        }
        tokio::spawn(follow(events, heard.clone(), start, options.links == 1));
        links.push(heard);
        handles.push(link);
    }
    let mut plains = Vec::new();
    for url in options.plain.iter().flat_map(|url| std::iter::repeat_n(url, options.plains)) {
        let heard = Shared::<PlainHeard>::default();
        let retry = Duration::from_millis(options.retry_ms);
        tokio::spawn(hold_plain(url.clone(), heard.clone(), retry));
        plains.push(heard);
    }
    let (tell, mut lines) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tell.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        if line == "report" {
            say(&Line::Report(Box::new(report(&links, &plains, start.elapsed()))));
        }
    }
}

fn say(line: &Line) {
    // Who no longer listens has ended, and standard input says so.
    let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string(line).unwrap());
}

async fn follow(mut events: Events, heard: Shared<Heard>, start: Instant, only: bool) {
    while let Some(event) = events.next().await {
        match event {
            Event::Sample(sample) => heard.lock().unwrap().sample(&sample, start.elapsed()),
            Event::Failover(view) => {
                {
                    let mut heard = heard.lock().unwrap();
                    heard.switches += 1;
                    heard.link_blackout = heard.link_blackout.max(view.blackout.unwrap_or_default());
                }
                if only {
                    let blackout_ms = view.blackout.map(|blackout| blackout.as_secs_f64() * 1e3);
                    let cause = view.cause.word().to_owned();
                    say(&Line::Switch(Switch { from: view.from, to: view.to, cause, blackout_ms }));
                }
            }
            _ => {}
        }
    }
}

impl Heard {
    fn sample(&mut self, sample: &LinkSample, now: Duration) {
        self.numbers.see(sample.id);
        if let Some(wait) = self.waits.get_mut(&sample.topic.name) {
            wait.heard(now);
        }
        let unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
        let delay_ms = (unix_ns - sample.receive_time_ns) as f64 / 1e6;
        if was_asked_for(sample) {
            return;
        }
        self.stale += u64::from(delay_ms > STALE_MS);
        let delays = self.delays_ms.entry(sample.topic.name.clone()).or_default();
        if delays.len() < DELAYS {
            delays.push(delay_ms);
        }
    }
}

/// Whether the client asked for what was before: it may be old.
fn was_asked_for(sample: &LinkSample) -> bool {
    sample.stored || sample.replayed
}

fn report(links: &[Shared<Heard>], plains: &[Shared<PlainHeard>], now: Duration) -> Report {
    let mut report = Report::default();
    let mut delays_ms = BTreeMap::<String, Vec<f64>>::new();
    for heard in links {
        let mut heard = heard.lock().unwrap();
        let (lost, counts) = heard.numbers.take();
        report.lost += lost;
        report.samples += counts.samples;
        report.duplicated += counts.duplicated;
        report.late += counts.late;
        report.stale += std::mem::take(&mut heard.stale);
        report.switches += std::mem::take(&mut heard.switches);
        let blackout_ms = std::mem::take(&mut heard.link_blackout).as_secs_f64() * 1e3;
        report.link_blackout_ms = report.link_blackout_ms.max(blackout_ms);
        report.served += usize::from(heard.waits.values().all(|wait| wait.is_served(now, SERVED)));
        for wait in heard.waits.values_mut() {
            report.gap_ms = report.gap_ms.max(wait.take(now).as_secs_f64() * 1e3);
        }
        for (topic, figures) in std::mem::take(&mut heard.delays_ms) {
            delays_ms.entry(topic).or_default().extend(figures);
        }
    }
    report.delays_ms = delays_ms.into_iter().map(|(topic, all)| (topic, Quantiles::of(&all))).collect();
    for heard in plains {
        let mut heard = heard.lock().unwrap();
        heard.waited();
        let told = std::mem::take(&mut heard.told);
        heard.told.connected = told.connected;
        report.plain.connected += told.connected;
        report.plain.closed += told.closed;
        report.plain.refused += told.refused;
        report.plain.failed += told.failed;
        report.plain.gap_ms = report.plain.gap_ms.max(told.gap_ms);
    }
    report
}

impl PlainHeard {
    fn waited(&mut self) {
        let waited = self.newest.map_or(0.0, |newest| newest.elapsed().as_secs_f64() * 1e3);
        self.told.gap_ms = self.told.gap_ms.max(waited);
    }
}

/// A client as most are: it reads, and when it is closed it tries again a little later.
async fn hold_plain(url: String, heard: Shared<PlainHeard>, retry: Duration) {
    loop {
        match open_plain(&url).await {
            Ok(mut socket) => {
                heard.lock().unwrap().told.connected = 1;
                while let Some(Ok(message)) = socket.next().await {
                    match message {
                        Message::Close(_) => break,
                        // A welcome is not what it waits for.
                        Message::Text(text) if text.as_str().contains("\"telemetry\"") => {}
                        _ => continue,
                    }
                    let mut heard = heard.lock().unwrap();
                    heard.waited();
                    heard.newest = Some(Instant::now());
                }
                let mut heard = heard.lock().unwrap();
                heard.told.connected = 0;
                heard.told.closed += 1;
            }
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                heard.lock().unwrap().told.refused += 1;
            }
            Err(_) => heard.lock().unwrap().told.failed += 1,
        }
        tokio::time::sleep(retry).await;
    }
}

async fn open_plain(url: &str) -> Result<tokio_tungstenite::WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(url.trim_start_matches("ws://")).await?;
    Ok(tokio_tungstenite::client_async(url, stream).await?.0)
}
