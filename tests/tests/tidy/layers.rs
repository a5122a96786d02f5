//! The layers: which crate and module may use which.

use crate::manifest::Manifest;
use crate::rust;
use crate::tree::{File, Finding, Tree};

/// The crates of this project, and which of the others each may depend on.
const CRATES: &[(&str, &[&str])] = &[
    ("roverline-protocol", &[]),
    ("roverline-schema", &["roverline-protocol", "roverline-test-support"]),
    ("roverline-client", &["roverline-protocol", "roverline-schema"]),
    (
        "roverline-gateway",
        &[
            "roverline-protocol",
            "roverline-schema",
            "roverline-client",
            "roverline-source",
            "roverline-coordination",
            "roverline-test-support",
        ],
    ),
    // A relay is a gateway whose source is another gateway, which it reads as any client does.
    (
        "roverline-source",
        &[
            "roverline-protocol",
            "roverline-schema",
            "roverline-client",
            "roverline-cyclone",
            "roverline-test-support",
        ],
    ),
    // A binding; the only crate with `unsafe`.
    ("roverline-cyclone", &["roverline-test-support"]),
    ("roverline-coordination", &["roverline-protocol", "roverline-test-support"]),
    ("roverline-tui", &["roverline-protocol", "roverline-schema", "roverline-client"]),
    // Tests of every crate may use it; it knows none of them.
    ("roverline-test-support", &[]),
    (
        "roverline-tests",
        &[
            "roverline-protocol",
            "roverline-schema",
            "roverline-client",
            "roverline-coordination",
            "roverline-test-support",
        ],
    ),
    (
        "roverline-bench",
        &[
            "roverline-protocol",
            "roverline-schema",
            "roverline-client",
            "roverline-coordination",
            "roverline-source",
            "roverline-gateway",
        ],
    ),
];

/// Crates that only some folders may name, and why. Tests, benches and fuzz targets are free.
const CONFINED: &[(&str, &[&str], &str)] = &[
    ("rustdds", &["gateway/source/src/dds/engine"], "the rest knows the engine contract"),
    ("roverline_cyclone", &["gateway/source/src/dds/engine"], "the rest knows the engine contract"),
    ("r2r", &["gateway/source/src/r2r"], "only a source knows ROS"),
    ("mcap", &["gateway/source/src/bag"], "only a source knows recordings"),
    (
        "yaml_rust2",
        &["gateway/source/src/bag", "tui/src/command/commands"],
        "only a recording has metadata in YAML, and only people write messages in it",
    ),
    ("zstd", &["gateway/source/src/bag"], "only recordings are packed"),
    (
        "rusqlite",
        &["gateway/source/src/bag", "gateway/coordination/src/store/sqlite"],
        "only recordings and the store are databases",
    ),
    ("tungstenite", WEBSOCKET, "WebSocket ends where a session or a link begins"),
    ("tokio_tungstenite", WEBSOCKET, "WebSocket ends where a session or a link begins"),
    ("opentelemetry", &["gateway/src/trace"], "the rest makes spans of tracing"),
    ("opentelemetry_sdk", &["gateway/src/trace"], "the rest makes spans of tracing"),
    ("opentelemetry_proto", &["gateway/src/trace"], "the rest exports bytes"),
    ("tracing_opentelemetry", &["gateway/src/trace"], "the rest makes spans of tracing"),
    ("procfs", &["gateway/src/endpoint/system_stats"], "the rest knows documents, not files of the kernel"),
    ("prost", PROTOBUF, "only the store on etcd and the export of spans speak Protocol Buffers"),
    ("tokio_rustls", TLS, "TLS ends where a client's bytes begin"),
    ("x509_parser", CERTIFICATES, "certificates are read where they prove an identity, or are shown"),
    ("rcgen", &["gateway/src/cli/cert"], "only the command makes certificates"),
    ("hyper", HTTP, "HTTP ends at the endpoint's door"),
    ("hyper_util", HTTP, "HTTP ends at the endpoint's door"),
    ("http_body_util", HTTP, "HTTP ends at the endpoint's door"),
    ("command_fds", &["gateway/src/supervisor"], "only the supervisor starts processes"),
    ("ratatui", &["tui/src"], "only the console draws"),
    ("crossterm", &["tui/src"], "only the console draws"),
];
const WEBSOCKET: &[&str] = &[
    "gateway/src/connection",
    "gateway/src/endpoint",
    "gateway/src/dialect",
    "gateway/src/server",
    "common/client/src",
];
const HTTP: &[&str] =
    &["gateway/src/server", "gateway/src/api", "gateway/src/endpoint", "gateway/coordination/src/store/etcd"];
