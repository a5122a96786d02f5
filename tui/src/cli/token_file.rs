//! A token from a file, which keeps it out of the command line, where every user could read it.

use std::path::Path;

use crate::command::Failure;

/// The token in the first line of a file.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("cannot read the token in {}: {error}", path.display())))?;
    match text.lines().next().map(str::trim).filter(|token| !token.is_empty()) {
        Some(token) => Ok(token.to_owned()),
        None => Err(Failure::Usage(format!("the first line of {} is no token", path.display()))),
    }
}
