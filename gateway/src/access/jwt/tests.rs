//! Tests of JWT verification: signatures, algorithms, claims, and malformed tokens.

use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn settings() -> JwtSettings {
    JwtSettings {
        issuer: "https://id.example".to_owned(),
        audience: "rover".to_owned(),
        role_claim: "role".to_owned(),
        key: None,
        jwks: None,
    }
}

fn claims() -> Value {
    json!({"iss": "https://id.example", "aud": "rover", "sub": "ada", "role": "operator", "exp": NOW + 60})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn parts(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let signed = parts(header, claims);
    let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn ed25519() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn eddsa(header: &Value, claims: &Value) -> String {
    let signed = parts(header, claims);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(ed25519().sign(signed.as_bytes())))
}

fn jwks(keys: &Value) -> JwtKeys {
    JwtKeys::parse_jwks(&json!({"keys": keys}).to_string()).unwrap()
}

fn secret_key() -> JwtKeys {
    JwtKeys::parse_key(std::str::from_utf8(SECRET).unwrap()).unwrap()
}

fn public_key() -> JwtKeys {
    let x = URL_SAFE_NO_PAD.encode(ed25519().public_key());
    jwks(&json!([{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x}]))
}

#[test]
fn a_signed_token_names_its_holder() {
    let identity =
        verify(&settings(), &secret_key(), &hs256(&json!({"alg": "HS256"}), &claims(), SECRET), NOW);
    let identity = identity.unwrap();
    assert_eq!((identity.role, identity.name.as_str()), (Role::Operator, "ada"));
    assert!(matches!(identity.credential, Credential::Jwt { expires_s, .. } if expires_s == NOW + 60));
    for header in [json!({"alg": "EdDSA"}), json!({"alg": "EdDSA", "kid": "a", "typ": "JWT"})] {
        verify(&settings(), &public_key(), &eddsa(&header, &claims()), NOW).unwrap();
    }
}

#[test]
fn the_key_decides_the_algorithm() {
    let error = |keys: &JwtKeys, token: &str| verify(&settings(), keys, token, NOW).unwrap_err();
    let none = format!("{}.", parts(&json!({"alg": "none"}), &claims()));
    assert_eq!(error(&secret_key(), &none), JwtError::UnknownKey);
    assert_eq!(error(&public_key(), &none), JwtError::UnknownKey);
    // The public key as the secret of an HMAC.
    let public = ed25519().public_key().as_ref().to_vec();
    let confused = hs256(&json!({"alg": "HS256", "kid": "a"}), &claims(), &public);
    assert_eq!(error(&public_key(), &confused), JwtError::UnknownKey);
    let lying = hs256(&json!({"alg": "EdDSA", "kid": "a"}), &claims(), &public);
    assert_eq!(error(&public_key(), &lying), JwtError::Signature);
    assert_eq!(
        error(&secret_key(), &hs256(&json!({"alg": "HS256"}), &claims(), b"other")),
        JwtError::Signature
    );
    assert_eq!(
        error(&public_key(), &eddsa(&json!({"alg": "EdDSA", "kid": "b"}), &claims())),
        JwtError::UnknownKey
    );
    let critical = hs256(&json!({"alg": "HS256", "crit": ["exp"]}), &claims(), SECRET);
    assert!(matches!(error(&secret_key(), &critical), JwtError::Malformed(_)));
}

#[test]
fn every_claim_is_checked() {
    let error = |claims: &Value| {
        let token = hs256(&json!({"alg": "HS256"}), claims, SECRET);
        verify(&settings(), &secret_key(), &token, NOW).err()
    };
    assert_eq!(error(&with("iss", json!("evil"))), Some(JwtError::NotForUs("issuer (iss)")));
    assert_eq!(error(&without("iss")), Some(JwtError::NotForUs("issuer (iss)")));
    for audience in [json!("other"), json!(["a", "b"]), json!([]), json!(5), json!(null)] {
        assert_eq!(error(&with("aud", audience)), Some(JwtError::NotForUs("audience (aud)")));
    }
    assert_eq!(error(&with("aud", json!(["a", "rover"]))), None);
    assert_eq!(error(&with("exp", json!(NOW))), Some(JwtError::Expired(format_utc(NOW))));
    assert_eq!(error(&with("exp", json!(NOW as f64 + 0.5))), Some(JwtError::Expired(format_utc(NOW))));
    for claims in [without("exp"), with("exp", json!("tomorrow")), with("exp", json!(1e300)), without("sub")]
    {
        assert!(matches!(error(&claims), Some(JwtError::Claim(..))), "{claims}");
    }
    assert_eq!(error(&with("nbf", json!(NOW + JWT_AHEAD_S))), None);
    assert!(matches!(error(&with("nbf", json!(NOW + 31))), Some(JwtError::NotYet(_))));
    assert!(matches!(error(&with("nbf", json!("now"))), Some(JwtError::Claim(..))));
    for name in ["10.0.0.1", "a b", "ada\u{202e}bob"] {
        assert!(matches!(error(&with("sub", json!(name))), Some(JwtError::Claim(..))), "{name:?}");
    }
    for role in [json!("admin"), json!("Commander"), json!(["commander"]), json!(null)] {
        assert!(matches!(error(&with("role", role)), Some(JwtError::Claim(..))));
    }
    assert!(matches!(error(&without("role")), Some(JwtError::Claim(..))));
}

#[test]
fn a_damaged_token_is_an_error() {
    let token = hs256(&json!({"alg": "HS256"}), &claims(), SECRET);
    let verified = |token: &str| verify(&settings(), &secret_key(), token, NOW);
    assert!(verified(&token).is_ok());
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(verified(std::str::from_utf8(&bytes).unwrap()).is_err(), "{at}");
        assert!(verified(&token[..at]).is_err());
    }
    assert!(verified(&format!("{token}{}", "A".repeat(JWT_BYTES))).is_err());
    assert!(verified("..").is_err() && verified("").is_err() && verified("a.b").is_err());
}

#[test]
fn settings_name_one_kind_of_key() {
    assert!(settings().check().is_err());
    let key = Some("k".into());
    assert!(JwtSettings { key: key.clone(), ..settings() }.check().is_ok());
    assert!(JwtSettings { jwks: key.clone(), key: key.clone(), ..settings() }.check().is_err());
    assert!(JwtSettings { issuer: String::new(), key, ..settings() }.check().is_err());
}

proptest::proptest! {
    #[test]
    fn any_text_is_judged(token in "[A-Za-z0-9_.{}\"=-]{0,80}") {
        proptest::prop_assert!(verify(&settings(), &secret_key(), &token, NOW).is_err());
    }
}
