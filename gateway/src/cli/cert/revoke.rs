//! The authority's list of revoked certificates (CRL, RFC 5280).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use x509_parser::pem::parse_x509_pem;
use x509_parser::{parse_x509_certificate, parse_x509_crl};

use crate::cli::cert::authority::{CertError, check_file_name, read_authority};

/// The list's file, beside the authority.
const LIST: &str = "ca.crl";
/// Validity of the list. A newer list replaces it at any time; an expired one would lock out every client.
const LIST_YEARS: u32 = 10;
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The new list.
pub(super) struct Revoked {
    pub(super) list: PathBuf,
    /// How many certificates it names.
    pub(super) count: usize,
}

/// Adds the certificates of these names to the list of the authority in `dir`.
pub(super) fn revoke(dir: &Path, names: &[String]) -> Result<Revoked, CertError> {
    let issuer = read_authority(dir)?;
    let list = dir.join(LIST);
    let now = SystemTime::now();
    let mut all = read_list(&list)?;
    for name in names {
        check_file_name(name)?;
        let serial = read_serial(&dir.join(format!("{name}.crt")))?;
        if !all.iter().any(|known| known.serial_number == serial) {
            all.push(RevokedCertParams {
                serial_number: serial,
                revocation_time: now.into(),
                reason_code: None,
                invalidity_date: None,
            });
        }
    }
    let count = all.len();
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let params = CertificateRevocationListParams {
        this_update: now.into(),
        next_update: (now + YEAR * LIST_YEARS).into(),
        // It has to rise from list to list.
        crl_number: SerialNumber::from(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)),
        issuing_distribution_point: None,
        revoked_certs: all,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let text = params.signed_by(&issuer)?.pem()?;
    // As a whole: a gateway may be reading it.
    let new = dir.join(format!("{LIST}.new"));
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &list));
    written.map_err(|source| CertError::File { file: list.clone(), source })?;
    Ok(Revoked { list, count })
}

/// The PEM block in a file; none if there is no file.
fn read_pem(file: &Path, what: &'static str) -> Result<Option<Vec<u8>>, CertError> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CertError::File { file: file.to_owned(), source }),
    };
    match parse_x509_pem(&text) {
        Ok((_, pem)) => Ok(Some(pem.contents)),
        Err(_) => Err(CertError::Malformed { file: file.to_owned(), what }),
    }
}

fn read_serial(file: &Path) -> Result<SerialNumber, CertError> {
    let what = "certificate";
    let missing = || CertError::File { file: file.to_owned(), source: io::ErrorKind::NotFound.into() };
    let der = read_pem(file, what)?.ok_or_else(missing)?;
    let (_, certificate) =
        parse_x509_certificate(&der).map_err(|_| CertError::Malformed { file: file.to_owned(), what })?;
    Ok(SerialNumber::from_slice(certificate.raw_serial()))
}

/// The certificates that were revoked before.
fn read_list(file: &Path) -> Result<Vec<RevokedCertParams>, CertError> {
    let what = "revocation list (X509 CRL)";
    let Some(der) = read_pem(file, what)? else { return Ok(Vec::new()) };
    let (_, list) = parse_x509_crl(&der).map_err(|_| CertError::Malformed { file: file.to_owned(), what })?;
    let entry = |one: &x509_parser::revocation_list::RevokedCertificate<'_>| RevokedCertParams {
        serial_number: SerialNumber::from_slice(one.raw_serial()),
        revocation_time: one.revocation_date.to_datetime(),
        reason_code: None,
        invalidity_date: None,
    };
    Ok(list.iter_revoked_certificates().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;
    use crate::cli::cert::authority::{Purpose, create, issue};

    #[test]
    fn a_list_keeps_what_was_revoked_before() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path();
        create(dir, "Team", 1).unwrap();
        for name in ["ada", "bob"] {
            issue(dir, &Purpose::Client { name, role: Role::Operator }, 1).unwrap();
        }
        let counts = [&[][..], &["ada"], &["bob", "ada"], &[]].map(|names: &[&str]| {
            revoke(dir, &names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap().count
        });
        assert_eq!(counts, [0, 1, 2, 2]);
        let serials: Vec<_> =
            read_list(&dir.join(LIST)).unwrap().into_iter().map(|one| one.serial_number).collect();
        let expected = ["ada.crt", "bob.crt"].map(|file| read_serial(&dir.join(file)).unwrap());
        assert_eq!(serials, expected);
        assert!(revoke(dir, &["eve".to_owned()]).is_err(), "she has no certificate here");
    }
}