const PROTOBUF: &[&str] = &["gateway/coordination/src/store/etcd", "gateway/src/trace"];
const TLS: &[&str] = &[
    "gateway/src/connection",
    "gateway/src/endpoint",
    "gateway/src/server",
    "common/client/src",
    "gateway/coordination/src/store/etcd",
];
const CERTIFICATES: &[&str] = &["gateway/src/server/tls", "gateway/src/cli/cert"];

/// Folders whose code computes and does nothing else. The files named last may look around.
const PURE: &[(&str, &[&str])] = &[
    ("common/protocol/src", &[]),
    // Message definitions of an installed ROS 2 are found through AMENT_PREFIX_PATH.
    ("common/schema/src", &["common/schema/src/registry/ament.rs"]),
    ("tui/src/model", &[]),
    ("tui/src/update", &[]),
    ("tui/src/view", &[]),
    ("tui/src/screen", &[]),
    ("tui/src/global_keys", &[]),
    ("tui/src/rewind", &[]),
];
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
];

/// A crate depends only on those below it; so the gateway and the console never meet.
pub(crate) fn crate_graph(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in Manifest::members(tree) {
        let Some((_, allowed)) = CRATES.iter().find(|(name, _)| *name == manifest.name) else {
            findings.push(manifest.file.finding(1, format!("{}: add it to the layers first", manifest.name)));
            continue;
        };
        for dependency in &manifest.dependencies {
            let ours = CRATES.iter().any(|(name, _)| *name == dependency.name);
            if ours && !allowed.contains(&dependency.name.as_str()) {
                let what = format!("{} must not depend on {}: {LAYERS}", manifest.name, dependency.name);
                findings.push(manifest.file.finding(dependency.line, what));
            }
        }
    }
    findings
}
const LAYERS: &str = "the layers allow it no such edge";

/// Libraries that know ROS, recordings, HTTP, WebSocket or the terminal stay in their folders.
pub(crate) fn confined_crates(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in product_files(tree) {
        let code = rust::product_code(&file.text);
        for (name, folders, why) in CONFINED {
            if folders.iter().any(|folder| lies_in(&file.path, folder)) {
                continue;
            }
            for offset in rust::path_offsets(&code, name) {
                let what = format!("{name} belongs in {}: {why}", folders.join(", "));
                findings.push(file.finding(file.line_of(offset), what));
            }
        }
    }
    findings
}

/// Pure code does no I/O: it uses neither files nor sockets, clocks, threads or a runtime.
pub(crate) fn pure_code(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in product_files(tree) {
        let Some((folder, _)) = PURE
            .iter()
            .find(|(folder, except)| lies_in(&file.path, folder) && !except.contains(&file.path.as_str()))
        else {
            continue;
        };
        let code = rust::product_code(&file.text);
        for name in IMPURE {
            for offset in rust::word_offsets(&code, name).chain(rust::grouped_offsets(&code, name)) {
                let what = format!("{folder} is pure: no {name} here; take what it yields as an argument");
                findings.push(file.finding(file.line_of(offset), what));
            }
        }
    }
    findings
}

/// Mutable state is passed as an argument: a `static` is constant.
pub(crate) fn no_global_state(tree: &Tree) -> Vec<Finding> {
    let changeable = ["Mutex", "RwLock", "Atomic", "Cell<", "RefCell", "static mut"];
    let mut findings = Vec::new();
    for file in product_files(tree) {
        let code = rust::product_code(&file.text);
        let statics = rust::word_offsets(&code, "static").filter(|at| !code[..*at].ends_with('\''));
        for offset in statics {
            let item = code[offset..].split(['=', ';']).next().unwrap_or_default();
            if item.contains(':') && changeable.iter().any(|kind| item.contains(kind)) {
                let what = "global state that changes: pass it to who may change it";
                findings.push(file.finding(file.line_of(offset), what));
            }
        }
        for offset in rust::word_offsets(&code, "thread_local") {
            findings.push(file.finding(file.line_of(offset), "global state per thread: pass it instead"));
        }
    }
    findings
}

