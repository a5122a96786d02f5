//! Skipped tests: reported on standard error, and collected in `skipped-tests.txt` in the target directory.

use std::fmt::{self, Display};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Something that a test needs and that is missing on this computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    why: String,
    /// With this environment variable set to 1, the test fails instead of being skipped.
    required_by: Option<&'static str>,
}

impl Missing {
    /// A foreign client or server that `scripts/setup-clients` installs.
    pub fn client(why: impl Into<String>) -> Missing {
        Missing { why: why.into(), required_by: Some("ROVERLINE_REQUIRE_CLIENTS") }
    }

    /// Test data that is not part of the repository.
    pub fn recording(why: impl Into<String>) -> Missing {
        Missing { why: why.into(), required_by: Some("ROVERLINE_REQUIRE_SHARED") }
    }

    /// An ability of the computer or the user, such as network namespaces.
    pub fn capability(why: impl Into<String>) -> Missing {
        Missing { why: why.into(), required_by: None }
    }

    /// Panics if the environment requires it.
    pub fn assert_optional(&self) {
        let required = self.required_by.filter(|name| std::env::var(name).as_deref() == Ok("1"));
        if let Some(name) = required {
            panic!("{name}=1, but: {}", self.why);
        }
    }
}

impl Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Reports that the current test is skipped, or fails it if the environment requires what is missing.
pub fn skip(missing: &Missing) {
    missing.assert_optional();
    let line = format!("{}: {missing}\n", test_name());
    // Not with a macro: the test runner would capture that.
    std::io::stderr().write_all(format!("SKIPPED: {line}").as_bytes()).unwrap();
    let path = target_directory().join("skipped-tests.txt");
    // One write per line, because many processes append.
    let file = std::fs::File::options().create(true).append(true).open(path);
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}

/// The value of a `Result<_, Missing>`; otherwise reports the test as skipped and returns from it.
#[macro_export]
macro_rules! require {
    ($available:expr) => {
        match $available {
            Ok(value) => value,
            Err(missing) => return $crate::skip::skip(&missing),
        }
    };
}

/// The test binary's name and the test's path in it; libtest names the threads of its tests.
fn test_name() -> String {
    let exe = std::env::current_exe().unwrap_or_default();
    let stem = exe.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let binary = stem.rsplit_once('-').map_or(stem.as_str(), |(name, _)| name);
    format!("{binary}::{}", std::thread::current().name().unwrap_or("?"))
}

fn target_directory() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_named_by_its_binary_and_its_path() {
        let name = test_name();
        assert!(name.starts_with("roverline_test_support::"), "{name}");
        assert!(name.ends_with("skip::tests::a_test_is_named_by_its_binary_and_its_path"), "{name}");
        assert!(target_directory().ends_with("target") || std::env::var_os("CARGO_TARGET_DIR").is_some());
    }

    #[test]
    fn an_available_value_is_passed_on() {
        let value: Result<u8, Missing> = Ok(7);
        assert_eq!(require!(value), 7);
    }

    #[test]
    fn a_missing_capability_is_never_required() {
        Missing::capability("no such thing").assert_optional();
        assert_eq!(Missing::client("no client").to_string(), "no client");
    }
}
