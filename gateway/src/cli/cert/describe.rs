//! Describes a certificate for a person.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use roverline_client::Fingerprint;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::X509Certificate;

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShowError {
    #[error("{}: {source}", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{} is no certificate in PEM format", .0.display())]
    Malformed(PathBuf),
}

/// A certificate's contents.
pub(super) struct Description {
    name: String,
    role: Option<String>,
    names: Vec<String>,
    issuer: String,
    expires: String,
    is_expired: bool,
    fingerprint: Fingerprint,
}

impl Description {
    /// Reads the first certificate of a file.
    pub(super) fn read(file: &Path) -> Result<Description, ShowError> {
        let malformed = || ShowError::Malformed(file.to_owned());
        let text = std::fs::read(file).map_err(|source| ShowError::Read { file: file.to_owned(), source })?;
        let (_, pem) = parse_x509_pem(&text).map_err(|_| malformed())?;
        let (_, certificate) = parse_x509_certificate(&pem.contents).map_err(|_| malformed())?;
        let subject = certificate.subject();
        let text = |name: Option<&str>| name.map(printable);
        let common = |name: &x509_parser::x509::X509Name<'_>| {
            text(name.iter_common_name().find_map(|name| name.as_str().ok())).unwrap_or_default()
        };
        Ok(Description {
            name: common(subject),
            role: text(subject.iter_organizational_unit().find_map(|unit| unit.as_str().ok())),
            names: names(&certificate),
            issuer: common(certificate.issuer()),
            expires: certificate.validity().not_after.to_string(),
            is_expired: !certificate.validity().is_valid(),
            fingerprint: Fingerprint::of(&pem.contents),
        })
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternative)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(printable(name)),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    alternative.value.general_names.iter().filter_map(name).collect()
}

/// Removes other characters: a certificate is untrusted input, and this is shown on a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect()
}

impl Display for Description {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let role = self.role.iter().map(|role| format!(", {role}")).collect::<String>();
        writeln!(f, "  name         {}{role}", self.name)?;
        if !self.names.is_empty() {
            writeln!(f, "  valid for    {}", self.names.join(", "))?;
        }
        let expired = if self.is_expired { " (not valid now)" } else { "" };
        writeln!(f, "  valid until  {}{expired}", self.expires)?;
        writeln!(f, "  signed by    {}", self.issuer)?;
        writeln!(f, "  fingerprint  {}", self.fingerprint)?;
        writeln!(f, "               {}", self.fingerprint.hex())
    }
}
