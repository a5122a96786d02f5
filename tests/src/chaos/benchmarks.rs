//! Latency benchmarks: alone and under contention, together with the bare disk's latency in the same run,
//! because one is meaningless without the other.

mod http;
mod kinds;

use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use self::kinds::{Bench, Kind};
use super::environment::{Environment, StoreArgs};
use super::report::Report;
use super::store_clients::open;
use crate::binary;
use crate::faults::table::table;
use crate::process::Guard;
use crate::temp::TempDir;

/// Target for the slowest write under contention, in milliseconds.
const WRITE_MAX: f64 = 200.0;
/// Target for the median of acquiring a lock over HTTP, in milliseconds.
const HTTP_LOCK_P50: f64 = 3.0;

/// Command line options.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Seconds for each row
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub seconds: u64,
    /// Processes that contend
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=16))]
    pub processes: u8,
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
    /// Measures over HTTP as well, with the gateway that is built beside this
    #[arg(long)]
    pub http: bool,
    /// Fails when a target is missed
    #[arg(long)]
    pub strict: bool,
}

/// Command line options of one contending process.
#[derive(Clone, Debug, Args)]
pub(crate) struct ContendingProcess {
    #[arg(long)]
    store: String,
    #[arg(long)]
    name: String,
    #[arg(long)]
    kind: Kind,
    #[arg(long)]
    millis: u64,
}

/// Measures everything and prints a table.
pub fn run(options: &Options) -> Report {
    let mut report = Report::new("figures");
    let environment = match options.store.prepare() {
        Ok(environment) => environment,
        Err(why) => return Report::skipped("figures", &why),
    };
    let Environment { store, folder, .. } = &environment;
    let time = Duration::from_secs(options.seconds);
    let mut rows = Vec::new();
    for kind in Kind::value_variants() {
        for (who, processes) in [("alone", 1), ("contending", options.processes)] {
            let baseline = DiskBaseline::measure(folder, time / 4);
            match contend(store, *kind, processes, time) {
                Ok(times) => {
                    check_targets(&mut report, options.strict, *kind, processes, &times);
                    let who = if processes == 1 { who.to_owned() } else { format!("{processes} {who}") };
                    rows.push(row(&kind_name(*kind), &who, &times, &baseline));
                }
                Err(why) => return report.failed(&why),
            }
        }
    }
    println!("{}", table(&[&["in process"], HEAD].concat(), &rows));
    if options.http {
        over_http(&mut report, &environment, options);
    }
    report.text("store", store);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    report.text("load at the end", load.trim());
    report
}

const HEAD: &[&str] = &["who", "n/s", "p50 ms", "p99 ms", "max ms", "fsync p50", "commit p50", "commit p99"];

fn over_http(report: &mut Report, environment: &Environment, options: &Options) {
    let (time, mut rows) = (Duration::from_secs(options.seconds), Vec::new());
    // Without a named store the gateway uses its own directory.
    let named = options.store.etcd || options.store.store.is_some();
    let fixture = http::Fixture::start(named.then_some(environment.store.as_str()));
    for kind in http::Kind::ALL {
        for (who, clients) in [("alone", 1), ("contending", 4)] {
            let baseline = DiskBaseline::measure(&environment.folder, time / 4);
            match fixture.measure(kind, clients, time) {
                Ok(times) => {
                    if kind == http::Kind::LockAcquire && clients == 1 {
                        let what = format!("over HTTP, p50 of a lock <= {HTTP_LOCK_P50} ms");
                        check_target(report, options.strict, &what, times.ms(0.5) <= HTTP_LOCK_P50);
                    }
                    let who = if clients == 1 { who.to_owned() } else { format!("{clients} {who}") };
                    rows.push(row(kind.name(), &who, &times, &baseline));
                }
                Err(why) => report.violations([why]),
            }
        }
    }
    println!("{}", table(&[&["over HTTP"], HEAD].concat(), &rows));
}

/// The bare disk's latency, measured just before each benchmark: on a shared machine one is meaningless
/// without the other.
struct DiskBaseline {
    fsync: Times,
    commit: Times,
}

impl DiskBaseline {
    fn measure(folder: &TempDir, time: Duration) -> DiskBaseline {
        DiskBaseline { fsync: fsyncs(folder, time), commit: commits(folder, time) }
    }
}

