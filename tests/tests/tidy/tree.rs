//! The project's files as the rules see them: paths from the root, and their text.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

pub(crate) struct File {
    pub(crate) path: String,
    /// Empty where the file is not UTF-8.
    pub(crate) text: String,
}

impl File {
    pub(crate) fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, what: what.into() }
    }

    /// The line, from 1, of the byte at `offset`.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }

    /// The first line that contains `needle`, from 1; 1 where none does.
    pub(crate) fn line_with(&self, needle: &str) -> usize {
        self.text.find(needle).map_or(1, |offset| self.line_of(offset))
    }

    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    pub(crate) fn extension(&self) -> Option<&str> {
        Path::new(&self.path).extension()?.to_str()
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.extension() == Some("rs")
    }

    /// Whether all of it is test code, by its place or name. Code under `#[cfg(test)]` in other
    /// files is found by [`crate::rust::product_code`].
    pub(crate) fn is_test(&self) -> bool {
        let name = self.name();
        name == "tests.rs"
            || self.path.starts_with("tests/")
            || ["/tests/", "/benches/", "/examples/", "/fuzz/"].iter().any(|dir| self.path.contains(dir))
    }
}

pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// The files that git knows or would add, so that a rule speaks before a commit does.
    pub(crate) fn read() -> Tree {
        let root = root();
        let output = Command::new("git")
            .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .expect("git lists the project's files");
        assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
        let listing = String::from_utf8(output.stdout).expect("file names are UTF-8");
        let read = |path: &str| {
            let bytes = std::fs::read(root.join(path)).ok()?; // deleted, not yet committed
            Some(File { path: path.to_owned(), text: String::from_utf8(bytes).unwrap_or_default() })
        };
        Tree { files: listing.split_terminator('\0').filter_map(read).collect() }
    }

    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        let file = |&(path, text): &(&str, &str)| File { path: path.to_owned(), text: text.to_owned() };
        Tree { files: files.iter().map(file).collect() }
    }

    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    pub(crate) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.name() == name)
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the project").to_owned()
}
