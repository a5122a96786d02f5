//! Collectors that hang, lie or are absent: spans are counted and given up, and nothing else is disturbed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use roverline_tests::gateway::Gateway;
use roverline_tests::http;
use roverline_tests::plain::PlainClient;
use roverline_tests::usage;
use roverline_tests::wait::{always, observe_for, poll};

const PATIENCE: Duration = Duration::from_secs(40);
/// Requests that make more spans than a batch has.
const SOME: usize = 300;
/// Requests that make more spans than the queue holds.
const MANY: usize = 2_000;
/// How much the memory of a process may grow, MiB.
const GROWTH_MIB: u64 = 24;
/// Gateways at a time.
const AT_A_TIME: usize = 4;

const HTML: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
const PARTIAL: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 4\r\n\r\n\
                       \u{a}\u{2}\u{8}\u{3}";
const SOON: &str = "HTTP/1.1 429 Slow Down\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
const NEXT_YEAR: &str = "HTTP/1.1 429 Slow Down\r\nRetry-After: 31536000\r\nContent-Length: 0\r\n\r\n";
const BROKEN: &str = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n";
const ELSEWHERE: &str = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
const NEGATIVE: &str = "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n";
const CHUNKS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The collector that asks for more time than a test has, and for how long the test looks.
const WAITS: &str = "429 for a year";
const QUIET: Duration = Duration::from_secs(3);

/// What a collector does with a request.
#[derive(Clone, Copy)]
enum Behaviour {
    /// There is none.
    Absent,
    /// It takes the request and never answers.
    Hangs,
    /// It closes the connection before the request.
    Closes,
    /// It answers the first request with this, and the others with that.
    Answers(&'static str, &'static str),
    /// It sends a body without end.
    Endless,
    /// It sends a byte of a body now and then.
    Trickles,
}

/// What the metrics show in the end: `(result or "failures", at least)`. What is not listed is zero.
type Expected = &'static [(&'static str, u64)];

const CASES: &[(&str, Behaviour, usize, Expected)] = &[
    ("hangs", Behaviour::Hangs, SOME, &[("failures", 1)]),
    ("absent", Behaviour::Absent, MANY, &[("failures", 2), ("dropped", 100)]),
    ("closes at once", Behaviour::Closes, SOME, &[("failures", 2)]),
    ("429, then well", Behaviour::Answers(SOON, OK), SOME, &[("failures", 1), ("accepted", 600)]),
    (WAITS, Behaviour::Answers(NEXT_YEAR, OK), SOME, &[("failures", 1)]),
    ("500", Behaviour::Answers(BROKEN, BROKEN), SOME, &[("refused", 600)]),
    ("redirect", Behaviour::Answers(ELSEWHERE, ELSEWHERE), SOME, &[("refused", 600)]),
    ("negative length", Behaviour::Answers(NEGATIVE, NEGATIVE), SOME, &[("refused", 600)]),
    ("garbage", Behaviour::Answers("\0\0\r\n\r\n", "\u{7f}ELF"), SOME, &[("refused", 600)]),
    ("no OTLP", Behaviour::Answers(HTML, HTML), SOME, &[("unconfirmed", 600)]),
    ("partial success", Behaviour::Answers(PARTIAL, OK), SOME, &[("accepted", 597), ("rejected", 3)]),
    ("endless body", Behaviour::Endless, SOME, &[("unconfirmed", 600)]),
    ("slow trickle", Behaviour::Trickles, SOME, &[("unconfirmed", 512)]),
];

/// Starts a collector; its address, and how many requests it got.
fn collector(behaviour: Behaviour) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let requests: Arc<AtomicUsize> = Arc::default();
    let counted = requests.clone();
    if !matches!(behaviour, Behaviour::Absent) {
        std::thread::spawn(move || {
            // One request is under way at a time, so one after another is enough, but for those that never end.
            for stream in listener.incoming().map_while(Result::ok) {
                let number = counted.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || answer(stream, behaviour, number));
            }
        });
    }
    (url, requests)
}

