//! Token files, JWTs, key sets, and the fields of proxies.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use roverline_gateway::access::forwarded::parse_nodes;
use roverline_gateway::access::jwt::{JwtSettings, verify};
use roverline_gateway::access::jwt_keys::JwtKeys;
use roverline_gateway::access::tokens::{Tokens, parse_line};

static SETTINGS: LazyLock<JwtSettings> = LazyLock::new(|| JwtSettings {
    issuer: "i".to_owned(),
    audience: "a".to_owned(),
    role_claim: "role".to_owned(),
    key: None,
    jwks: None,
});
static KEYS: LazyLock<Option<JwtKeys>> = LazyLock::new(|| JwtKeys::parse_key(&"k".repeat(32)).ok());

fuzz_target!(|text: &str| {
    if Tokens::parse(text).is_ok() {
        for entry in text.lines().filter_map(|line| parse_line(line).ok().flatten()) {
            assert_eq!(parse_line(&entry.line()), Ok(Some(entry)));
        }
    }
    let _ = JwtKeys::parse_jwks(text);
    let _ = JwtKeys::parse_key(text);
    parse_nodes(text);
    if let Some(keys) = &*KEYS {
        // It has no valid signature.
        assert!(verify(&SETTINGS, keys, text, 0).is_err());
    }
});
