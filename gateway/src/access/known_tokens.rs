//! All tokens that are known at a moment: those of the token file, and JWTs by their keys; and the certificates that
//! are revoked.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use parking_lot::RwLock;
use roverline_source::clock::unix_ns;

use crate::access::credential::{CertificateSerial, Credential};
use crate::access::jwt::{self, JwtError, JwtSettings};
use crate::access::jwt_keys::{JwtKeyError, JwtKeys};
use crate::access::last_use::LastUseFile;
use crate::access::tokens::{TokenError, Tokens};
use crate::access::utc::format_utc;
use crate::access::watched_file::WatchedFile;
use crate::access::{AccessError, AccessSettings, AuthenticationError, Identity};

struct TokenFile {
    tokens: WatchedFile<Tokens, TokenError>,
    last_use: LastUseFile,
}

struct JwtIssuer {
    settings: JwtSettings,
    keys: WatchedFile<JwtKeys, JwtKeyError>,
}

/// The valid tokens and the revoked certificates.
pub struct KnownTokens {
    file: Option<TokenFile>,
    issuer: Option<JwtIssuer>,
    revoked_certificates: RwLock<BTreeSet<CertificateSerial>>,
}

impl KnownTokens {
    /// Reads the configured files for the first time.
    pub(super) fn open(settings: &AccessSettings) -> Result<KnownTokens, AccessError> {
        let file = |path: &Path| {
            let tokens = WatchedFile::open(path, Tokens::read)?;
            Ok::<_, AccessError>(TokenFile { tokens, last_use: LastUseFile::new(path) })
        };
        let issuer = |jwt: &JwtSettings| {
            let keys = match (&jwt.key, &jwt.jwks) {
                (Some(key), _) => WatchedFile::open(key, JwtKeys::read_key)?,
                (None, Some(jwks)) => WatchedFile::open(jwks, JwtKeys::read_jwks)?,
                (None, None) => return Ok(None),
            };
            Ok::<_, AccessError>(Some(JwtIssuer { settings: jwt.clone(), keys }))
        };
        Ok(KnownTokens {
            file: settings.tokens.as_deref().map(file).transpose()?,
            issuer: settings.jwt.as_ref().map(issuer).transpose()?.flatten(),
            revoked_certificates: RwLock::default(),
        })
    }

    /// The holder of a token.
    pub(super) fn identify(&self, token: &str) -> Result<Identity, AuthenticationError> {
        let now_s = unix_s();
        if let Some(file) = &self.file
            && let Some(found) = file.tokens.current().identify(token, now_s)
        {
            let identity = found?;
            file.last_use.note(&identity.name, now_s);
            return Ok(identity);
        }
        match &self.issuer {
            Some(issuer) if jwt::is_jwt(token) => {
                Ok(jwt::verify(&issuer.settings, &issuer.keys.current(), token, now_s)?)
            }
            _ => Err(AuthenticationError::UnknownToken),
        }
    }

    /// Replaces the certificates that are revoked.
    pub fn set_revoked_certificates(&self, revoked: BTreeSet<CertificateSerial>) {
        *self.revoked_certificates.write() = revoked;
    }

    /// Whether an identity that was shown before still has its token or certificate. It counts as a use of it.
    pub fn check(&self, identity: &Identity) -> Result<(), AuthenticationError> {
        self.check_at(identity, unix_s())
    }

    fn check_at(&self, identity: &Identity, now_s: i64) -> Result<(), AuthenticationError> {
        match (&identity.credential, &self.file, &self.issuer) {
            (Credential::None, ..) => Ok(()),
            (Credential::Certificate { serial, .. }, ..)
                if self.revoked_certificates.read().contains(serial) =>
            {
                Err(AuthenticationError::CertificateRevoked)
            }
            // A handshake takes it in its last second as well (RFC 5280, section 4.1.2.5).
            (Credential::Certificate { not_after_s, .. }, ..) if *not_after_s < now_s => {
                Err(AuthenticationError::CertificateExpired(format_utc(*not_after_s)))
            }
            (Credential::Certificate { .. }, ..) => Ok(()),
            (Credential::Token(hash), Some(file), _) => {
                file.tokens.current().check(hash, identity, now_s)?;
                file.last_use.note(&identity.name, now_s);
                Ok(())
            }
            (Credential::Jwt { expires_s, .. }, ..) if *expires_s <= now_s => {
                Err(JwtError::Expired(format_utc(*expires_s)).into())
            }
            (Credential::Jwt { key, .. }, _, Some(issuer)) if issuer.keys.current().has(key) => Ok(()),
            _ => Err(AuthenticationError::Revoked),
        }
    }

    /// Reads the files again that have changed, or all of them, and stores when tokens were used. Blocks for as
    /// long as the disk does.
    pub fn refresh(&self, in_any_case: bool, now: Duration) {
        if let Some(file) = &self.file {
            file.tokens.refresh(in_any_case);
            file.last_use.write_if_due(now);
        }
        if let Some(issuer) = &self.issuer {
            issuer.keys.refresh(in_any_case);
        }
    }

