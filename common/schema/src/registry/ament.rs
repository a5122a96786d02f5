//! Interface files of the installed packages. The only code of the crate that reads files.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::SchemaError;
use crate::limits::{MAX_INSTALLED_TYPES, MAX_TEXT_BYTES};
use crate::name::{Kind, is_identifier};
use crate::parse::Language;

/// The `share` directories of a prefix path, in search order.
#[derive(Debug, Default)]
pub(super) struct Ament {
    shares: Vec<PathBuf>,
}

impl Ament {
    pub(super) fn new(prefix_path: &OsStr) -> Self {
        let prefixes = std::env::split_paths(prefix_path).filter(|p| !p.as_os_str().is_empty());
        Self { shares: prefixes.map(|p| p.join("share")).collect() }
    }

    /// The text of an interface file and its language; `None` when no prefix has it. Packages that were written in IDL
    /// have no other file.
    pub(super) fn text(
        &self,
        package: &str,
        kind: Kind,
        stem: &str,
    ) -> Result<Option<(Language, String)>, SchemaError> {
        for share in &self.shares {
            let directory = share.join(package).join(kind.word());
            for (extension, language) in [(kind.word(), Language::Msg), ("idl", Language::Idl)] {
                match read(&directory.join(format!("{stem}.{extension}"))) {
                    Ok(Some(text)) => return Ok(Some((language, text))),
                    Ok(None) => {}
                    Err(error) => {
                        let type_name = format!("{package}/{}/{stem}", kind.word());
                        return Err(SchemaError::File { type_name, what: error.to_string() });
                    }
                }
            }
        }
        Ok(None)
    }

    /// All interface files, unordered and possibly repeated. Unreadable directories are skipped.
    pub(super) fn files(&self) -> Vec<(String, Kind, String)> {
        let mut out = Vec::new();
        for package in self.shares.iter().flat_map(|share| names(share)) {
            let Some(package_name) = package.file_name().and_then(OsStr::to_str).filter(|n| is_identifier(n))
            else {
                continue;
            };
            for kind in [Kind::Msg, Kind::Srv, Kind::Action] {
                for file in names(&package.join(kind.word())) {
                    let stem = file.file_stem().and_then(OsStr::to_str).filter(|n| is_identifier(n));
                    let is_interface = file.extension().is_some_and(|e| e == kind.word() || e == "idl");
                    if let (Some(stem), true) = (stem, is_interface) {
                        out.push((package_name.to_owned(), kind, stem.to_owned()));
                    }
                    if out.len() >= MAX_INSTALLED_TYPES {
                        return out;
                    }
                }
            }
        }
        out
    }
}

/// Entries of a directory; none if it does not exist.
fn names(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().take(MAX_INSTALLED_TYPES).flatten().map(|e| e.path())
}

/// A file's text, at most one byte more than the limit so that the parser can reject it.
fn read(path: &Path) -> io::Result<Option<String>> {
    // Opening a named pipe would wait for a writer.
    if !path.is_file() {
        return Ok(None);
    }
    let file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    // Comments come in every encoding; names and types are ASCII.
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