fn answer(mut stream: TcpStream, behaviour: Behaviour, number: usize) -> std::io::Result<()> {
    if matches!(behaviour, Behaviour::Closes) {
        return Ok(());
    }
    read_request(&mut stream)?;
    match behaviour {
        Behaviour::Absent | Behaviour::Closes => Ok(()),
        Behaviour::Hangs => stream.read(&mut [0; 64]).map(drop),
        Behaviour::Answers(first, others) => {
            stream.write_all(if number == 0 { first } else { others }.as_bytes())
        }
        Behaviour::Endless => {
            stream.write_all(CHUNKS.as_bytes())?;
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            loop {
                stream.write_all(chunk.as_bytes())?;
            }
        }
        Behaviour::Trickles => {
            stream.write_all(CHUNKS.as_bytes())?;
            loop {
                stream.write_all(b"1\r\n\x0a\r\n")?;
                observe_for(Duration::from_millis(200), "the rhythm of the trickle");
            }
        }
    }
}

/// Reads a request with its body.
fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        let count = stream.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let whole = head.len() + 4 + length.unwrap().parse::<usize>().unwrap();
        if count == 0 || bytes.len() >= whole {
            return Ok(());
        }
    }
}

/// The value of a metric of the export.
fn counted(port: u16, name: &str) -> u64 {
    let page = http::get(port, "/metrics").body;
    let series = match name {
        "failures" => "roverline_trace_export_failures_total".to_owned(),
        "queue" => "roverline_trace_export_queue_spans".to_owned(),
        result => format!("roverline_trace_export_spans_total{{result=\"{result}\"}}"),
    };
    let line = page.lines().find_map(|line| line.strip_prefix(&series)).unwrap_or_else(|| panic!("{page}"));
    line.trim().parse().unwrap()
}

fn rss_mib(pid: u32) -> u64 {
    usage::rss_kib(pid).unwrap() as u64 >> 10
}

/// Lines of the log about the export.
fn log_lines(gateway: &Gateway) -> Vec<String> {
    let files = std::fs::read_dir(gateway.state().join("log")).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let lines: Vec<_> = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.into_iter().filter(|line| line.contains("traces are ")).collect()
}

fn check(name: &str, behaviour: Behaviour, requests: usize, expected: Expected) {
    let (url, received) = collector(behaviour);
    let rover = Gateway::serve(&["--source", "sim", "--tier", "primary", "--otlp", &url]);
    let port = rover.first_port();
    let before = rss_mib(rover.pid());
    let mut slowest = Duration::ZERO;
    for _ in 0..requests {
        let started = Instant::now();
        assert_eq!(http::get(port, "/api/v2/kv").status, 200, "{name}");
        slowest = slowest.max(started.elapsed());
    }
    let is_reached = || expected.iter().all(|(metric, least)| counted(port, metric) >= *least);
    let reached = poll(PATIENCE, || is_reached().then_some(()));
    let page = http::get(port, "/metrics").body;
    let shown: Vec<_> = page.lines().filter(|line| line.starts_with("roverline_trace_export")).collect();
    assert!(reached.is_some(), "{name}: not {expected:?} but {shown:#?}");
    for result in ["failures", "accepted", "rejected", "unconfirmed", "refused", "expired", "dropped"] {
        let is_expected = expected.iter().any(|(metric, _)| *metric == result);
        assert!(is_expected || counted(port, result) == 0, "{name}: {result} in {shown:#?}");
    }
    if name == WAITS {
        always("it waits as long as it is asked to", QUIET, || counted(port, "failures") == 1);
    }
    assert!(counted(port, "queue") <= 2_048, "{name}: {shown:#?}");
    receive_telemetry(port);
    let lines = log_lines(&rover);
    assert!((1..=2).contains(&lines.len()), "{name}: {lines:#?}");
    let after = rss_mib(rover.pid());
    let received = received.load(Ordering::Relaxed);
    println!(
        "{name}: {received} connections, slowest request {slowest:?}, {before} -> {after} MiB, {lines:?}"
    );
    assert!(after <= before + GROWTH_MIB, "{name}: {before} -> {after} MiB");
    // The end waits for no collector.
    let stopping = Instant::now();
    drop(rover);
    assert!(stopping.elapsed() < Duration::from_secs(4), "{name}: {:?}", stopping.elapsed());
}

fn receive_telemetry(port: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = PlainClient::connect(port).await;
        for _ in 0..5 {
            client.next().await.unwrap();
        }
    });
}

#[test]
fn a_bad_collector_disturbs_nothing() {
    for cases in CASES.chunks(AT_A_TIME) {
        std::thread::scope(|scope| {
            for (name, behaviour, requests, expected) in cases {
                scope.spawn(|| check(name, *behaviour, *requests, expected));
            }
        });
    }
}
