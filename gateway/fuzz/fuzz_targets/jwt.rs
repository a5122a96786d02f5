//! JWTs that the issuer has signed, with headers and claims that are nearly right; one changed character makes
//! any of them invalid.
#![no_main]

mod structured_json;

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use ring::hmac;
use roverline_gateway::access::jwt::{JwtSettings, verify};
use roverline_gateway::access::jwt_keys::JwtKeys;
use roverline_gateway::access::{Role, check_name};
use serde_json::{Map, Value, json};

const SECRET: [u8; 32] = [b'k'; 32];
const NOW_S: i64 = 1_000;
const HEADERS: &[&str] = &[
    r#"{"alg":"HS256"}"#,
    r#"{"alg":"HS256","typ":"JWT","kid":"1"}"#,
    r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
    r#"{"alg":"none"}"#,
    r#"{"alg":"EdDSA"}"#,
    r#"["HS256",null,null]"#,
    "{}",
];
const ROLES: &[&str] = &["observer", "operator", "commander", "root"];
const FIELDS: &[&str] = &["iss", "aud", "exp", "nbf", "iat", "sub", "role", "jti"];

static SETTINGS: LazyLock<JwtSettings> = LazyLock::new(|| JwtSettings {
    issuer: "i".to_owned(),
    audience: "a".to_owned(),
    role_claim: "role".to_owned(),
    key: None,
    jwks: None,
});
static KEYS: LazyLock<JwtKeys> = LazyLock::new(|| {
    JwtKeys::parse_key(std::str::from_utf8(&SECRET).expect("it is text")).expect("it is a key")
});

fuzz_target!(|input: (u8, u16, u8, &[u8])| {
    let (which, at, to, noise) = input;
    let header =
        HEADERS.get(usize::from(which) % (HEADERS.len() + 1)).map_or(noise, |header| header.as_bytes());
    let claims = claims(noise);
    let token = sign(header, &serde_json::to_vec(&claims).expect("claims are JSON"));
    if let Ok(holder) = verify(&SETTINGS, &KEYS, &token, NOW_S) {
        assert_eq!(claims["iss"], "i");
        assert!(claims["exp"].as_f64().is_some_and(|end| end > NOW_S as f64), "{claims:?}");
        assert!(check_name(&holder.name).is_ok() && claims["sub"] == holder.name.as_str());
        assert!(claims["role"] == holder.role.name() && holder.role >= Role::Observer);
        let mut changed = token.clone().into_bytes();
        let at = usize::from(at) % changed.len();
        changed[at] = to;
        if let Ok(changed) = String::from_utf8(changed)
            && changed != token
        {
            assert!(verify(&SETTINGS, &KEYS, &changed, NOW_S).is_err(), "{changed}");
        }
    }
    // Claims that are no object.
    let _ = verify(&SETTINGS, &KEYS, &sign(HEADERS[0].as_bytes(), noise), NOW_S);
});

/// Right claims, some of them replaced.
fn claims(noise: &[u8]) -> Map<String, Value> {
    let right =
        json!({"iss": "i", "aud": ["b", "a"], "exp": 2_000, "nbf": 1_010, "sub": "ada", "role": "operator"});
    let Value::Object(mut claims) = right else { unreachable!() };
    let others = structured_json::structured_json(noise, "role", ROLES, FIELDS).unwrap_or_default();
    if let Ok(Value::Object(others)) = serde_json::from_str(&others) {
        claims.extend(others);
    }
    claims
}

fn sign(header: &[u8], claims: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}
