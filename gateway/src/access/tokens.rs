//! The tokens' file: one holder per line, `ROLE NAME TOKEN`; lines that begin with `#` are comments.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use roverline_protocol::limits;

use crate::access::{Identity, Role};

/// Bytes of a new token before they are written in hexadecimal.
const TOKEN_BYTES: usize = 32;

/// Who holds which token.
#[derive(Default)]
pub struct Tokens(Vec<(String, Identity)>);

impl Tokens {
    /// Reads the file. An error is a sentence.
    pub fn read(path: &Path) -> Result<Tokens, String> {
        let shown = path.display();
        let fault = |error: std::io::Error| format!("cannot read the tokens in {shown}: {error}");
        let mode = fs::metadata(path).map_err(fault)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(format!(
                "others may read the tokens in {shown} (mode {mode:03o}); run: chmod 600 {shown}"
            ));
        }
        Tokens::parse(&fs::read_to_string(path).map_err(fault)?).map_err(|why| format!("{shown}:{why}"))
    }

    fn parse(text: &str) -> Result<Tokens, String> {
        let mut tokens = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let bad = |why: &str| Err(format!("{}: {why}", at + 1));
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
                    if token.len() < 16 {
                        return bad("the token is too short to be safe; have one made by `token add`");
                    }
                    tokens.push(((*token).to_owned(), Identity { role, name: (*name).to_owned() }));
                }
                _ => return bad("write ROLE NAME TOKEN"),
            }
        }
        if tokens.len() > limits::TOKENS_ENTRIES {
            return Err(format!("0: at most {} tokens", limits::TOKENS_ENTRIES));
        }
        Ok(Tokens(tokens))
    }

    /// Whose token this is. Takes as long for a wrong one as for any other.
    pub(super) fn holder(&self, token: &str) -> Option<Identity> {
        let mut found = None;
        for (known, identity) in &self.0 {
            if is_equal(known.as_bytes(), token.as_bytes()) {
                found = Some(identity.clone());
            }
        }
        found
    }
}

/// Compares without telling by its time where the difference is.
fn is_equal(known: &[u8], given: &[u8]) -> bool {
    let different = known.iter().zip(given).fold(0, |different, (a, b)| different | (a ^ b));
    known.len() == given.len() && std::hint::black_box(different) == 0
}

/// Makes a token and adds its holder to the file, which is made if there is none; returns the token.
pub fn add_token(path: &Path, role: Role, name: &str) -> Result<String, String> {
    if name.is_empty() || name.len() > 64 || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("a name is 1 to 64 characters without spaces".to_owned());
    }
    let fault = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let mut unended = false;
    if path.exists() {
        unended = fs::read(path).map_err(fault)?.last().is_some_and(|last| *last != b'\n');
        let known = Tokens::read(path)?;
        if known.0.iter().any(|(_, identity)| identity.name == name) {
            return Err(format!("{name} has a token already; take its line out of {}", path.display()));
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
    fn tokens_are_made_kept_and_known() {
        let path = std::env::temp_dir().join(format!("roverline-tokens-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let token = add_token(&path, Role::Operator, "ada").unwrap();
        assert_eq!(token.len(), 64);
        assert!(add_token(&path, Role::Operator, "ada").unwrap_err().contains("ada has a token"));
        assert!(add_token(&path, Role::Operator, "a b").is_err());
        let tokens = Tokens::read(&path).unwrap();
        assert_eq!(tokens.holder(&token).unwrap(), Identity { role: Role::Operator, name: "ada".into() });
        assert_eq!(tokens.holder(&token[1..]), None);
        // An editor may have left the last line without its end.
        fs::write(&path, fs::read_to_string(&path).unwrap().trim_end()).unwrap();
        add_token(&path, Role::Commander, "bob").unwrap();
        assert_eq!(Tokens::read(&path).unwrap().holder(&token).unwrap().name, "ada");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Tokens::read(&path).err().unwrap().contains("chmod 600"));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_wrong_is_named_by_line() {
        let error = |text: &str| Tokens::parse(text).err().unwrap();
        assert_eq!(error("# x\n\npilot a b"), "3: the role is observer, operator or commander");
        assert!(error("operator a short").starts_with("1: the token is too short"));
        assert!(error("operator a").starts_with("1: write ROLE NAME TOKEN"));
        assert!(Tokens::parse("operator a 0123456789abcdef\n").is_ok());
    }
}
