//! JSON Web Tokens (RFC 7519) as a second kind of token, signed with Ed25519 (`EdDSA`) or HMAC-SHA-256
//! (`HS256`). The key decides the algorithm, never the token's header.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::access::credential::Credential;
use crate::access::holder_name::check_name;
use crate::access::jwt_keys::JwtKeys;
use crate::access::utc::format_utc;
use crate::access::{Identity, Role};

/// Size of a JWT.
const JWT_BYTES: usize = 4 << 10;
/// How much the issuer's clock may be ahead of ours.
const JWT_AHEAD_S: i64 = 30;

/// The `[access.jwt]` section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSettings {
    /// The issuer (`iss`).
    pub issuer: String,
    /// The audience (`aud`): this rover, or the team's rovers.
    pub audience: String,
    /// The claim that has the role.
    #[serde(default = "default_role_claim")]
    pub role_claim: String,
    /// A file with an Ed25519 public key in PEM, or with the secret of HS256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<std::path::PathBuf>,
    /// A file with a JSON Web Key Set (RFC 7517), instead of one key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<std::path::PathBuf>,
}

fn default_role_claim() -> String {
    "role".to_owned()
}

impl JwtSettings {
    /// Checks what the types do not; the error says what to write.
    pub fn check(&self) -> Result<(), &'static str> {
        match (&self.key, &self.jwks) {
            _ if self.issuer.is_empty() || self.audience.is_empty() || self.role_claim.is_empty() => {
                Err("write an issuer, an audience and a role claim")
            }
            (Some(_), None) | (None, Some(_)) => Ok(()),
            _ => Err("write either key or jwks"),
        }
    }
}

/// Why a JWT identifies no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is no JWT that is understood here.
    #[error("this JWT is malformed: {0}")]
    Malformed(&'static str),
    /// No key has its algorithm and key id.
    #[error("this JWT is signed by no key that is known here, or not with its algorithm")]
    UnknownKey,
    /// The signature is wrong.
    #[error("this JWT's signature is wrong")]
    Signature,
    /// It has another issuer or audience.
    #[error("this JWT is not for this rover: its {0} is another one")]
    NotForUs(&'static str),
    /// It has expired.
    #[error("this JWT expired at {0}; get a new one")]
    Expired(String),
    /// It is not valid yet.
    #[error("this JWT is not valid before {0}")]
    NotYet(String),
    /// A claim is missing or not usable.
    #[error("this JWT's claim '{0}' is missing or of no use here: {1}")]
    Claim(String, &'static str),
}

impl JwtError {
    /// Whether this may be a guessing attempt; a correctly signed token is not.
    pub fn is_attempt(&self) -> bool {
        matches!(self, JwtError::Malformed(_) | JwtError::UnknownKey | JwtError::Signature)
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<Value>,
}

/// Whether a token has the three parts of a JWT.
pub(super) fn is_jwt(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Identifies the holder of a JWT.
pub fn verify(
    settings: &JwtSettings,
    keys: &JwtKeys,
    token: &str,
    unix_s: i64,
) -> Result<Identity, JwtError> {
    if token.len() > JWT_BYTES {
        return Err(JwtError::Malformed("it is longer than 4096 bytes"));
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed("it has three parts"))?;
    let (header, payload) = signed.split_once('.').ok_or(JwtError::Malformed("it has three parts"))?;
    let header: Header = serde_json::from_slice(&decode(header)?)
        .map_err(|_| JwtError::Malformed("its header is no JSON object with an algorithm"))?;
    if header.crit.is_some() {
        return Err(JwtError::Malformed("its header has critical extensions"));
    }
    let mut candidates = keys.matching(&header.alg, header.kid.as_deref()).peekable();
    if candidates.peek().is_none() {
        return Err(JwtError::UnknownKey);
    }
    let signature = decode(signature)?;
    let key =
        candidates.find(|key| key.verifies(signed.as_bytes(), &signature)).ok_or(JwtError::Signature)?;
    let claims: Map<String, Value> = serde_json::from_slice(&decode(payload)?)
        .map_err(|_| JwtError::Malformed("its claims are no JSON object"))?;
    let (name, role, expires_s) = check(settings, &claims, unix_s)?;
    Ok(Identity { role, name, credential: Credential::Jwt { key: key.fingerprint(), expires_s } })
}

fn decode(part: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed("a part is not in base64url"))
}

/// Checks the claims: the holder's name and role, and the end.
fn check(
    settings: &JwtSettings,
    claims: &Map<String, Value>,
    unix_s: i64,
) -> Result<(String, Role, i64), JwtError> {
    let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
    let unusable = |claim: &str, why| JwtError::Claim(claim.to_owned(), why);
    if text("iss") != Some(&settings.issuer) {
        return Err(JwtError::NotForUs("issuer (iss)"));
    }
    let is_ours = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(&settings.audience)),
        one => one.and_then(Value::as_str) == Some(&settings.audience),
    };
    if !is_ours {
        return Err(JwtError::NotForUs("audience (aud)"));
    }
    let expires_s =
        claims.get("exp").and_then(seconds).ok_or_else(|| unusable("exp", "say its end in seconds"))?;
    if expires_s <= unix_s {
        return Err(JwtError::Expired(format_utc(expires_s)));
    }
    if let Some(begin) = claims.get("nbf") {
        let begin_s = seconds(begin).ok_or_else(|| unusable("nbf", "say its beginning in seconds"))?;
        if begin_s > unix_s.saturating_add(JWT_AHEAD_S) {
            return Err(JwtError::NotYet(format_utc(begin_s)));
        }
    }
    let name = text("sub").ok_or_else(|| unusable("sub", "it names the holder"))?;
    check_name(name).map_err(|_| unusable("sub", "it is no name, or too long, or an address"))?;
    let role = match text(&settings.role_claim) {
        Some("observer") => Role::Observer,
        Some("operator") => Role::Operator,
        Some("commander") => Role::Commander,
        _ => return Err(unusable(&settings.role_claim, "the role is observer, operator or commander")),
    };
    Ok((name.to_owned(), role, expires_s))
}

/// A NumericDate (RFC 7519, section 2), rounded down.
fn seconds(value: &Value) -> Option<i64> {
    let whole = |seconds: f64| (seconds.abs() < 1e15).then_some(seconds.floor() as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(whole))
}

#[cfg(test)]
mod tests;