    /// The error that keeps the current files from being used.
    pub fn problem(&self) -> Option<String> {
        let tokens = self.file.as_ref().and_then(|file| file.tokens.problem());
        let problem = tokens.or_else(|| self.issuer.as_ref().and_then(|issuer| issuer.keys.problem()));
        problem.map(|problem| format!("{problem}; what was read before stays in effect"))
    }
}

fn unix_s() -> i64 {
    unix_ns().div_euclid(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Role, add_token, revoke_token, rotate_token};

    /// `eve`, an operator until 2099.
    const JWT: &str = concat!(
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
        "eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJyb3ZlciIsInN1YiI6ImV2ZSIsInJvbGUi",
        "OiJvcGVyYXRvciIsImV4cCI6NDA3MDkwODgwMH0.",
        "l3dH1DBEqVTqL226k5mO1bqypct84A4nwyNZeTb27_4"
    );

    #[test]
    fn a_jwt_is_known_until_its_end_or_that_of_its_key() {
        let scratch = tempfile::tempdir().unwrap();
        let key = scratch.path().join("key");
        let write_key = |secret: &str| {
            std::fs::write(&key, secret).unwrap();
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&key, private).unwrap();
        };
        write_key("0123456789abcdef0123456789abcdef");
        let jwt = JwtSettings {
            issuer: "https://id.example".to_owned(),
            audience: "rover".to_owned(),
            role_claim: "role".to_owned(),
            key: Some(key.clone()),
            jwks: None,
        };
        let settings = AccessSettings { jwt: Some(jwt), ..AccessSettings::default() };
        let known = KnownTokens::open(&settings).unwrap();
        let eve = known.identify(JWT).unwrap();
        assert_eq!((eve.role, eve.name.as_str(), known.check(&eve)), (Role::Operator, "eve", Ok(())));
        let end = 4_070_908_800;
        assert_eq!(known.check_at(&eve, end - 1), Ok(()));
        let expired = known.check_at(&eve, end).unwrap_err().to_string();
        assert_eq!(expired, "this JWT expired at 2099-01-01T00:00:00Z; get a new one");
        write_key("another secret of more than 32 bytes");
        known.refresh(false, Duration::from_secs(1));
        assert_eq!(known.check(&eve), Err(AuthenticationError::Revoked));
        assert_eq!(known.identify(JWT), Err(AuthenticationError::Jwt(JwtError::Signature)));
    }

    #[test]
    fn a_certificate_is_known_until_its_end_or_its_revocation() {
        let known = KnownTokens::open(&AccessSettings::default()).unwrap();
        let end = 4_070_908_800;
        let serial = CertificateSerial::new(&[0, 7]);
        let credential = Credential::Certificate { serial: serial.clone(), not_after_s: end };
        let ada = Identity { role: Role::Operator, name: "ada".to_owned(), credential };
        assert_eq!(known.check_at(&ada, end), Ok(()), "its last second");
        let expired = known.check_at(&ada, end + 1).unwrap_err().to_string();
        assert!(expired.starts_with("this certificate expired at 2099-01-01T00:00:00Z;"), "{expired}");
        known.set_revoked_certificates(BTreeSet::from([CertificateSerial::new(&[8])]));
        assert_eq!(known.check(&ada), Ok(()), "another one is revoked");
        known.set_revoked_certificates(BTreeSet::from([serial]));
        assert_eq!(known.check(&ada), Err(AuthenticationError::CertificateRevoked));
    }

    #[test]
    fn a_token_is_known_until_it_is_taken_out() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("tokens");
        let ada = add_token(&path, Role::Operator, "ada", None).unwrap();
        let settings = AccessSettings { tokens: Some(path.clone()), ..AccessSettings::default() };
        let known = KnownTokens::open(&settings).unwrap();
        let ada = known.identify(&ada).unwrap();
        let bob = add_token(&path, Role::Commander, "bob", None).unwrap();
        assert!(known.identify(&bob).is_err());
        known.refresh(false, Duration::from_secs(1));
        let bob = known.identify(&bob).unwrap();
        assert_eq!((known.check(&ada), known.check(&bob)), (Ok(()), Ok(())));
        rotate_token(&path, "ada", None, 0).unwrap();
        known.refresh(false, Duration::from_secs(2));
        assert_eq!((known.check(&ada), known.check(&bob)), (Err(AuthenticationError::Revoked), Ok(())));
        std::fs::write(&path, "nonsense").unwrap();
        known.refresh(false, Duration::from_secs(3));
        assert_eq!(known.check(&bob), Ok(()));
        let problem = known.problem().unwrap();
        assert!(problem.contains("tokens:1: write ROLE NAME TOKEN"), "{problem}");
        assert!(problem.ends_with("what was read before stays in effect"), "{problem}");
        std::fs::write(&path, "observer bob 0123456789abcdef\n").unwrap();
        revoke_token(&path, "bob").unwrap();
        // An empty file counts once it is found empty again.
        known.refresh(false, Duration::from_secs(4));
        known.refresh(false, Duration::from_secs(5));
        assert_eq!((known.check(&bob), known.problem()), (Err(AuthenticationError::Revoked), None));
        assert_eq!(known.check(&Identity::default()), Ok(()));
    }
}
