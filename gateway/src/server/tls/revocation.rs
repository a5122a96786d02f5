//! The certificates that their authority has revoked, from its list (CRL, RFC 5280).

use std::collections::BTreeSet;
use std::path::Path;

use tokio_rustls::rustls::pki_types::CertificateRevocationListDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use x509_parser::parse_x509_crl;

use crate::access::CertificateSerial;
use crate::server::tls::certificates::TlsFileError;

/// Reads the lists in a file; none without one.
pub(super) fn read(file: Option<&Path>) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFileError> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let fault = |source| TlsFileError::Pem { file: file.to_owned(), source };
    let lists = CertificateRevocationListDer::pem_file_iter(file).map_err(fault)?;
    let lists = lists.collect::<Result<Vec<_>, _>>().map_err(fault)?;
    match lists.is_empty() {
        true => Err(TlsFileError::Empty { file: file.to_owned(), what: "revocation list (X509 CRL)" }),
        false => Ok(lists),
    }
}

/// The certificates in lists. One that is no list is refused where the lists are used.
pub(super) fn serials(lists: &[CertificateRevocationListDer<'_>]) -> BTreeSet<CertificateSerial> {
    let mut serials = BTreeSet::new();
    for list in lists {
        if let Ok((_, list)) = parse_x509_crl(list) {
            serials
                .extend(list.iter_revoked_certificates().map(|one| CertificateSerial::new(one.raw_serial())));
        }
    }
    serials
}
