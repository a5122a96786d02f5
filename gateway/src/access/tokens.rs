//! The token file: one holder per line, `ROLE NAME TOKEN`; lines starting with `#` are comments.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use roverline_protocol::limits;

use crate::access::{Identity, Role};

/// Entries of the tokens file.
const TOKENS_ENTRIES: usize = 1_000;

/// Length of a new token in bytes, before hexadecimal encoding.
const TOKEN_BYTES: usize = 32;

/// Why the token file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the tokens in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Other users may read the file.
    #[error("others may read the tokens in {0} (mode {mode:03o}); run: chmod 600 {0}", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line is malformed.
    #[error("{}:{line}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line and the reason.
        line: SyntaxError,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The holder's name is not allowed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The holder has a token already.
    #[error("{name} has a token already; take its line out of {}", path.display())]
    Exists {
        /// The holder.
        name: String,
        /// The file.
        path: PathBuf,
    },
}

/// Why a name cannot be a holder's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty or too long, or contains a space or a control character.
    #[error("a name is 1 to {max} bytes without spaces", max = limits::IDENTITY_BYTES)]
    Form,
    /// It is an address.
    #[error("{0} is an address, and clients without a token are known by theirs: choose another name")]
    Address(String),
}

/// Checks the name of an identity. What its clients take belongs to it by this name, beside the addresses of
/// clients without one.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let is_wrong = |c: char| c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > limits::IDENTITY_BYTES || name.contains(is_wrong) {
        return Err(NameError::Form);
    }
    match name.parse::<IpAddr>() {
        Ok(_) => Err(NameError::Address(name.to_owned())),
        Err(_) => Ok(()),
    }
}

/// A malformed line of the token file.
#[derive(Debug, thiserror::Error)]
#[error("{line}: {reason}")]
pub struct SyntaxError {
    line: usize,
    reason: String,
}

/// The tokens and their holders.
#[derive(Debug, Default)]
pub struct Tokens(Vec<(String, Identity)>);

impl Tokens {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Tokens, TokenError> {
        let fault = |source| TokenError::Read { path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(fault)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokenError::Permissions { path: path.to_owned(), mode });
        }
        let text = fs::read_to_string(path).map_err(fault)?;
        Tokens::parse(&text).map_err(|line| TokenError::Syntax { path: path.to_owned(), line })
    }

    fn parse(text: &str) -> Result<Tokens, SyntaxError> {
        let mut tokens = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let bad = |reason: &str| Err(SyntaxError { line: at + 1, reason: reason.to_owned() });
            match words.as_slice() {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                [role, name, token] => {
                    let role = match *role {
                        "observer" => Role::Observer,
                        "operator" => Role::Operator,
                        "commander" => Role::Commander,
                        _ => return bad("the role is observer, operator or commander"),
                    };
                    if let Err(error) = check_name(name) {
                        return bad(&error.to_string());
                    }
                    if token.len() < 16 {
                        return bad("the token is too short to be safe; have one made by `token add`");
                    }
                    tokens.push(((*token).to_owned(), Identity { role, name: (*name).to_owned() }));
                }
                _ => return bad("write ROLE NAME TOKEN"),
            }
        }
        if tokens.len() > TOKENS_ENTRIES {
            let reason = format!("at most {} tokens", TOKENS_ENTRIES);
            return Err(SyntaxError { line: 0, reason });
        }
        Ok(Tokens(tokens))
    }

    /// The holder of this token. The time taken does not depend on which token matches.
    pub(super) fn identify(&self, token: &str) -> Option<Identity> {
        let mut found = None;
        for (known, identity) in &self.0 {
            if is_equal(known.as_bytes(), token.as_bytes()) {
                found = Some(identity.clone());
            }
        }
        found
    }
}

/// Compares in constant time.
fn is_equal(known: &[u8], given: &[u8]) -> bool {
    let different = known.iter().zip(given).fold(0, |different, (a, b)| different | (a ^ b));
    known.len() == given.len() && std::hint::black_box(different) == 0
}

/// Creates a token, appends its holder to the file (creating the file if necessary), and returns the token.
pub fn add_token(path: &Path, role: Role, name: &str) -> Result<String, TokenError> {
    check_name(name)?;
    let fault = |source| TokenError::Write { path: path.to_owned(), source };
    let mut unended = false;
    if path.exists() {
        unended = fs::read(path).map_err(fault)?.last().is_some_and(|last| *last != b'\n');
        let known = Tokens::read(path)?;
        if known.0.iter().any(|(_, identity)| identity.name == name) {
            return Err(TokenError::Exists { name: name.to_owned(), path: path.to_owned() });
        }
    }
    let mut random = [0; TOKEN_BYTES];
    fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random)).map_err(fault)?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(fault)?;
    let before = if unended { "\n" } else { "" };
    writeln!(file, "{before}{} {name} {token}", role.name()).and_then(|()| file.sync_all()).map_err(fault)?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_created_stored_and_recognized() {
        let path = std::env::temp_dir().join(format!("roverline-tokens-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let token = add_token(&path, Role::Operator, "ada").unwrap();
        assert_eq!(token.len(), 64);
        assert!(add_token(&path, Role::Operator, "ada").unwrap_err().to_string().contains("ada has a token"));
        assert!(add_token(&path, Role::Operator, "a b").is_err());
        let tokens = Tokens::read(&path).unwrap();
        assert_eq!(tokens.identify(&token).unwrap(), Identity { role: Role::Operator, name: "ada".into() });
        assert_eq!(tokens.identify(&token[1..]), None);
        // An editor may have left the last line without a newline.
        fs::write(&path, fs::read_to_string(&path).unwrap().trim_end()).unwrap();
        add_token(&path, Role::Commander, "bob").unwrap();
        assert_eq!(Tokens::read(&path).unwrap().identify(&token).unwrap().name, "ada");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Tokens::read(&path).unwrap_err().to_string().contains("chmod 600"));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_malformed_line_is_reported_by_number() {
        let error = |text: &str| Tokens::parse(text).unwrap_err().to_string();
        assert_eq!(error("# x\n\npilot a b"), "3: the role is observer, operator or commander");
        assert!(error("operator a short").starts_with("1: the token is too short"));
        assert!(error("operator a").starts_with("1: write ROLE NAME TOKEN"));
        assert!(Tokens::parse("operator a 0123456789abcdef\n").is_ok());
    }

    #[test]
    fn no_name_imitates_a_client_without_a_token() {
        for address in ["127.0.0.1", "10.0.0.5", "::1", "::ffff:10.0.0.5", "2001:DB8::1"] {
            let error = Tokens::parse(&format!("operator {address} 0123456789abcdef")).unwrap_err();
            assert!(error.to_string().starts_with(&format!("1: {address} is an address")), "{error}");
            let nowhere = Path::new("/nonexistent/tokens");
            let error = add_token(nowhere, Role::Operator, address).unwrap_err();
            assert!(matches!(error, TokenError::Name(NameError::Address(_))), "{error}");
        }
        for name in ["ada", "10.0.0", "127.0.0.1:80", "x".repeat(limits::IDENTITY_BYTES).as_str()] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "a b", "a\u{7}", "x".repeat(limits::IDENTITY_BYTES + 1).as_str()] {
            assert_eq!(check_name(name), Err(NameError::Form), "{name}");
        }
    }
}
