//! The tokens of a token file: one holder per line, `ROLE NAME TOKEN`, and `expires=TIME` after it if it ends;
//! lines starting with `#` are comments.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::access::credential::Credential;
use crate::access::holder_name::{NameError, check_name};
use crate::access::utc::{format_utc, parse_utc};
use crate::access::{AuthenticationError, Identity, Role};

/// Entries of the tokens file.
const TOKENS_ENTRIES: usize = 1_000;
/// Size of the tokens file.
const TOKEN_FILE_BYTES: u64 = 1 << 20;
/// Shortest token that cannot be guessed.
const TOKEN_CHARS: usize = 16;

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
    /// The file is too large.
    #[error("{} is no token file: it has more than {TOKEN_FILE_BYTES} bytes", .0.display())]
    Size(PathBuf),
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
    #[error("{name} has a token already; `token rotate {name}` replaces it, `token revoke {name}` ends it")]
    Exists {
        /// The holder.
        name: String,
    },
    /// The file has no token with this name.
    #[error("{name} has no token in {}", path.display())]
    Unknown {
        /// The holder.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// A token would be expired from its beginning.
    #[error("{0} has passed: say a later end with --expires")]
    Past(String),
    /// There is no room for another one.
    #[error("limit reached ({TOKENS_ENTRIES}): {} has no room for another token; revoke some", .0.display())]
    Full(PathBuf),
}

/// A malformed line of the token file.
#[derive(Debug, thiserror::Error)]
#[error("{line}: {reason}")]
pub struct SyntaxError {
    line: usize,
    reason: LineError,
}

/// A line of the token file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEntry<'a> {
    /// The holder's role.
    pub role: Role,
    /// The holder's name.
    pub name: &'a str,
    /// The secret.
    pub token: &'a str,
    /// When it expires, seconds since the Unix epoch; absent: never.
    pub expires_s: Option<i64>,
}

impl TokenEntry<'_> {
    /// The line as it is written.
    pub fn line(&self) -> String {
        let TokenEntry { role, name, token, expires_s } = self;
        let expires = expires_s.map(|at| format!(" expires={}", format_utc(at))).unwrap_or_default();
        format!("{} {name} {token}{expires}", role.name())
    }
}

/// Why a line is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It has too few or too many words.
    #[error("write ROLE NAME TOKEN, or ROLE NAME TOKEN expires=2027-03-01T12:00:00Z")]
    Words,
    /// An unknown role.
    #[error("the role is observer, operator or commander")]
    Role,
    /// An invalid name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A token that could be guessed.
    #[error("the token is too short to be safe; have one made by `token add`")]
    ShortToken,
    /// The end is no time.
    #[error("after the token there may be expires=2027-03-01T12:00:00Z")]
    Expiry,
    /// One line too many.
    #[error("at most {TOKENS_ENTRIES} tokens")]
    TooMany,
}

/// Parses a line; `None` for an empty line and a comment.
pub fn parse_line(line: &str) -> Result<Option<TokenEntry<'_>>, LineError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (role, name, token, rest) = match words.as_slice() {
        [] => return Ok(None),
        [first, ..] if first.starts_with('#') => return Ok(None),
        [role, name, token, rest @ ..] => (*role, *name, *token, rest),
        _ => return Err(LineError::Words),
    };
    let role = match role {
        "observer" => Role::Observer,
        "operator" => Role::Operator,
        "commander" => Role::Commander,
        _ => return Err(LineError::Role),
    };
    check_name(name)?;
    if token.len() < TOKEN_CHARS {
        return Err(LineError::ShortToken);
    }
    let expires_s = match rest {
        [] => None,
        [end] => {
            let at = end.strip_prefix("expires=").and_then(parse_utc);
            Some(at.ok_or(LineError::Expiry)?)
        }
        _ => return Err(LineError::Words),
    };
    Ok(Some(TokenEntry { role, name, token, expires_s }))
}

#[derive(Debug, PartialEq, Eq)]
struct KnownToken {
    hash: [u8; 32],
    identity: Identity,
    expires_s: Option<i64>,
}

/// The tokens, as hashes, and their holders.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tokens(Vec<KnownToken>);

impl Tokens {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Tokens, TokenError> {
        Tokens::parse(&read_text(path)?).map_err(|line| TokenError::Syntax { path: path.to_owned(), line })
    }

    /// Parses the text of a token file.
    pub fn parse(text: &str) -> Result<Tokens, SyntaxError> {
        let mut tokens = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let entry = parse_line(line).map_err(|reason| SyntaxError { line: at + 1, reason })?;
            let Some(TokenEntry { role, name, token, expires_s }) = entry else { continue };
            if tokens.len() >= TOKENS_ENTRIES {
                return Err(SyntaxError { line: at + 1, reason: LineError::TooMany });
            }
            let hash = hash(token);
            let identity = Identity { role, name: name.to_owned(), credential: Credential::Token(hash) };
            tokens.push(KnownToken { hash, identity, expires_s });
        }
        Ok(Tokens(tokens))
    }

    /// The holder of this token, if it is one; an error if it expired. The time taken does not depend on which
    /// token matches.
    pub(super) fn identify(&self, token: &str, unix_s: i64) -> Option<Result<Identity, AuthenticationError>> {
        let given = hash(token);
        let mut found = None;
        for known in &self.0 {
            if is_equal(&known.hash, &given) {
                found = Some(known);
            }
        }
        found.map(|known| known.check_expiry(unix_s).map(|()| known.identity.clone()))
    }

    /// Whether an identity that was shown before still has its token.
    pub(super) fn check(
        &self,
        hash: &[u8; 32],
        identity: &Identity,
        unix_s: i64,
    ) -> Result<(), AuthenticationError> {
        let known = self.0.iter().find(|known| known.hash == *hash && known.identity == *identity);
        known.ok_or(AuthenticationError::Revoked)?.check_expiry(unix_s)
    }
}

