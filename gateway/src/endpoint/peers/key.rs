//! The rover's key: the secret that its endpoints share. It is generated on first use, and only its user can
//! read it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes of a new key, before hexadecimal encoding.
const NEW_KEY_BYTES: usize = 32;
/// Shortest key, characters: as much as 16 random bytes in hexadecimal.
const KEY_MIN_CHARS: usize = 32;
/// Longest key file.
const KEY_FILE_BYTES: u64 = 4 << 10;

/// The name of the key's file in a state directory.
pub(crate) const KEY_FILE: &str = "peers.key";

/// The rover's key.
#[derive(Clone)]
pub struct PeerKey(hmac::Key);

impl std::fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerKey(..)")
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("cannot use the peers' key in {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Other users may read or change it.
    #[error("others may use the peers' key in {0} (mode {mode:03o}); run: chmod 600 {0}", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is too short to be a secret, or too long to be a key.
    #[error(
        "{} holds no key: write {KEY_MIN_CHARS} characters or more on one line, or copy {KEY_FILE} from the \
         state directory of the rover's other computer",
        path.display()
    )]
    Form {
        /// The file.
        path: PathBuf,
    },
}

impl PeerKey {
    /// The key with these characters.
    pub fn new(secret: &[u8]) -> PeerKey {
        PeerKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Reads a key that somebody configured.
    pub fn read(path: &Path) -> Result<PeerKey, KeyError> {
        let fault = |source| KeyError::File { path: path.to_owned(), source };
        let file = fs::File::open(path).map_err(fault)?;
        let mode = file.metadata().map_err(fault)?.permissions().mode() & 0o777;
        // A group may share it: that is how service managers hand out secrets.
        if mode & 0o027 != 0 {
            return Err(KeyError::Permissions { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(KEY_FILE_BYTES + 1).read_to_string(&mut text).map_err(fault)?;
        let secret = text.trim();
        if secret.len() < KEY_MIN_CHARS || text.len() as u64 > KEY_FILE_BYTES || secret.contains('\n') {
            return Err(KeyError::Form { path: path.to_owned() });
        }
        Ok(PeerKey::new(secret.as_bytes()))
    }

    /// Reads the key of a state directory; the first process that starts there generates it.
    pub fn read_or_generate(state: &Path) -> Result<PeerKey, KeyError> {
        let path = state.join(KEY_FILE);
        if !path.exists() {
            generate(state, &path).map_err(|source| KeyError::File { path: path.clone(), source })?;
        }
        PeerKey::read(&path)
    }

    /// Authenticates these fields.
    pub(crate) fn sign(&self, fields: &[&[u8]]) -> hmac::Tag {
        hmac::sign(&self.0, &joined(fields))
    }

    /// Whether `tag` is that of these fields; takes the same time wherever it differs.
    pub(crate) fn verify(&self, fields: &[&[u8]], tag: &[u8]) -> bool {
        hmac::verify(&self.0, &joined(fields), tag).is_ok()
    }
}

/// The fields, each preceded by its length, so that no two lists look the same.
fn joined(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

/// Random bytes; `None` if the system has none.
pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).ok().map(|()| bytes)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Creates the file with all of its contents at once, unless another process is first.
fn generate(state: &Path, path: &Path) -> io::Result<()> {
    let no_randomness = || io::Error::other("the system has no randomness");
    DirBuilder::new().recursive(true).mode(0o700).create(state)?;
    let draft = state.join(format!("{KEY_FILE}-{}", hex(&random::<8>().ok_or_else(no_randomness)?)));
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
    let secret = random::<NEW_KEY_BYTES>().ok_or_else(no_randomness)?;
    let written = writeln!(file, "{}", hex(&secret)).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_processes_of_a_state_directory_share_one_private_key() {
        let state = tempfile::tempdir().unwrap();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let read = || PeerKey::read_or_generate(state.path()).unwrap();
            let readers: Vec<_> = (0..8).map(|_| scope.spawn(read)).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        let tag = keys[0].sign(&[b"a", b"b"]);
        assert!(keys.iter().all(|key| key.verify(&[b"a", b"b"], tag.as_ref())));
        assert!(!keys[0].verify(&[b"ab", b""], tag.as_ref()), "fields are not run together");
        let path = state.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1, "no drafts are left");
    }

    #[test]
    fn a_key_that_is_no_secret_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("key");
        let read = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            PeerKey::read(&path).map(drop).map_err(|error| error.to_string())
        };
        let good = "k".repeat(KEY_MIN_CHARS);
        assert_eq!(read(&good, 0o600), Ok(()));
        assert_eq!(read(&format!("{good}\n"), 0o640), Ok(()), "a service manager's");
        assert!(read(&good, 0o644).unwrap_err().contains("chmod 600"));
        assert!(read("short", 0o600).unwrap_err().contains("holds no key"));
        assert!(read(&format!("{good}\n{good}"), 0o600).unwrap_err().contains("holds no key"));
        assert!(read(&good.repeat(200), 0o600).unwrap_err().contains("holds no key"));
        assert!(PeerKey::read(&state.path().join("none")).unwrap_err().to_string().contains("none"));
    }
}
