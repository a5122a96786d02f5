//! The identity that a client's certificate proves: its name, and its role.

use std::collections::BTreeMap;

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::X509Certificate;

use crate::access::{CertificateSerial, Credential, Identity, Role, check_name};
use crate::server::tls::certificate_names;

/// The identity of a certificate that was verified: its common name, or the first name in it, with the role
/// that `roles` gives to that name, or the one that its organizational unit names; otherwise an observer's.
pub(super) fn identity(shown: &CertificateDer<'_>, roles: &BTreeMap<String, Role>) -> Option<Identity> {
    let (_, certificate) = parse_x509_certificate(shown).ok()?;
    let name = name(&certificate)?;
    let units = certificate.subject().iter_organizational_unit();
    let unit = || units.filter_map(|unit| unit.as_str().ok()).find_map(role);
    let role = roles.get(&name).copied().or_else(unit).unwrap_or(Role::Observer);
    let credential = Credential::Certificate(CertificateSerial::new(certificate.raw_serial()));
    Some(Identity { role, name, credential })
}

fn name(certificate: &X509Certificate<'_>) -> Option<String> {
    let common = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
    let alternative = || certificate_names::of(certificate).next();
    let name = common.or_else(alternative)?;
    // Clients without a name are identified by their address.
    check_name(name).is_ok().then(|| name.to_owned())
}

fn role(unit: &str) -> Option<Role> {
    [Role::Observer, Role::Operator, Role::Commander].into_iter().find(|role| role.name() == unit)
}
