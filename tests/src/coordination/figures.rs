//! How long things take: alone, and while other processes do the same; and what the disk itself takes,
//! in the same run, since the one means nothing without the other.

mod http;
mod kinds;

use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use self::kinds::{Bench, Kind};
use super::clients::open;
use super::ground::{Ground, Where};
use super::report::Report;
use crate::binary;
use crate::faults::table::table;
use crate::process::Guard;
use crate::scratch::Scratch;

/// The worst write of processes that contend, in milliseconds.
const WRITE_MAX: f64 = 200.0;
/// Of a lock over HTTP, half of all, in milliseconds.
const HTTP_LOCK_P50: f64 = 3.0;

/// How it is measured.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Seconds for each row
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub seconds: u64,
    /// Processes that contend
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=16))]
    pub processes: u8,
    /// What it stands on
    #[command(flatten)]
    pub over: Where,
    /// Measures over HTTP as well, with the gateway that is built beside this
    #[arg(long)]
    pub http: bool,
    /// Says so when a target is missed, and fails
    #[arg(long)]
    pub strict: bool,
}

/// One process of a measurement.
#[derive(Clone, Debug, Args)]
pub(crate) struct Rival {
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
    let ground = match options.over.ground() {
        Ok(ground) => ground,
        Err(why) => return Report::skipped("figures", &why),
    };
    let Ground { store, folder, .. } = &ground;
    let time = Duration::from_secs(options.seconds);
    let mut rows = Vec::new();
    for kind in Kind::value_variants() {
        for (who, processes) in [("alone", 1), ("contending", options.processes)] {
            let bare = Bare::measure(folder, time / 4);
            match contend(store, *kind, processes, time) {
                Ok(times) => {
                    targets(&mut report, options.strict, *kind, processes, &times);
                    let who = if processes == 1 { who.to_owned() } else { format!("{processes} {who}") };
                    rows.push(row(&name(*kind), &who, &times, &bare));
                }
                Err(why) => return report.failed(&why),
            }
        }
    }
    println!("{}", table(&[&["in process"], HEAD].concat(), &rows));
    if options.http {
        over_http(&mut report, &ground, options);
    }
    report.say("store", store);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    report.say("load at the end", load.trim());
    report
}

const HEAD: &[&str] = &["who", "n/s", "p50 ms", "p99 ms", "max ms", "fsync p50", "commit p50", "commit p99"];

fn over_http(report: &mut Report, ground: &Ground, options: &Options) {
    let (time, mut rows) = (Duration::from_secs(options.seconds), Vec::new());
    // A fresh directory is the gateway's own.
    let named = options.over.etcd || options.over.store.is_some();
    let rig = http::Rig::start(named.then_some(ground.store.as_str()));
    for kind in http::Kind::ALL {
        for (who, clients) in [("alone", 1), ("contending", 4)] {
            let bare = Bare::measure(&ground.folder, time / 4);
            match rig.measure(kind, clients, time) {
                Ok(times) => {
                    if kind == http::Kind::LockAcquire && clients == 1 {
                        let what = format!("over HTTP, p50 of a lock <= {HTTP_LOCK_P50} ms");
                        met(report, options.strict, &what, times.ms(0.5) <= HTTP_LOCK_P50);
                    }
                    let who = if clients == 1 { who.to_owned() } else { format!("{clients} {who}") };
                    rows.push(row(kind.name(), &who, &times, &bare));
                }
                Err(why) => report.violations([why]),
            }
        }
    }
    println!("{}", table(&[&["over HTTP"], HEAD].concat(), &rows));
}

/// What the disk itself takes, just before something is measured: on a machine that others use, the
/// one means nothing without the other.
struct Bare {
    fsync: Times,
    commit: Times,
}

impl Bare {
    fn measure(folder: &Scratch, time: Duration) -> Bare {
        Bare { fsync: fsyncs(folder, time), commit: commits(folder, time) }
    }
}

fn name(kind: Kind) -> String {
    kind.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What was measured, sorted, and in how long.
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
        let place = (self.ns.len() as f64 * share) as usize;
        self.ns.get(place.min(self.ns.len().saturating_sub(1))).map_or(f64::NAN, |ns| *ns as f64 / 1e6)
    }
}

fn row(what: &str, who: &str, times: &Times, bare: &Bare) -> Vec<String> {
    let each = times.ns.len() as f64 / times.took.as_secs_f64();
    let mut row = vec![what.to_owned(), who.to_owned(), format!("{each:.0}")];
    row.extend([0.5, 0.99, 1.0].map(|share| format!("{:.4}", times.ms(share))));
    let bare = [bare.fsync.ms(0.5), bare.commit.ms(0.5), bare.commit.ms(0.99)];
    row.extend(bare.map(|ms| format!("{ms:.3}")));
    row
}

fn targets(report: &mut Report, strict: bool, kind: Kind, processes: u8, times: &Times) {
    let who = format!("{}, {processes} processes", name(kind));
    if let (1, Some(p99)) = (processes, kind.p99()) {
        met(report, strict, &format!("{who}: p99 <= {p99} ms"), times.ms(0.99) <= p99);
    }
    if processes > 1 && kind.writes() {
        met(report, strict, &format!("{who}: worst write <= {WRITE_MAX} ms"), times.ms(1.0) <= WRITE_MAX);
    }
}

fn met(report: &mut Report, strict: bool, what: &str, met: bool) {
    report.say(what, if met { "met" } else { "missed" });
    if strict {
        report.must(met, what);
    }
}

/// So many processes do the same at once.
fn contend(store: &str, kind: Kind, processes: u8, time: Duration) -> Result<Times, String> {
    let start = |n: u8| {
        let mut command = Command::new(binary::bin("coordination"));
        command.args(["rival", "--store", store, "--name", &format!("rival-{n}"), "--kind", &name(kind)]);
        command.args(["--millis", &time.as_millis().to_string()]).stdout(Stdio::piped());
        Guard(command.spawn().unwrap())
    };
    let rivals: Vec<Guard> = (0..processes).map(start).collect();
    let mut ns = Vec::new();
    for mut rival in rivals {
        let output = rival.0.stdout.take().unwrap();
        let times: Vec<u64> =
            serde_json::from_reader(output).map_err(|error| format!("a process did not answer: {error}"))?;
        ns.extend(times);
    }
    Ok(Times::of(ns, time))
}

/// Measures one kind in this process, and prints the nanoseconds of each.
pub(crate) fn rival(options: &Rival) -> ExitCode {
    super::crew::end_with_parent();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let times = runtime.block_on(async {
        let mut bench = Bench::prepare(open(&options.store)?, &options.name).await?;
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < Duration::from_millis(options.millis) {
            times.push(bench.act(options.kind).await?.as_nanos() as u64);
        }
        Ok::<Vec<u64>, String>(times)
    });
    match times {
        Ok(times) => {
            println!("{}", serde_json::to_string(&times).unwrap());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("coordination: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What the disk takes to keep something.
fn fsyncs(folder: &Scratch, time: Duration) -> Times {
    let mut file = std::fs::File::create(folder.path().join("bare")).unwrap();
    repeat(time, || {
        file.write_all(&[0x5a; 4_096]).unwrap();
        file.sync_data().unwrap();
    })
}

/// What SQLite takes for a commit of one small row, as the store is set.
fn commits(folder: &Scratch, time: Duration) -> Times {
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
