//! Locates the binaries under test and checks that they are newer than their sources.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

const ADVICE: &str = "run `cargo test --workspace`, which builds it";

/// The path of the binary `name`, built in the same profile as this test.
pub fn bin(name: &str) -> PathBuf {
    // target/<profile>/deps/<test binary>, or target/<profile>/<program>
    let this = std::env::current_exe().unwrap();
    let directory = this.parent().unwrap();
    let profile = if directory.ends_with("deps") { directory.parent().unwrap() } else { directory };
    let path = profile.join(name);
    let Ok(built) = modified(&path) else { panic!("{} is not there: {ADVICE}", path.display()) };
    let depends = std::fs::read_to_string(path.with_extension("d")).unwrap_or_default();
    if let Some(newer) = sources(&depends).find(|source| modified(source).is_ok_and(|at| at > built)) {
        panic!("{} is older than {}: {ADVICE}", path.display(), newer.display());
    }
    path
}

fn modified(path: &Path) -> std::io::Result<SystemTime> {
    path.metadata()?.modified()
}

/// The source files of a dependency file's line `target: source source`; `\ ` is a space in a name.
fn sources(text: &str) -> impl Iterator<Item = PathBuf> {
    let list = text.split_once(": ").map_or("", |(_, list)| list).replace("\\ ", "\0");
    let names: Vec<_> = list.split_whitespace().map(|name| PathBuf::from(name.replace('\0', " "))).collect();
    names.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_file_is_read() {
        let found: Vec<_> = sources("/t/bin: /s/a.rs /s/with\\ space.rs\n").collect();
        assert_eq!(found, [Path::new("/s/a.rs"), Path::new("/s/with space.rs")]);
    }
}