fn product_files(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.rust().filter(|file| !file.is_test())
}

/// `gateway/src/connection` holds `session.rs` and all of `session/`.
fn lies_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_catches, assert_silent};

    #[test]
    fn an_edge_against_the_layers_is_caught() {
        let bad =
            "[package]\nname = \"roverline-tui\"\n[dependencies]\nroverline-gateway = { workspace = true }\n";
        assert_catches(crate_graph, &[("tui/Cargo.toml", bad)], "tui/Cargo.toml:4: roverline-tui must not");
        let bad =
            "[package]\nname = \"roverline-gateway\"\n[dev-dependencies]\nroverline-tui.workspace = true\n";
        assert_catches(
            crate_graph,
            &[("gateway/Cargo.toml", bad)],
            "gateway/Cargo.toml:4: roverline-gateway",
        );
        let unknown = "[package]\nname = \"roverline-new\"\n";
        assert_catches(
            crate_graph,
            &[("new/Cargo.toml", unknown)],
            "new/Cargo.toml:1: roverline-new: add it",
        );
        let good =
            "[package]\nname = \"roverline-tui\"\n[dependencies]\nroverline-client = { workspace = true }\n";
        assert_silent(crate_graph, &[("tui/Cargo.toml", good)]);
    }

    #[test]
    fn a_library_outside_its_folder_is_caught() {
        let text = "//! x\nuse rustdds::DomainParticipant;\n";
        let hit = "gateway/src/hub/mod.rs:2: rustdds belongs in gateway/source/src/dds/engine";
        assert_catches(confined_crates, &[("gateway/src/hub/mod.rs", text)], hit);
        assert_silent(confined_crates, &[("gateway/source/src/dds/engine/rustdds/reader.rs", text)]);
        assert_silent(confined_crates, &[("gateway/source/src/dds/engine/rustdds.rs", text)]);
        let hit = "gateway/source/src/dds/reader.rs:2: rustdds belongs";
        assert_catches(confined_crates, &[("gateway/source/src/dds/reader.rs", text)], hit);
        assert_silent(confined_crates, &[("gateway/tests/dds.rs", text)]);
        let text = "fn f() { tungstenite::accept(x) }";
        let hit = "gateway/source/src/sim/mod.rs:1: tungstenite belongs";
        assert_catches(confined_crates, &[("gateway/source/src/sim/mod.rs", text)], hit);
        assert_silent(
            confined_crates,
            &[("gateway/src/connection.rs", text), ("gateway/src/dialect/plain.rs", text)],
        );
    }

    #[test]
    fn a_look_outside_from_pure_code_is_caught() {
        for (path, text) in [
            ("common/protocol/src/native.rs", "use tokio::net::TcpStream;"),
            ("common/protocol/src/rate.rs", "fn f() { std::time::Instant::now() }"),
            ("common/schema/src/parse.rs", "fn f() { std::fs::read(p) }"),
            ("tui/src/view/links.rs", "use std::net::TcpStream;"),
            ("tui/src/update.rs", "use std::{fmt, fs::File};"),
        ] {
            assert_catches(pure_code, &[(path, text)], &format!("{path}:1: "));
        }
        let test = "#[cfg(test)]\nmod tests { use std::fs; }";
        assert_silent(pure_code, &[("common/schema/src/parse.rs", test)]);
        assert_silent(pure_code, &[("common/schema/src/registry/ament.rs", "use std::fs;")]);
    }

    #[test]
    fn global_state_is_caught() {
        for text in [
            "\nstatic COUNT: AtomicU64 = AtomicU64::new(0);",
            "\npub(crate) static NOW: OnceLock<Mutex<State>> = OnceLock::new();",
            "\nstatic mut X: u8 = 0;",
            "\nthread_local! { }",
        ] {
            assert_catches(
                no_global_state,
                &[("gateway/src/a.rs", text)],
                "gateway/src/a.rs:2: global state",
            );
        }
        let fine = "static T: &[u8] = &[];\nfn f(x: &'static Mutex<u8>) {}\nstatic I: LazyLock<Index> = x();";
        assert_silent(no_global_state, &[("gateway/src/a.rs", fine)]);
    }
}
