//! The times of the tokens' last uses, in a small file beside the token file. Every endpoint adds those that it
//! knows and that are newer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;

use crate::access::token_file::replace_file;
use crate::access::utc::{format_utc, parse_utc};

/// Interval between two writes of a process.
const LAST_USE_WRITE_MS: u64 = 60_000;
/// Names in the file; those that were used longest ago go first.
const LAST_USE_ENTRIES: usize = 1_000;
/// Size of the file.
const LAST_USE_FILE_BYTES: u64 = 256 << 10;

/// Last uses by name, in seconds since the Unix epoch.
pub type LastUses = BTreeMap<String, i64>;

/// The file that belongs to a token file.
fn path_of(tokens: &Path) -> PathBuf {
    let mut name = tokens.file_name().unwrap_or_default().to_owned();
    name.push(".last-use");
    tokens.with_file_name(name)
}

/// Reads the last uses of the tokens in a token file; empty if nothing can be read.
pub fn read_last_uses(tokens: &Path) -> LastUses {
    let path = path_of(tokens);
    let is_small = fs::metadata(&path).is_ok_and(|about| about.len() <= LAST_USE_FILE_BYTES);
    let text = if is_small { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
    let entry = |line: &str| {
        let (name, at) = line.split_once(' ')?;
        Some((name.to_owned(), parse_utc(at.trim())?))
    };
    text.lines().filter_map(entry).take(LAST_USE_ENTRIES).collect()
}

#[derive(Default)]
struct Noted {
    uses: LastUses,
    is_changed: bool,
    written_at: Option<Duration>,
}

/// The uses that this process saw.
pub(super) struct LastUseFile {
    tokens: PathBuf,
    noted: Mutex<Noted>,
}

impl LastUseFile {
    /// The file that belongs to this token file.
    pub(super) fn new(tokens: &Path) -> LastUseFile {
        LastUseFile { tokens: tokens.to_owned(), noted: Mutex::default() }
    }

    /// Notes a use. Names come from the token file, so there are not too many.
    pub(super) fn note(&self, name: &str, unix_s: i64) {
        let mut noted = self.noted.lock();
        if noted.uses.len() >= LAST_USE_ENTRIES && !noted.uses.contains_key(name) {
            return;
        }
        let known = noted.uses.entry(name.to_owned()).or_insert(unix_s);
        *known = (*known).max(unix_s);
        noted.is_changed = true;
    }

    /// Writes what is new, at `now` (monotonic), if it is time. Blocks for as long as the disk does.
    pub(super) fn write_if_due(&self, now: Duration) {
        let uses = {
            let mut noted = self.noted.lock();
            let interval = Duration::from_millis(LAST_USE_WRITE_MS);
            let is_due = noted.written_at.is_none_or(|at| now.saturating_sub(at) >= interval);
            if !noted.is_changed || !is_due {
                return;
            }
            (noted.is_changed, noted.written_at) = (false, Some(now));
            noted.uses.clone()
        };
        let before = read_last_uses(&self.tokens);
        let mut all = before.clone();
        for (name, at) in uses {
            let known = all.entry(name).or_insert(at);
            *known = (*known).max(at);
        }
        while all.len() > LAST_USE_ENTRIES {
            let oldest = all.iter().min_by_key(|(_, at)| **at).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| all.remove(&oldest));
        }
        if all == before {
            return;
        }
        let text: String = all.iter().map(|(name, at)| format!("{name} {}\n", format_utc(*at))).collect();
        let path = path_of(&self.tokens);
        if let Err(error) = replace_file(&path, &text) {
            tracing::debug!(file = %path.display(), %error, "the last uses of tokens are not stored");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn uses_of_several_processes_are_merged_once_a_minute() {
        let scratch = tempfile::tempdir().unwrap();
        let tokens = scratch.path().join("tokens");
        let (one, other) = (LastUseFile::new(&tokens), LastUseFile::new(&tokens));
        one.note("ada", 100);
        one.write_if_due(S);
        other.note("bob", 200);
        other.note("ada", 50);
        other.write_if_due(S);
        let uses =
            |pairs: &[(&str, i64)]| pairs.iter().map(|(n, at)| ((*n).to_owned(), *at)).collect::<LastUses>();
        assert_eq!(read_last_uses(&tokens), uses(&[("ada", 100), ("bob", 200)]));
        one.note("ada", 300);
        one.write_if_due(60 * S);
        assert_eq!(read_last_uses(&tokens)["ada"], 100, "too early");
        one.write_if_due(61 * S);
        assert_eq!(read_last_uses(&tokens), uses(&[("ada", 300), ("bob", 200)]));
    }

    #[test]
    fn the_file_is_bounded() {
        let scratch = tempfile::tempdir().unwrap();
        let tokens = scratch.path().join("tokens");
        for process in 0..3 {
            let file = LastUseFile::new(&tokens);
            (0..900).for_each(|n| file.note(&format!("{process}-{n}"), process * 1_000 + n));
            file.write_if_due(S);
        }
        let uses = read_last_uses(&tokens);
        assert_eq!((uses.len(), uses.contains_key("2-0"), uses.contains_key("0-899")), (1_000, true, false));
    }
}
