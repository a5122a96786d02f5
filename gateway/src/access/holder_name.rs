//! The name of a token's or a certificate's holder, which is its identity.

use std::net::IpAddr;

use roverline_protocol::printable::is_unprintable;

/// Longest name, bytes.
const HOLDER_NAME_BYTES: usize = roverline_protocol::limits::IDENTITY_BYTES;

/// Why a name cannot be a holder's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty or too long, or contains a space or what a terminal must not get.
    #[error(
        "a name is 1 to {HOLDER_NAME_BYTES} bytes without spaces, control characters and marks of direction"
    )]
    Form,
    /// It is an address.
    #[error("{0} is an address, and clients without a token are known by theirs: choose another name")]
    Address(String),
}

/// Checks a holder's name.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let is_wrong = |c: char| c.is_whitespace() || is_unprintable(c);
    if name.is_empty() || name.len() > HOLDER_NAME_BYTES || name.contains(is_wrong) {
        return Err(NameError::Form);
    }
    match name.parse::<IpAddr>() {
        Ok(_) => Err(NameError::Address(name.to_owned())),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_printable_and_no_address() {
        for name in ["ada", "10.0.0", "ada@team", "Ärger", "x".repeat(HOLDER_NAME_BYTES).as_str()] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let long = "x".repeat(HOLDER_NAME_BYTES + 1);
        for name in ["", "a b", "a\u{1b}", "ada\u{202e}", "\u{2066}ada", "a\u{200f}da", &long] {
            assert_eq!(check_name(name), Err(NameError::Form), "{name:?}");
        }
    }
}
