//! Foreign clients, installed by `scripts/setup-clients`.

use std::path::{Path, PathBuf};

use crate::skip::Missing;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The Python interpreter with the Python clients.
pub fn python() -> Result<PathBuf, Missing> {
    let python = root().join(".clients/python/bin/python");
    match python.exists() {
        true => Ok(python),
        false => Err(Missing::client("run scripts/setup-clients: there are no Python clients")),
    }
}

/// Node, if the JavaScript clients are installed.
pub fn node() -> Result<PathBuf, Missing> {
    match root().join("tests/clients/node_modules/ws").exists() {
        true => Ok(PathBuf::from("node")),
        false => Err(Missing::client("run scripts/setup-clients: there are no JavaScript clients")),
    }
}

/// Node, if Debian's Chromium is installed as well.
pub fn browser() -> Result<PathBuf, Missing> {
    let node = node()?;
    match Path::new("/usr/bin/chromium").exists() {
        true => Ok(node),
        false => Err(Missing::client("run scripts/setup-clients: there is no chromium")),
    }
}

/// NSS' tool that makes the database in which a browser keeps its user's certificates.
pub fn certutil() -> Result<PathBuf, Missing> {
    let tool = root().join(".clients/nss/usr/bin/certutil");
    match tool.exists() {
        true => Ok(tool),
        false => Err(Missing::client("run scripts/setup-clients: there is no certutil")),
    }
}

/// The Python interpreter that has OpenTelemetry's messages.
pub fn otlp_python() -> Result<PathBuf, Missing> {
    let path = root().join(".clients/otlp/bin/python");
    match path.is_file() {
        true => Ok(path),
        false => Err(Missing::client("run scripts/setup-clients: there are no messages of OpenTelemetry")),
    }
}

/// A program of Prometheus: `prometheus` or `promtool`.
pub fn prometheus(program: &str) -> Result<PathBuf, Missing> {
    let tool = root().join(".clients/prometheus/usr/bin").join(program);
    match tool.exists() {
        true => Ok(tool),
        false => Err(Missing::client("run scripts/setup-clients: there is no Prometheus")),
    }
}

/// A node on Fast DDS, compiled from `tests/clients/fastdds_node.cpp`.
pub fn fastdds_node() -> Result<PathBuf, Missing> {
    let node = root().join(".clients/fastdds/node");
    match node.exists() {
        true => Ok(node),
        false => Err(Missing::client("run scripts/setup-clients: there is no node on Fast DDS")),
    }
}
