//! Signing keys on disk: each node has its own key, which only its user can read.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::events::entry::{hex, unhex};
use crate::events::seal::{Seal, Signer, TrustedKeys};
use crate::limits;

/// Public key files read.
const EVENT_KEY_FILES: usize = 256;

/// The identity with which a process appends events.
#[derive(Clone, Debug, Default)]
pub struct NodeIdentity {
    node: String,
    keys: Option<PathBuf>,
}

impl NodeIdentity {
    /// A node with its key in this directory; the key is generated on first use.
    pub fn new(node: &str, keys: &Path) -> NodeIdentity {
        NodeIdentity { node: node.to_owned(), keys: Some(keys.to_owned()) }
    }

    /// A node with a key that exists only in memory.
    pub fn ephemeral(node: &str) -> NodeIdentity {
        NodeIdentity { node: node.to_owned(), keys: None }
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Reads or generates the signing key; blocks on the disk.
    pub(super) fn signer(&self) -> io::Result<Signer> {
        let Some(keys) = &self.keys else { return Ok(Signer::new(&self.node, &random()?)) };
        DirBuilder::new().recursive(true).mode(0o700).create(keys)?;
        if keys.metadata()?.permissions().mode() & 0o077 != 0 {
            // Created by an earlier version. If this fails, the key files themselves are still private.
            let _ = fs::set_permissions(keys, Permissions::from_mode(0o700));
        }
        let path = keys.join(format!("{}.key", self.node));
        if !path.exists() {
            make(&path)?;
        }
        let text = fs::read_to_string(&path)?;
        let damaged =
            || io::Error::new(io::ErrorKind::InvalidData, format!("{}: this is no key", path.display()));
        let signer = Signer::new(&self.node, &unhex(text.trim()).ok_or_else(damaged)?);
        publish(&keys.join(format!("{}.pub", self.node)), &signer.public())?;
        Ok(signer)
    }

    /// The trusted public keys and the checkpoints beside the key; none for an ephemeral node.
    pub(super) fn trusted_keys(&self) -> io::Result<(Option<TrustedKeys>, Vec<Seal>)> {
        match &self.keys {
            Some(keys) if keys.is_dir() => Ok((Some(trust(keys)?), witnesses(keys)?)),
            _ => Ok((None, Vec::new())),
        }
    }

    /// Stores a checkpoint outside the store, where a process that can only write the store does not reach
    /// it.
    pub(super) fn witness(&self, seal: &Seal) -> io::Result<()> {
        let Some(keys) = &self.keys else { return Ok(()) };
        let path = keys.join(format!("{}.{WITNESS}", self.node));
        let draft = keys.join(format!("{}.{WITNESS}-{}", self.node, std::process::id()));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(&seal.bytes())?;
        fs::rename(draft, path)
    }
}

const WITNESS: &str = "checkpoint";

pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // Up to 256 bytes are never returned in part (getrandom(2)).
    match getrandom(&mut bytes, GetRandomFlags::empty())? {
        length if length == N => Ok(bytes),
        _ => Err(io::Error::other("the system has too little randomness")),
    }
}

/// Generates a key atomically, unless another process is first.
fn make(path: &Path) -> io::Result<()> {
    let draft = path.with_extension(format!("key-{}", hex(&random::<8>()?)));
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
    writeln!(file, "{}", hex(&random::<32>()?))?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Adds a public key to those of its node. Earlier keys stay, so that their signatures can still be
/// verified.
fn publish(path: &Path, public: &str) -> io::Result<()> {
    let known = match fs::read_to_string(path) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    if known.lines().any(|line| line.trim() == public) {
        return Ok(());
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{public}")?;
    file.sync_all()
}

/// The files of a directory with this extension: their stems and contents.
fn files(directory: &Path, extension: &str) -> io::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)?.take(EVENT_KEY_FILES) {
        let path = entry?.path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        if path.extension().is_some_and(|found| found == extension) {
            let mut text = String::new();
            File::open(&path)?.take(limits::EVENT_DATA_BYTES as u64).read_to_string(&mut text)?;
            found.push((name.to_owned(), text));
        }
    }
    found.sort();
    Ok(found)
}

/// Reads the trusted public keys of a directory: `NODE.pub`, one key per line.
pub fn trust(directory: &Path) -> io::Result<TrustedKeys> {
    let mut trust = TrustedKeys::default();
    for (node, text) in files(directory, "pub")? {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if !trust.add(&node, line) {
                let why = format!("{}: '{line}' is no key", directory.join(node).display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
    }
    Ok(trust)
}

/// Reads the checkpoints that the writers have stored beside their keys.
pub fn witnesses(directory: &Path) -> io::Result<Vec<Seal>> {
    let damaged = |node: &str| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{node}.{WITNESS} holds no checkpoint"))
    };
    let read = |(node, text): (String, String)| Seal::read(text.as_bytes()).ok_or_else(|| damaged(&node));
    files(directory, WITNESS)?.into_iter().map(read).collect()
}

/// Renames the checkpoints of a log that is replaced by an older one.
pub fn archive_witnesses(directory: &Path) -> io::Result<()> {
    for (node, _) in files(directory, WITNESS)? {
        let path = directory.join(format!("{node}.{WITNESS}"));
        fs::rename(&path, path.with_extension(format!("{WITNESS}.replaced")))?;
    }
    Ok(())
}
