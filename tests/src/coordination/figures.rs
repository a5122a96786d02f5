//! How long things take: alone, and while other processes do the same; and what the disk itself takes,
//! in the same run, since the one means nothing without the other.

use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use roverline_coordination::store::Range;

use super::clients::{Hands, open, put};
use super::journal::{Act, Got};
use super::report::Report;
use crate::binary;
use crate::faults::table::table;
use crate::process::Guard;
use crate::scratch::Scratch;

const TTL: Duration = Duration::from_secs(60);
/// Targets, in milliseconds.
const READ_P99: f64 = 0.1;
const WRITE_MAX: f64 = 200.0;

/// What is measured. A part of the product that is to be measured gets a row here, and its act in
/// [`Kind::act`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A lock is acquired; giving it back is not counted
    LockAcquire,
    /// A value is replaced, if it is as expected
    Swap,
    /// A value is written
    Write,
    /// A value is read
    Read,
}

/// How it is measured.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Seconds for each row
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub seconds: u64,
    /// Processes that contend
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=16))]
    pub processes: u8,
    /// The store; a fresh directory when none is given
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
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
    let folder = Scratch::new();
    let store = options.store.clone().unwrap_or_else(|| folder.path().join("store").display().to_string());
    let time = Duration::from_secs(options.seconds);
    let mut rows = vec![
        row("fsync of 4 KiB appended", "bare", &fsyncs(&folder, time)),
        row("SQLite commit, FULL", "bare", &commits(&folder, time)),
    ];
    for kind in Kind::value_variants() {
        for (who, processes) in [("alone", 1), ("contending", options.processes)] {
            match contend(&store, *kind, processes, time) {
                Ok(times) => {
                    targets(&mut report, options.strict, *kind, processes, &times);
                    let who = if processes == 1 { who.to_owned() } else { format!("{processes} {who}") };
                    rows.push(row(&name(*kind), &who, &times));
                }
                Err(why) => return report.failed(&why),
            }
        }
    }
    println!("{}", table(&["in process", "who", "n/s", "p50 ms", "p99 ms", "max ms"], &rows));
    report.say("store", &store);
    report
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

fn row(what: &str, who: &str, times: &Times) -> Vec<String> {
    let each = times.ns.len() as f64 / times.took.as_secs_f64();
    let mut row = vec![what.to_owned(), who.to_owned(), format!("{each:.0}")];
    row.extend([0.5, 0.99, 1.0].map(|share| format!("{:.3}", times.ms(share))));
    row
}

fn targets(report: &mut Report, strict: bool, kind: Kind, processes: u8, times: &Times) {
    let (missed, target) = match kind {
        Kind::Read if processes == 1 => {
            (times.ms(0.99) > READ_P99, format!("p99 of a read <= {READ_P99} ms"))
        }
        Kind::Read => return,
        _ => (times.ms(1.0) > WRITE_MAX, format!("worst write <= {WRITE_MAX} ms")),
    };
    let who = format!("{}, {processes} processes: {target}", name(kind));
    report.say(&who, if missed { "missed" } else { "met" });
    if strict {
        report.must(!missed, &who);
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
        let hands = Hands::on(open(&options.store)?);
        let mut at = Kind::prepare(&hands, &options.name).await?;
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < Duration::from_millis(options.millis) {
            times.push(options.kind.act(&hands, &options.name, &mut at).await?.as_nanos() as u64);
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

impl Kind {
    /// Opens everything that is used, and writes what is to be read.
    async fn prepare(hands: &Hands, name: &str) -> Result<u64, String> {
        let text = |error: roverline_coordination::store::StoreError| error.to_string();
        hands.store.txn(put(&format!("figure/{name}"), "1")).await.map_err(text)?;
        hands
            .store
            .range(Range { prefix: "figure/".to_owned(), limit: 1, ..Range::default() })
            .await
            .map_err(text)?;
        Ok(1)
    }

    /// Does it once; how long it took.
    async fn act(self, hands: &Hands, name: &str, value: &mut u64) -> Result<Duration, String> {
        let (key, resource) = (format!("figure/{name}"), format!("figure-{name}"));
        let next = *value + 1;
        let act = match self {
            Kind::LockAcquire => Act::Lock { resource: resource.clone() },
            Kind::Swap => Act::Swap { key, from: Some(*value), to: next },
            Kind::Write => Act::Write { key, value: next },
            Kind::Read => Act::Read { key },
        };
        let start = Instant::now();
        let got = hands.act(name, &act, TTL, TTL).await;
        let took = start.elapsed();
        match got {
            Got::Held { token } => {
                let back = hands.act(name, &Act::Unlock { resource, token }, TTL, TTL).await;
                if back != Got::Released {
                    return Err(format!("the lock is not given back: {back:?}"));
                }
            }
            Got::Done { .. } => *value = next,
            Got::Value { value: Some(seen), .. } if seen == *value => {}
            other => return Err(format!("{act:?} got {other:?}")),
        }
        Ok(took)
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
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection.execute_batch("CREATE TABLE bare (n INTEGER PRIMARY KEY, text TEXT)").unwrap();
    let mut n = 0;
    repeat(time, || {
        n += 1;
        let mut statement = connection.prepare_cached("INSERT INTO bare VALUES (?1, 'bare')").unwrap();
        statement.execute([n]).unwrap();
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
