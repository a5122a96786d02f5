//! The keys that verify JWTs: one key in a file, or a JSON Web Key Set (RFC 7517, RFC 8037).

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Keys of a set.
const JWT_KEY_ENTRIES: usize = 16;
/// Size of a key file.
const JWT_KEY_FILE_BYTES: u64 = 64 << 10;
/// Shortest secret of HS256 (RFC 7518, section 3.2).
const JWT_SECRET_BYTES: usize = 32;
/// The prefix of the 32 bytes of an Ed25519 public key in DER (RFC 8410).
const ED25519_DER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwtKeyError {
    /// The file cannot be read.
    #[error("cannot read the JWT keys in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Others may read a secret, or write keys.
    #[error("others may {what} the JWT keys in {0} (mode {mode:03o}); run: chmod {right} {0}", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The excessive permission.
        what: &'static str,
        /// The right permission bits.
        right: &'static str,
    },
    /// It contains no usable key.
    #[error("{}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: KeyFormatError,
    },
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormatError {
    /// Another kind of PEM file.
    #[error("this is no Ed25519 public key in PEM; `openssl pkey -pubout` writes one")]
    Pem,
    /// A short secret.
    #[error("the secret of HS256 has at least {JWT_SECRET_BYTES} bytes")]
    ShortSecret,
    /// No JWKS.
    #[error("this is no JSON Web Key Set with a list of keys")]
    Jwks,
    /// A malformed key.
    #[error("an Ed25519 key (OKP) or a secret (oct) is malformed")]
    Key,
    /// No usable key.
    #[error("there is no key for EdDSA (Ed25519) or HS256 in it")]
    None,
    /// Too many keys.
    #[error("there are more than {JWT_KEY_ENTRIES} keys in it")]
    TooMany,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    Ed25519(Vec<u8>),
    Secret(Vec<u8>),
}

/// A key, which fixes its algorithm.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct JwtKey {
    id: Option<String>,
    material: Material,
}

impl JwtKey {
    fn algorithm(&self) -> &'static str {
        match self.material {
            Material::Ed25519(_) => "EdDSA",
            Material::Secret(_) => "HS256",
        }
    }

    /// Verifies a signature; that of a secret takes the same time wherever it is wrong.
    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(signed, signature).is_ok(),
            Material::Secret(secret) => {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed, signature).is_ok()
            }
        }
    }

    /// Identifies the key without revealing it.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let (Material::Ed25519(bytes) | Material::Secret(bytes)) = &self.material;
        Sha256::new_with_prefix(b"roverline jwt key").chain_update(bytes).finalize().into()
    }
}

/// The keys that are accepted.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct JwtKeys(Vec<JwtKey>);

impl JwtKeys {
    /// Reads a file with one key.
    pub fn read_key(path: &Path) -> Result<JwtKeys, JwtKeyError> {
        read(path, JwtKeys::parse_key)
    }

    /// Reads a file with a key set.
    pub fn read_jwks(path: &Path) -> Result<JwtKeys, JwtKeyError> {
        read(path, JwtKeys::parse_jwks)
    }

    /// Parses an Ed25519 public key in PEM; any other text is the secret of HS256.
    pub fn parse_key(text: &str) -> Result<JwtKeys, KeyFormatError> {
        let text = text.trim();
        let material = if text.contains("-----BEGIN") {
            let body = text.strip_prefix("-----BEGIN PUBLIC KEY-----");
            let body = body.and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"));
            let body: String = body.ok_or(KeyFormatError::Pem)?.split_whitespace().collect();
            let der = STANDARD.decode(body).map_err(|_| KeyFormatError::Pem)?;
            let key = der.strip_prefix(&ED25519_DER).filter(|key| key.len() == 32);
            Material::Ed25519(key.ok_or(KeyFormatError::Pem)?.to_vec())
        } else if text.len() < JWT_SECRET_BYTES {
            return Err(KeyFormatError::ShortSecret);
        } else {
            Material::Secret(text.as_bytes().to_vec())
        };
        Ok(JwtKeys(vec![JwtKey { id: None, material }]))
    }

