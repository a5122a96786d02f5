//! The DNS names in a certificate (RFC 5280, section 4.2.1.6).

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::X509Certificate;

/// The names of a certificate; none if it cannot be read.
pub(super) fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    match parse_x509_certificate(certificate) {
        Ok((_, certificate)) => of(&certificate).map(str::to_owned).collect(),
        Err(_) => Vec::new(),
    }
}

/// The names of a certificate that was parsed.
pub(super) fn of<'a>(certificate: &'a X509Certificate<'_>) -> impl Iterator<Item = &'a str> {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.into_iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    })
}
