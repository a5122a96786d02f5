//! The certificates that endpoints showed at first, one line each: `host:port SHA256:...`.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use parking_lot::Mutex;

use crate::tls::error::TlsError;
use crate::tls::fingerprint::Fingerprint;

/// Bytes of the file that are read.
const KNOWN_HOSTS_BYTES: u64 = 1 << 20;
/// Endpoints remembered in this process.
const KNOWN_ENTRIES: usize = 1_024;

/// Why an endpoint is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Its certificate was seen before, or is signed by the authority.
    Known,
    /// Its certificate was seen for the first time.
    First(FirstUse),
}

/// A certificate that is trusted because it is the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstUse {
    pub(crate) fingerprint: Fingerprint,
    /// For the operator.
    pub(crate) text: String,
}

/// The file, and what this process has seen.
pub(super) struct KnownHosts {
    file: PathBuf,
    seen: Mutex<HashMap<String, Fingerprint>>,
}

/// `known_hosts` in the user's state directory.
pub(super) fn default_file() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("roverline/known_hosts")
}

impl KnownHosts {
    pub(super) fn new(file: PathBuf) -> KnownHosts {
        KnownHosts { file, seen: Mutex::default() }
    }

    /// Compares a certificate with the one that this address showed before; the first one is remembered.
    pub(super) fn check(&self, address: &str, shown: Fingerprint) -> Result<Trust, TlsError> {
        let mut seen = self.seen.lock();
        let known = match seen.get(address) {
            Some(known) => Some(*known),
            None => self.read(address)?,
        };
        match known {
            Some(known) if known == shown => Ok(Trust::Known),
            Some(known) => Err(self.changed(address, known, shown)),
            None => {
                let stored = self.append(address, shown);
                // Another program may have been first.
                if let Some(known) = self.read(address)?.filter(|known| *known != shown) {
                    return Err(self.changed(address, known, shown));
                }
                if seen.len() < KNOWN_ENTRIES {
                    seen.insert(address.to_owned(), shown);
                }
                let remembered = match stored {
                    Ok(()) => format!("remembered in {}", self.file.display()),
                    Err(error) => {
                        format!("it could not be remembered in {}: {error}", self.file.display())
                    }
                };
                let text = format!(
                    "first connection to {address}: its certificate is {shown} (compare it with \
                     `roverline-gateway cert show` on the rover); {remembered}"
                );
                Ok(Trust::First(FirstUse { fingerprint: shown, text }))
            }
        }
    }

    fn changed(&self, address: &str, known: Fingerprint, shown: Fingerprint) -> TlsError {
        TlsError::Changed { address: address.to_owned(), known, shown, file: self.file.clone() }
    }

    /// The first line of this address.
    fn read(&self, address: &str) -> Result<Option<Fingerprint>, TlsError> {
        let fault = |reason: String| TlsError::File { file: self.file.clone(), reason };
        let mut text = String::new();
        match fs::File::open(&self.file) {
            Ok(file) => file.take(KNOWN_HOSTS_BYTES).read_to_string(&mut text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        }
        .map_err(|error| fault(error.to_string()))?;
        let mut lines = text.lines().map(str::trim).enumerate();
        let own = lines.find_map(|(at, line)| {
            let (known, fingerprint) = line.split_once(char::is_whitespace)?;
            (known == address).then(|| (at + 1, fingerprint.trim().parse()))
        });
        match own {
            None => Ok(None),
            Some((_, Ok(fingerprint))) => Ok(Some(fingerprint)),
            Some((line, Err(error))) => Err(fault(format!("line {line}: {error}"))),
        }
    }

    fn append(&self, address: &str, shown: Fingerprint) -> io::Result<()> {
        if let Some(dir) = self.file.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.file)?;
        file.write_all(format!("{address} {shown}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("roverline-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn the_first_certificate_is_remembered_and_another_one_is_refused() {
        let dir = scratch("known-hosts");
        let file = dir.join("roverline/known_hosts");
        let (first, second) = (Fingerprint::of(b"first"), Fingerprint::of(b"second"));
        let hosts = KnownHosts::new(file.clone());
        match hosts.check("rover:8080", first).unwrap() {
            Trust::First(first_use) => {
                assert!(first_use.text.contains(&first.to_string()), "{}", first_use.text);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(hosts.check("rover:8080", first), Ok(Trust::Known));
        // The next program reads it from the file.
        let hosts = KnownHosts::new(file.clone());
        assert_eq!(hosts.check("rover:8080", first), Ok(Trust::Known));
        let text = hosts.check("rover:8080", second).unwrap_err().to_string();
        for part in [&first.to_string(), &second.to_string(), "cert show", &file.display().to_string()] {
            assert!(text.contains(part), "{text}");
        }
        assert!(matches!(hosts.check("rover:8081", second), Ok(Trust::First(_))));
        // Removing the line accepts the new certificate.
        fs::write(&file, "").unwrap();
        assert!(matches!(KnownHosts::new(file).check("rover:8080", second), Ok(Trust::First(_))));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_read_trusts_nobody_and_one_that_cannot_be_written_says_so() {
        let dir = scratch("unreadable-hosts");
        fs::create_dir_all(&dir).unwrap();
        let shown = Fingerprint::of(b"x");
        // A directory in its place cannot be read.
        assert!(matches!(KnownHosts::new(dir.clone()).check("a:1", shown), Err(TlsError::File { .. })));
        let file = dir.join("known_hosts");
        fs::write(&file, "a:1 nonsense\n").unwrap();
        let error = KnownHosts::new(file).check("a:1", shown).unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
        let unwritable = PathBuf::from("/proc/roverline/known_hosts");
        match KnownHosts::new(unwritable).check("a:1", shown).unwrap() {
            Trust::First(FirstUse { text, .. }) => {
                assert!(text.contains("could not be remembered"), "{text}")
            }
            other => panic!("{other:?}"),
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
