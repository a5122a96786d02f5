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
    let credential = Credential::Certificate {
        serial: CertificateSerial::new(certificate.raw_serial()),
        not_after_s: certificate.validity().not_after.timestamp(),
    };
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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

    use super::*;

    /// The identity of a certificate with this common name that ends with the year 2098.
    fn identity_of(common_name: &str) -> Option<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.distinguished_name.push(DnType::OrganizationalUnitName, "operator");
        params.not_after = date_time_ymd(2099, 1, 1);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        identity(certificate.der(), &BTreeMap::new())
    }

    #[test]
    fn a_certificate_names_its_holder_role_and_end() {
        let ada = identity_of("ada").unwrap();
        assert_eq!((ada.role, ada.name.as_str()), (Role::Operator, "ada"));
        let Credential::Certificate { not_after_s, .. } = ada.credential else { panic!("{ada:?}") };
        assert_eq!(not_after_s, 4_070_908_800);
    }

    #[test]
    fn a_name_that_would_disguise_itself_names_nobody() {
        for name in ["10.0.0.5", "ada bob", "ada\u{202e}bob"] {
            assert_eq!(identity_of(name), None, "{name:?}");
        }
    }
}
