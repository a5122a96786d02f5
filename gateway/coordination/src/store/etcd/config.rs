//! Where a cluster is and how one gets in: `etcd://[user@]a:2379,b:2379[/prefix]`, with TLS
//! `etcds://...?ca=FILE&cert=FILE&key=FILE`.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The environment variable with the password, where no file is named. Not a flag: others see those.
pub(super) const PASSWORD: &str = "ROVERLINE_ETCD_PASSWORD";

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Its members: host and port.
    pub(super) members: Vec<(String, u16)>,
    /// Whether they speak TLS.
    pub(super) tls: bool,
    /// With what all keys begin, so that others can use the cluster as well.
    pub(super) prefix: String,
    pub(super) user: Option<String>,
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Place {
    /// Reads it; the error is a sentence for whoever wrote it.
    pub(super) fn parse(text: &str) -> Result<Place, String> {
        let (tls, rest) = match (text.strip_prefix("etcd://"), text.strip_prefix("etcds://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err("write etcd://host:2379,host:2379 or etcds://...".to_owned()),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (rest, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match rest.rsplit_once('@') {
            Some((user, hosts)) => (Some(user.to_owned()), hosts),
            None => (None, rest),
        };
        if user.as_ref().is_some_and(|user| user.contains(':')) {
            return Err(format!("write no password there: put it into {PASSWORD} or ?password_file=FILE"));
        }
        let prefix = match prefix.trim_matches('/') {
            "" => "roverline/".to_owned(),
            prefix => format!("{prefix}/"),
        };
        let members = hosts.split(',').map(member).collect::<Result<_, _>>()?;
        let mut place = Place { members, tls, prefix, user, ..Place::default() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let target = match name {
                "ca" => &mut place.ca,
                "cert" => &mut place.cert,
                "key" => &mut place.key,
                "password_file" => &mut place.password_file,
                _ => return Err(format!("'{name}' is none of ca, cert, key, password_file")),
            };
            *target = Some(PathBuf::from(value));
        }
        match (place.tls, &place.ca, place.cert.is_some() == place.key.is_some()) {
            (true, None, _) => Err("etcds needs ?ca=FILE: who signed the members' certificates".to_owned()),
            (false, Some(_), _) => Err("ca is for etcds://".to_owned()),
            (_, _, false) => Err("cert and key go together".to_owned()),
            _ => Ok(place),
        }
    }

    /// The user and the password, if there is a user.
    pub(super) fn credentials(&self) -> Result<Option<(String, String)>, String> {
        let Some(user) = &self.user else { return Ok(None) };
        let password = match &self.password_file {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|error| format!("cannot read {}: {error}", file.display()))?,
            None => std::env::var(PASSWORD)
                .map_err(|_| format!("{user} needs a password: {PASSWORD} or ?password_file=FILE"))?,
        };
        Ok(Some((user.clone(), password.trim_end_matches(['\r', '\n']).to_owned())))
    }

    /// What encrypts, if anything does.
    pub(super) fn connector(&self) -> Result<Option<TlsConnector>, String> {
        let Some(ca) = self.ca.as_ref().filter(|_| self.tls) else { return Ok(None) };
        let bad = |file: &PathBuf, error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let certificates = |file: &PathBuf| {
            CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| bad(file, &error))
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(|error| bad(ca, &error))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let mut config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, &error))?;
                builder
                    .with_client_auth_cert(certificates(cert)?, secret)
                    .map_err(|error| bad(cert, &error))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Some(TlsConnector::from(Arc::new(config))))
    }
}

fn member(text: &str) -> Result<(String, u16), String> {
    let named = |host: &str| host.trim_matches(['[', ']']).to_owned();
    let (host, port) = match text.rsplit_once(':') {
        // An address of IPv6 has colons of its own.
        Some((host, port)) if !port.contains(']') => {
            (named(host), port.parse().map_err(|_| format!("'{port}' is no port, in '{text}'"))?)
        }
        _ => (named(text), 2_379),
    };
    if host.is_empty() { Err(format!("'{text}' names no host")) } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let place = Place::parse("etcd://a:1,b,[::1]:3").unwrap();
        let members = [("a", 1), ("b", 2_379), ("::1", 3)].map(|(host, port)| (host.to_owned(), port));
        assert_eq!(
            (place.members, place.tls, place.prefix.as_str()),
            (members.to_vec(), false, "roverline/")
        );
        let place = Place::parse("etcds://ann@a:1/rover/two?ca=/ca.pem&cert=/c&key=/k").unwrap();
        assert_eq!(
            (place.user.as_deref(), place.prefix.as_str(), place.tls),
            (Some("ann"), "rover/two/", true)
        );
        assert_eq!(place.key, Some(PathBuf::from("/k")));
    }

    #[test]
    fn what_is_no_place_is_refused_with_the_reason() {
        for (text, word) in [
            ("http://a", "etcd://"),
            ("etcd://", "no host"),
            ("etcd://a,,b", "no host"),
            ("etcd://a:x", "no port"),
            ("etcd://ann:secret@a", "password"),
            ("etcd://a?colour=red", "colour"),
            ("etcds://a", "ca="),
            ("etcd://a?ca=x", "etcds"),
            ("etcds://a?ca=x&cert=y", "together"),
        ] {
            let why = Place::parse(text).unwrap_err();
            assert!(why.contains(word), "{text}: {why}");
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
