//! Changes of the token file: tokens are added, revoked and rotated. The file is replaced as a whole, so a
//! gateway never reads half of it; comments and the order of lines stay.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::access::Role;
use crate::access::holder_name::check_name;
use crate::access::tokens::{TokenEntry, TokenError, Tokens, parse_line, read_text};
use crate::access::utc::format_utc;

/// Length of a new token in bytes, before hexadecimal encoding.
const TOKEN_BYTES: usize = 32;

/// A holder in the token file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHolder {
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// When the token expires, seconds since the Unix epoch; absent: never.
    pub expires_s: Option<i64>,
}

/// Creates a token, adds its holder to the file (creating the file if necessary), and returns the token.
pub fn add_token(path: &Path, role: Role, name: &str, expires_s: Option<i64>) -> Result<String, TokenError> {
    check_name(name)?;
    let token = random_token(path)?;
    change(path, true, |lines| {
        if entries(lines).any(|entry| entry.name == name) {
            return Err(TokenError::Exists { name: name.to_owned() });
        }
        lines.push(TokenEntry { role, name, token: &token, expires_s }.line());
        Ok(())
    })?;
    Ok(token)
}

/// Removes a holder's tokens from the file; returns how many there were.
pub fn revoke_token(path: &Path, name: &str) -> Result<usize, TokenError> {
    change(path, false, |lines| {
        let before = lines.len();
        lines.retain(|line| !matches!(parse_line(line), Ok(Some(entry)) if entry.name == name));
        match before - lines.len() {
            0 => Err(TokenError::Unknown { name: name.to_owned(), path: path.to_owned() }),
            count => Ok(count),
        }
    })
}

/// Replaces a holder's token by a new one with the same role, and the same expiry unless another one is given;
/// returns the new token.
pub fn rotate_token(
    path: &Path,
    name: &str,
    expires_s: Option<i64>,
    unix_s: i64,
) -> Result<String, TokenError> {
    let token = random_token(path)?;
    change(path, false, |lines| {
        let is_theirs = |line: &String| matches!(parse_line(line), Ok(Some(entry)) if entry.name == name);
        let first = lines.iter().position(is_theirs);
        let unknown = || TokenError::Unknown { name: name.to_owned(), path: path.to_owned() };
        let first = first.ok_or_else(unknown)?;
        let old = lines[first].clone();
        let Ok(Some(old)) = parse_line(&old) else { return Err(unknown()) };
        let expires_s = expires_s.or(old.expires_s);
        if let Some(past) = expires_s.filter(|end| *end <= unix_s) {
            return Err(TokenError::Past(format_utc(past)));
        }
        lines[first] = TokenEntry { token: &token, expires_s, ..old }.line();
        let mut at = 0;
        lines.retain(|line| {
            at += 1;
            at <= first + 1 || !is_theirs(line)
        });
        Ok(())
    })?;
    Ok(token)
}

/// The holders in the file, in its order.
pub fn token_holders(path: &Path) -> Result<Vec<TokenHolder>, TokenError> {
    Tokens::read(path)?;
    let lines: Vec<String> = read_text(path)?.lines().map(str::to_owned).collect();
    let holder = |entry: TokenEntry<'_>| TokenHolder {
        name: entry.name.to_owned(),
        role: entry.role,
        expires_s: entry.expires_s,
    };
    Ok(entries(&lines).map(holder).collect())
}

fn entries(lines: &[String]) -> impl Iterator<Item = TokenEntry<'_>> {
    lines.iter().filter_map(|line| parse_line(line).ok().flatten())
}

/// Changes the lines of the file, which must be valid before and after. One change at a time.
fn change<T>(
    path: &Path,
    may_create: bool,
    edit: impl FnOnce(&mut Vec<String>) -> Result<T, TokenError>,
) -> Result<T, TokenError> {
    let fault = |source| TokenError::Write { path: path.to_owned(), source };
    // The file itself is replaced, so the lock is on its directory. A symbolic link stays one.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = directory_of(&target);
    let held = File::open(&directory).map_err(fault)?;
    flock(&held, FlockOperation::LockExclusive).map_err(|error| fault(error.into()))?;
    let is_new = may_create && !target.exists();
    let text = if is_new { String::new() } else { read_text(&target)? };
    Tokens::parse(&text).map_err(|line| TokenError::Syntax { path: path.to_owned(), line })?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let result = edit(&mut lines)?;
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    Tokens::parse(&text).map_err(|_| TokenError::Full(path.to_owned()))?;
    replace_file(&target, &text).map_err(fault)?;
    Ok(result)
}