fn kind_name(kind: Kind) -> String {
    kind.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The sorted latencies of a benchmark, and its duration.
struct Times {
    ns: Vec<u64>,
    took: Duration,
}

impl Times {
    fn of(mut ns: Vec<u64>, took: Duration) -> Times {
        ns.sort_unstable();
        Times { ns, took }
    }

    fn ms(&self, share: f64) -> f64 {
        let rank = (self.ns.len() as f64 * share) as usize;
        self.ns.get(rank.min(self.ns.len().saturating_sub(1))).map_or(f64::NAN, |ns| *ns as f64 / 1e6)
    }
}

fn row(what: &str, who: &str, times: &Times, baseline: &DiskBaseline) -> Vec<String> {
    let each = times.ns.len() as f64 / times.took.as_secs_f64();
    let mut row = vec![what.to_owned(), who.to_owned(), format!("{each:.0}")];
    row.extend([0.5, 0.99, 1.0].map(|share| format!("{:.4}", times.ms(share))));
    let columns = [baseline.fsync.ms(0.5), baseline.commit.ms(0.5), baseline.commit.ms(0.99)];
    row.extend(columns.map(|ms| format!("{ms:.3}")));
    row
}

fn check_targets(report: &mut Report, strict: bool, kind: Kind, processes: u8, times: &Times) {
    let who = format!("{}, {processes} processes", kind_name(kind));
    if let (1, Some(p99)) = (processes, kind.p99()) {
        check_target(report, strict, &format!("{who}: p99 <= {p99} ms"), times.ms(0.99) <= p99);
    }
    if processes > 1 && kind.writes() {
        check_target(
            report,
            strict,
            &format!("{who}: worst write <= {WRITE_MAX} ms"),
            times.ms(1.0) <= WRITE_MAX,
        );
    }
}

fn check_target(report: &mut Report, strict: bool, what: &str, met: bool) {
    report.text(what, if met { "met" } else { "missed" });
    if strict {
        report.check(met, what);
    }
}

/// Runs a benchmark in several processes at once.
fn contend(store: &str, kind: Kind, processes: u8, time: Duration) -> Result<Times, String> {
    let start = |n: u8| {
        let mut command = Command::new(binary::bin("chaos"));
        command.args([
            "rival",
            "--store",
            store,
            "--name",
            &format!("rival-{n}"),
            "--kind",
            &kind_name(kind),
        ]);
        command.args(["--millis", &time.as_millis().to_string()]).stdout(Stdio::piped());
        Guard(command.spawn().unwrap())
    };
    let children: Vec<Guard> = (0..processes).map(start).collect();
    let mut ns = Vec::new();
    for mut child in children {
        let output = child.0.stdout.take().unwrap();
        let times: Vec<u64> =
            serde_json::from_reader(output).map_err(|error| format!("a process did not answer: {error}"))?;
        ns.extend(times);
    }
    Ok(Times::of(ns, time))
}

/// Runs one benchmark in this process, and prints the latencies in nanoseconds.
pub(crate) fn contending_process(options: &ContendingProcess) -> ExitCode {
    super::workers::end_with_parent();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let times = runtime.block_on(async {
        let mut bench = Bench::prepare(open(&options.store)?, &options.name).await?;
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < Duration::from_millis(options.millis) {
            times.push(bench.run(options.kind).await?.as_nanos() as u64);
        }
        Ok::<Vec<u64>, String>(times)
    });
    match times {
        Ok(times) => {
            println!("{}", serde_json::to_string(&times).unwrap());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("chaos: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Latencies of writing and syncing a block.
fn fsyncs(folder: &TempDir, time: Duration) -> Times {
    let mut file = std::fs::File::create(folder.path().join("bare")).unwrap();
    repeat(time, || {
        file.write_all(&[0x5a; 4_096]).unwrap();
        file.sync_data().unwrap();
    })
}

/// Latencies of committing one small row in SQLite, with the store's settings.
fn commits(folder: &TempDir, time: Duration) -> Times {
    let connection = rusqlite::Connection::open(folder.path().join("bare.db")).unwrap();
    connection.busy_timeout(time).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection.execute_batch("CREATE TABLE IF NOT EXISTS bare (n INTEGER PRIMARY KEY, text TEXT)").unwrap();
    repeat(time, || {
        let mut statement = connection.prepare_cached("INSERT INTO bare (text) VALUES ('bare')").unwrap();
        statement.execute([]).unwrap();
    })
}

fn repeat(time: Duration, mut act: impl FnMut()) -> Times {
    let (start, mut ns) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        let begun = Instant::now();
        act();
        ns.push(begun.elapsed().as_nanos() as u64);
    }
    Times::of(ns, start.elapsed())
}
