//! Creates the authority and signs certificates with it. Files are never overwritten.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::access::{NameError, Role, check_name};

/// The authority's files.
pub(super) const AUTHORITY_CERT: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const AUTHORITY: &str = "ca";
/// Characters of a name.
const NAME_CHARS: usize = 64;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertError {
    #[error("{} exists already, and nothing is overwritten: move it away, or choose another --dir", .0.display())]
    Exists(PathBuf),
    #[error("there is no authority in {}: make it with `roverline-gateway cert init`, or name its --dir", .0.display())]
    NoAuthority(PathBuf),
    #[error("{}: {source}", file.display())]
    File { file: PathBuf, source: io::Error },
    #[error(
        "'{0}' is no name for a certificate: write letters, digits, '.', '-' and '_', at most {NAME_CHARS}"
    )]
    Name(String),
    #[error(transparent)]
    Client(#[from] NameError),
    #[error("'{0}' is neither a host's name nor an address")]
    Host(String),
    #[error("the authority cannot be used: {0}")]
    Authority(rcgen::Error),
    #[error("{} is no {what} in PEM format", file.display())]
    Malformed { file: PathBuf, what: &'static str },
    #[error("the certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// The purpose of a certificate.
pub(super) enum Purpose<'a> {
    /// A computer that runs a gateway, by names and addresses.
    Node { hosts: &'a [String] },
    /// A client.
    Client { name: &'a str, role: Role },
}

/// The files of a new certificate.
pub(super) struct Made {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

/// Creates the authority in `dir`, which is created as well.
pub(super) fn create(dir: &Path, name: &str, days: u32) -> Result<Made, CertError> {
    if name.is_empty() || name.chars().count() > NAME_CHARS || name.chars().any(char::is_control) {
        return Err(CertError::Name(name.to_owned()));
    }
    fs::create_dir_all(dir).map_err(|source| CertError::File { file: dir.to_owned(), source })?;
    let mut params = params(days);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    store(dir, AUTHORITY, &certificate, &key)
}

/// Signs a certificate with the authority in `dir`.
pub(super) fn issue(dir: &Path, purpose: &Purpose<'_>, days: u32) -> Result<Made, CertError> {
    let (mut params, name) = match purpose {
        Purpose::Node { hosts } => node(hosts, days)?,
        Purpose::Client { name, role } => client(name, *role, days)?,
    };
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let issuer = read_authority(dir)?;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    store(dir, name, &certificate, &key)
}

fn node(hosts: &[String], days: u32) -> Result<(CertificateParams, &str), CertError> {
    let mut params = params(days);
    let name = hosts.first().map_or("", String::as_str);
    check_file_name(name)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let local = ["localhost", "127.0.0.1", "::1"];
    for host in hosts.iter().map(String::as_str).chain(local) {
        let alternative = match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if is_host_name(host) => SanType::DnsName(host.try_into()?),
            Err(_) => return Err(CertError::Host(host.to_owned())),
        };
        if !params.subject_alt_names.contains(&alternative) {
            params.subject_alt_names.push(alternative);
        }
    }
    // Gateways are clients of each other.
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok((params, name))
}

fn client(name: &str, role: Role, days: u32) -> Result<(CertificateParams, &str), CertError> {
    check_file_name(name)?;
    check_name(name)?;
    let mut params = params(days);
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationalUnitName, role.name());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok((params, name))
}

fn params(days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // A rover's computer may have no clock and start in the past.
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = (SystemTime::now() + DAY * days).into();
    params
}

fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        !label.is_empty() && inner && !label.starts_with('-')
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

/// Names become names of files.
pub(super) fn check_file_name(name: &str) -> Result<(), CertError> {
    let usable = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    let ok = usable && !name.is_empty() && name.len() <= NAME_CHARS && !name.starts_with(['.', '-']);
    if ok && name != AUTHORITY { Ok(()) } else { Err(CertError::Name(name.to_owned())) }
}

pub(super) fn read_authority(dir: &Path) -> Result<Issuer<'static, KeyPair>, CertError> {
    let read = |name: &str| {
        let file = dir.join(name);
        fs::read_to_string(&file).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => CertError::NoAuthority(dir.to_owned()),
            _ => CertError::File { file, source },
        })
    };
    let (cert, key) = (read(AUTHORITY_CERT)?, read(AUTHORITY_KEY)?);
    let key = KeyPair::from_pem(&key).map_err(CertError::Authority)?;
    Issuer::from_ca_cert_pem(&cert, key).map_err(CertError::Authority)
}

/// Writes both files, or none if one of them exists.
fn store(dir: &Path, name: &str, certificate: &Certificate, key: &KeyPair) -> Result<Made, CertError> {
    let made = Made { cert: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) };
    if let Some(file) = [&made.cert, &made.key].into_iter().find(|file| file.symlink_metadata().is_ok()) {
        return Err(CertError::Exists(file.clone()));
    }
    write(&made.key, &key.serialize_pem(), 0o600)?;
    write(&made.cert, &certificate.pem(), 0o644)?;
    Ok(made)
}

fn write(file: &Path, text: &str, mode: u32) -> Result<(), CertError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
    let written = created.and_then(|mut created| {
        created.write_all(text.as_bytes())?;
        created.sync_all()
    });
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => CertError::Exists(file.to_owned()),
        _ => CertError::File { file: file.to_owned(), source },
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn certificates_are_made_once_and_their_keys_are_private() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("tls");
        let client = Purpose::Client { name: "ada", role: Role::Operator };
        let missing = issue(&dir, &client, 1).err().unwrap().to_string();
        assert!(missing.contains("cert init"), "{missing}");
        let ca = create(&dir, "Team", 1).unwrap();
        let made = issue(&dir, &client, 1).unwrap();
        for key in [&ca.key, &made.key] {
            assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let before = fs::read(&made.key).unwrap();
        assert!(matches!(issue(&dir, &client, 1), Err(CertError::Exists(_))));
        assert!(matches!(create(&dir, "Team", 1), Err(CertError::Exists(_))));
        fs::remove_file(&made.cert).unwrap();
        assert!(matches!(issue(&dir, &client, 1), Err(CertError::Exists(_))), "the key alone counts");
        assert_eq!(fs::read(&made.key).unwrap(), before);
    }

    #[test]
    fn a_name_is_the_name_of_a_file_and_a_host_is_a_host() {
        for name in ["", "ca", "../x", "a b", ".x", "-x", "a/b", &"x".repeat(65)] {
            assert!(check_file_name(name).is_err(), "{name}");
        }
        let hosts = |hosts: &[&str]| hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>();
        let (params, name) = (hosts(&["rover.local", "10.0.0.5", "fe80::1"]), "rover.local");
        let (params, made) = node(&params, 1).map(|(params, made)| (params, made.to_owned())).unwrap();
        assert_eq!((params.subject_alt_names.len(), made.as_str()), (6, name));
        assert!(node(&hosts(&["rover", "not a host"]), 1).is_err());
        assert!(client("10.0.0.5", Role::Observer, 1).is_err(), "it would pass for a client without a name");
    }
}
