//! `token`: the tokens of the team, in the token file. A running gateway follows the file.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use roverline_protocol::printable::{printable, printable_json, printable_lines};
use roverline_source::clock::unix_ns;

use crate::access::{self, LastUses, Role, TokenHolder, format_utc, parse_utc};
use crate::cli::error::{CliError, runtime_error};

/// Longest time from now to the end of a token.
const EXPIRY_MAX_S: u64 = 100 * 365 * 86_400;

/// Commands of `token`.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Create a token, add it to the file, and print it
    ///
    /// Give it to its holder over a private channel. Clients send it as `Authorization: Bearer TOKEN`, as
    /// `?token=TOKEN`, or in their first message. A running gateway reads the file again within a second.
    Add {
        /// The token file; created if missing, readable by its owner only
        #[arg(long, value_name = "FILE", env = "ROVERLINE_TOKENS")]
        tokens: PathBuf,
        /// The holder's role
        #[arg(long, value_enum, default_value = "operator")]
        role: Role,
        /// When it ends: 30d, 12h, or 2027-03-01T12:00:00Z [default: never]
        #[arg(long, value_name = "TIME", value_parser = parse_expiry)]
        expires: Option<Expiry>,
        /// The holder's name, shown in logs
        name: String,
    },
    /// List the holders with their roles, ends and last uses; tokens are not shown
    List {
        /// The token file
        #[arg(long, value_name = "FILE", env = "ROVERLINE_TOKENS")]
        tokens: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a holder's token; sessions with it end within two seconds
    Revoke {
        /// The token file
        #[arg(long, value_name = "FILE", env = "ROVERLINE_TOKENS")]
        tokens: PathBuf,
        /// The holder's name
        name: String,
    },
    /// Replace a holder's token by a new one and print it; sessions with the old one end within two seconds
    Rotate {
        /// The token file
        #[arg(long, value_name = "FILE", env = "ROVERLINE_TOKENS")]
        tokens: PathBuf,
        /// When the new one ends: 30d, 12h, or 2027-03-01T12:00:00Z [default: as the old one]
        #[arg(long, value_name = "TIME", value_parser = parse_expiry)]
        expires: Option<Expiry>,
        /// The holder's name
        name: String,
    },
}

/// The end of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// This many seconds from now.
    After(u64),
    /// At this time, seconds since the Unix epoch.
    At(i64),
}

impl Expiry {
    fn unix_s(self, now_s: i64) -> i64 {
        match self {
            Expiry::After(seconds) => now_s.saturating_add_unsigned(seconds),
            Expiry::At(at) => at,
        }
    }
}

fn parse_expiry(text: &str) -> Result<Expiry, String> {
    if let Some(at) = parse_utc(text) {
        return Ok(Expiry::At(at));
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[end..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    let seconds = text[..end].parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match seconds.filter(|seconds| (1..=EXPIRY_MAX_S).contains(seconds)) {
        Some(seconds) => Ok(Expiry::After(seconds)),
        None => Err("write a time such as 30d, 12h or 2027-03-01T12:00:00Z".to_owned()),
    }
}

/// Runs a command of `token`.
pub(super) fn token(command: &TokenCommand) -> Result<(), CliError> {
    let now_s = unix_ns().div_euclid(1_000_000_000);
    let text = match command {
        TokenCommand::Add { tokens, role, expires, name } => {
            let expires_s = expires.map(|expires| expires.unix_s(now_s));
            if let Some(past) = expires_s.filter(|end| *end <= now_s) {
                return Err(runtime_error(access::TokenError::Past(format_utc(past))));
            }
            access::add_token(tokens, *role, name, expires_s).map_err(runtime_error)? + "\n"
        }
        TokenCommand::List { tokens, json } => list(tokens, *json, now_s)?,
        TokenCommand::Revoke { tokens, name } => {
            let count = access::revoke_token(tokens, name).map_err(runtime_error)?;
            let what = if count == 1 { "1 token".to_owned() } else { format!("{count} tokens") };
            format!("{what} of {name} revoked; sessions with it end within two seconds\n")
        }
        TokenCommand::Rotate { tokens, expires, name } => {
            let expires_s = expires.map(|expires| expires.unix_s(now_s));
            access::rotate_token(tokens, name, expires_s, now_s).map_err(runtime_error)? + "\n"
        }
    };
    // Standard output may be closed; the token is in the file.
    let _ = std::io::stdout().write_all(printable_lines(&text).as_bytes());
    Ok(())
}

fn list(tokens: &Path, as_json: bool, now_s: i64) -> Result<String, CliError> {
    let holders = access::token_holders(tokens).map_err(runtime_error)?;
    Ok(listing(&holders, &access::read_last_uses(tokens), as_json, now_s))
}

/// The holders for a terminal, or as JSON that is safe for one.
fn listing(holders: &[TokenHolder], used: &LastUses, as_json: bool, now_s: i64) -> String {
    let last_use = |name: &str| used.get(name).map(|at| format_utc(*at));
    if as_json {
        let entries = holders.iter().map(|holder| {
            serde_json::json!({
                "name": holder.name,
                "role": holder.role.name(),
                "expires": holder.expires_s.map(format_utc),
                "expired": holder.expires_s.is_some_and(|end| end <= now_s),
                "last_use": last_use(&holder.name),
            })
        });
        let json = serde_json::json!({"tokens": entries.collect::<Vec<_>>()}).to_string();
        return printable_json(&json) + "\n";
    }
    let mut rows = vec![["NAME", "ROLE", "EXPIRES", "LAST USE"].map(str::to_owned)];
    for holder in holders {
        let expires = match holder.expires_s {
            None => "never".to_owned(),
            Some(end) if end <= now_s => format!("{} (expired)", format_utc(end)),
            Some(end) => format_utc(end),
        };
        let used = last_use(&holder.name).unwrap_or_else(|| "never".to_owned());
        rows.push([printable(&holder.name), holder.role.name().to_owned(), expires, used]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (name, role, expires) = (width(0), width(1), width(2));
    let line = |row: &[String; 4]| {
        let [a, b, c, d] = row;
        format!("{a:name$}  {b:role$}  {c:expires$}  {d}\n")
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_in_a_list_steers_the_terminal() {
        let name = "ada\u{202e}\u{9b}31m".to_owned();
        let holders = [TokenHolder { name: name.clone(), role: Role::Operator, expires_s: None }];
        let text = listing(&holders, &LastUses::default(), false, 0);
        assert!(text.contains("ada··31m  operator  never"), "{text:?}");
        let json = listing(&holders, &LastUses::default(), true, 0);
        assert!(json.contains(r"ada\u202e\u009b31m"), "{json:?}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["tokens"][0]["name"], name);
    }

    #[test]
    fn ends_are_read_as_times_from_now_and_as_dates() {
        assert_eq!(parse_expiry("30d"), Ok(Expiry::After(2_592_000)));
        assert_eq!(parse_expiry("12h").map(|expiry| expiry.unix_s(100)), Ok(43_300));
        assert_eq!(parse_expiry("2027-03-01T12:00:00Z"), Ok(Expiry::At(1_803_902_400)));
        for wrong in ["", "0d", "30", "d", "soon", "-1d", "99999999999999999999d", "40000d", "1.5h"] {
            assert!(parse_expiry(wrong).is_err(), "{wrong}");
        }
    }
}