    /// Parses a key set. Keys of other kinds, and for other uses, are left out.
    pub fn parse_jwks(text: &str) -> Result<JwtKeys, KeyFormatError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_str(text).map_err(|_| KeyFormatError::Jwks)?;
        let mut keys = Vec::new();
        for key in &set.keys {
            let field = |name: &str| key.get(name).and_then(Value::as_str);
            let bytes = |name: &str| {
                let text = field(name).ok_or(KeyFormatError::Key)?;
                URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyFormatError::Key)
            };
            let is_for = |algorithm: &str| {
                field("use").is_none_or(|r#use| r#use == "sig")
                    && field("alg").is_none_or(|alg| alg == algorithm)
            };
            let material = match (field("kty"), field("crv")) {
                (Some("OKP"), Some("Ed25519")) if is_for("EdDSA") => {
                    let key = bytes("x")?;
                    if key.len() != 32 {
                        return Err(KeyFormatError::Key);
                    }
                    Material::Ed25519(key)
                }
                (Some("oct"), None) if is_for("HS256") => Material::Secret(bytes("k")?),
                _ => continue,
            };
            if matches!(&material, Material::Secret(secret) if secret.len() < JWT_SECRET_BYTES) {
                return Err(KeyFormatError::ShortSecret);
            }
            if keys.len() >= JWT_KEY_ENTRIES {
                return Err(KeyFormatError::TooMany);
            }
            keys.push(JwtKey { id: field("kid").map(str::to_owned), material });
        }
        if keys.is_empty() { Err(KeyFormatError::None) } else { Ok(JwtKeys(keys)) }
    }

    /// The keys of this algorithm; if the token names one, that one, or those without a name.
    pub(super) fn matching(&self, algorithm: &str, id: Option<&str>) -> impl Iterator<Item = &JwtKey> {
        self.0.iter().filter(move |key| {
            let is_named = |id| key.id.as_deref().is_none_or(|own| own == id);
            key.algorithm() == algorithm && id.is_none_or(is_named)
        })
    }

    /// Whether a key is still accepted.
    pub(super) fn has(&self, fingerprint: &[u8; 32]) -> bool {
        self.0.iter().any(|key| key.fingerprint() == *fingerprint)
    }

    fn has_secret(&self) -> bool {
        self.0.iter().any(|key| matches!(key.material, Material::Secret(_)))
    }
}

fn read(path: &Path, parse: fn(&str) -> Result<JwtKeys, KeyFormatError>) -> Result<JwtKeys, JwtKeyError> {
    let fault = |source| JwtKeyError::Read { path: path.to_owned(), source };
    let about = fs::metadata(path).map_err(fault)?;
    if about.len() > JWT_KEY_FILE_BYTES {
        return Err(fault(io::Error::other("the file is too large")));
    }
    let keys = parse(&fs::read_to_string(path).map_err(fault)?)
        .map_err(|reason| JwtKeyError::Unusable { path: path.to_owned(), reason })?;
    let mode = about.permissions().mode() & 0o777;
    let (forbidden, what, right) =
        if keys.has_secret() { (0o077, "read", "600") } else { (0o022, "write", "644") };
    match mode & forbidden {
        0 => Ok(keys),
        _ => Err(JwtKeyError::Permissions { path: path.to_owned(), mode, what, right }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_read_from_pem() {
        let pem = "-----BEGIN PUBLIC KEY-----\n\
                   MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                   -----END PUBLIC KEY-----\n";
        let keys = JwtKeys::parse_key(pem).unwrap();
        assert_eq!(keys.0[0].algorithm(), "EdDSA");
        assert!(!keys.has_secret());
        for wrong in [pem.replace("PUBLIC", "PRIVATE"), pem.replace("MCow", "MCox"), pem.replace("ZuE=", "")]
        {
            assert_eq!(JwtKeys::parse_key(&wrong).err(), Some(KeyFormatError::Pem));
        }
        assert_eq!(JwtKeys::parse_key("short").err(), Some(KeyFormatError::ShortSecret));
    }

    #[test]
    fn a_set_has_the_keys_that_are_of_use() {
        let x = URL_SAFE_NO_PAD.encode([1; 32]);
        let error = |keys: &str| JwtKeys::parse_jwks(&format!(r#"{{"keys":[{keys}]}}"#)).err();
        let okp = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"a"}}"#);
        let rsa = r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#;
        assert_eq!(error(&format!("{okp},{rsa}")), None);
        assert_eq!(error(rsa), Some(KeyFormatError::None));
        assert_eq!(error(&okp.replace("\"kid\":\"a\"", "\"use\":\"enc\"")), Some(KeyFormatError::None));
        assert_eq!(error(&okp.replace("\"kid\":\"a\"", "\"alg\":\"HS256\"")), Some(KeyFormatError::None));
        assert_eq!(error(&okp.replace(&x, "AQAB")), Some(KeyFormatError::Key));
        assert_eq!(error(r#"{"kty":"oct","k":"AQAB"}"#), Some(KeyFormatError::ShortSecret));
        assert_eq!(error(&vec![okp.as_str(); 17].join(",")), Some(KeyFormatError::TooMany));
        assert_eq!(JwtKeys::parse_jwks("[]").err(), Some(KeyFormatError::Jwks));
        let named = JwtKeys::parse_jwks(&format!(r#"{{"keys":[{okp}]}}"#)).unwrap();
        let count = |id| named.matching("EdDSA", id).count();
        assert_eq!((count(Some("a")), count(Some("b")), count(None)), (1, 0, 1));
    }

    #[test]
    fn a_secret_is_for_its_owner_only() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("key");
        fs::write(&path, "x".repeat(32)).unwrap();
        let with_mode = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            JwtKeys::read_key(&path)
        };
        assert!(with_mode(0o600).is_ok());
        assert!(with_mode(0o640).err().unwrap().to_string().contains("chmod 600"));
    }
}