fn directory_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new(".")).to_owned()
}

/// Replaces a file as a whole. Its owner and mode stay; a new file is readable by its owner only.
pub(super) fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = directory_of(path).join(format!(".{name}.{}", std::process::id()));
    let written = write_draft(&draft, path, text).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
        return written;
    }
    File::open(directory_of(path))?.sync_all()
}

fn write_draft(draft: &Path, of: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    if let Ok(about) = fs::metadata(of) {
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (about.uid(), about.gid()) {
            std::os::unix::fs::fchown(&file, Some(about.uid()), Some(about.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(about.mode() & 0o600))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn random_token(path: &Path) -> Result<String, TokenError> {
    let mut random = [0; TOKEN_BYTES];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(|source| TokenError::Write { path: path.to_owned(), source })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_created_stored_and_recognized() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("tokens");
        let token = add_token(&path, Role::Operator, "ada", None).unwrap();
        assert_eq!(token.len(), 64);
        let twice = add_token(&path, Role::Operator, "ada", None).unwrap_err().to_string();
        assert!(twice.contains("ada has a token already"));
        assert!(add_token(&path, Role::Operator, "a b", None).is_err());
        assert!(add_token(&path, Role::Operator, "::1", None).is_err());
        let holder = |token: &str| {
            let identity = Tokens::read(&path).unwrap().identify(token, 0)?.unwrap();
            Some((identity.role, identity.name))
        };
        assert_eq!(holder(&token), Some((Role::Operator, "ada".to_owned())));
        assert_eq!(holder(&token[1..]), None);
        // An editor may have left the last line without a newline.
        fs::write(&path, fs::read_to_string(&path).unwrap().trim_end()).unwrap();
        add_token(&path, Role::Commander, "bob", Some(1_803_902_400)).unwrap();
        assert_eq!(holder(&token).unwrap().1, "ada");
        let expires_s = Some(1_803_902_400);
        let bob = TokenHolder { name: "bob".to_owned(), role: Role::Commander, expires_s };
        assert_eq!(token_holders(&path).unwrap()[1], bob);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Tokens::read(&path).unwrap_err().to_string().contains("chmod 600"));
        assert!(revoke_token(&path, "ada").is_err());
    }

    #[test]
    fn comments_stay_and_nothing_is_left_behind() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("tokens");
        let link = scratch.path().join("link");
        let ada = "operator ada 0123456789abcdef0123456789abcdef";
        let text = format!(
            "# the team\n\n{ada}\n  # bob left\nobserver bob 00000000000000000000000000000000\n{ada}\n"
        );
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let new = rotate_token(&link, "ada", None, 0).unwrap();
        let bob = "observer bob 00000000000000000000000000000000";
        let expected = format!("# the team\n\noperator ada {new}\n  # bob left\n{bob}\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(revoke_token(&path, "bob").unwrap(), 1);
        assert!(revoke_token(&path, "bob").unwrap_err().to_string().contains("bob has no token"));
        assert!(rotate_token(&path, "eve", None, 0).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), expected.replace(&format!("{bob}\n"), ""));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_rotated_token_does_not_begin_expired() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("tokens");
        add_token(&path, Role::Operator, "ada", Some(1_000)).unwrap();
        assert!(rotate_token(&path, "ada", None, 1_000).unwrap_err().to_string().contains("--expires"));
        rotate_token(&path, "ada", None, 999).unwrap();
        rotate_token(&path, "ada", Some(3_000), 2_000).unwrap();
        assert_eq!(token_holders(&path).unwrap()[0].expires_s, Some(3_000));
    }
}