impl KnownToken {
    fn check_expiry(&self, unix_s: i64) -> Result<(), AuthenticationError> {
        match self.expires_s.filter(|end| *end <= unix_s) {
            Some(end) => Err(AuthenticationError::Expired(format_utc(end))),
            None => Ok(()),
        }
    }
}

/// Reads the text of a token file that only its owner may read.
pub(super) fn read_text(path: &Path) -> Result<String, TokenError> {
    let fault = |source| TokenError::Read { path: path.to_owned(), source };
    let about = fs::metadata(path).map_err(fault)?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TokenError::Permissions { path: path.to_owned(), mode });
    }
    if about.len() > TOKEN_FILE_BYTES {
        return Err(TokenError::Size(path.to_owned()));
    }
    fs::read_to_string(path).map_err(fault)
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Compares in constant time.
fn is_equal(known: &[u8], given: &[u8]) -> bool {
    let different = known.iter().zip(given).fold(0, |different, (a, b)| different | (a ^ b));
    known.len() == given.len() && std::hint::black_box(different) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_line_is_reported_by_number() {
        let error = |text: &str| Tokens::parse(text).unwrap_err().to_string();
        assert_eq!(error("# x\n\npilot a b"), "3: the role is observer, operator or commander");
        assert!(error("operator a short").starts_with("1: the token is too short"));
        assert!(error("operator a").starts_with("1: write ROLE NAME TOKEN"));
        assert!(error("operator a 0123456789abcdef soon").contains("expires=2027"));
        assert!(error("operator a 0123456789abcdef expires=soon").contains("expires=2027"));
        assert!(error("operator 10.0.0.1 0123456789abcdef").contains("is an address"));
        assert!(Tokens::parse("operator a 0123456789abcdef\n").is_ok());
        let line = "operator a 0123456789abcdef\n";
        assert!(Tokens::parse(&line.repeat(TOKENS_ENTRIES)).is_ok());
        assert_eq!(error(&line.repeat(TOKENS_ENTRIES + 1)), "1001: at most 1000 tokens");
    }

    #[test]
    fn no_name_imitates_a_client_without_a_token() {
        for address in ["127.0.0.1", "10.0.0.5", "::1", "::ffff:10.0.0.5", "2001:DB8::1"] {
            let error = Tokens::parse(&format!("operator {address} 0123456789abcdef")).unwrap_err();
            assert!(error.to_string().starts_with(&format!("1: {address} is an address")), "{error}");
        }
    }

    #[test]
    fn a_token_ends_when_it_says_so_or_is_taken_out() {
        let text =
            "operator ada 0123456789abcdef expires=2027-03-01T12:00:00Z\nobserver bob fedcba9876543210\n";
        let end = 1_803_902_400;
        let tokens = Tokens::parse(text).unwrap();
        let ada = tokens.identify("0123456789abcdef", end - 1).unwrap().unwrap();
        assert_eq!((ada.role, ada.name.as_str()), (Role::Operator, "ada"));
        let expired = AuthenticationError::Expired("2027-03-01T12:00:00Z".to_owned());
        assert_eq!(tokens.identify("0123456789abcdef", end), Some(Err(expired.clone())));
        assert_eq!(tokens.identify("0123456789abcde", end), None);
        let Credential::Token(hash) = ada.credential else { panic!("{ada:?}") };
        assert_eq!(tokens.check(&hash, &ada, end - 1), Ok(()));
        assert_eq!(tokens.check(&hash, &ada, end), Err(expired));
        let checked = |text: &str| Tokens::parse(text).unwrap().check(&hash, &ada, 0);
        assert_eq!(
            checked("observer ada 0123456789abcdef"),
            Err(AuthenticationError::Revoked),
            "another role"
        );
        assert_eq!(checked("operator ada 0123456789abcdeX"), Err(AuthenticationError::Revoked));
        assert_eq!(checked("operator ada 0123456789abcdef"), Ok(()));
    }

    proptest::proptest! {
        #[test]
        fn a_line_is_read_as_it_is_written(name in "[a-z]{1,8}", token in "[0-9a-f]{16,64}", end in 0_i64..4_000_000_000) {
            let entry = TokenEntry { role: Role::Commander, name: &name, token: &token, expires_s: Some(end) };
            let line = entry.line();
            proptest::prop_assert_eq!(parse_line(&line), Ok(Some(entry)));
        }
    }
}
