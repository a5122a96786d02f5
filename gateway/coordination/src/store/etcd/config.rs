//! The address of a cluster and how to authenticate: `etcd://[user@]a:2379,b:2379[/prefix]`, with TLS
//! `etcds://...?ca=FILE&cert=FILE&key=FILE`.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The environment variable for the password, if no file is given. Not a flag, which other users could see.
pub(super) const PASSWORD: &str = "ROVERLINE_ETCD_PASSWORD";

/// Why the name of an etcd store is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EtcdConfigError {
    /// It begins with neither `etcd://` nor `etcds://`.
    #[error("write etcd://host:2379,host:2379 or etcds://...")]
    Scheme,
    /// It contains a password, which others could see.
    #[error("write no password there: put it into {variable} or ?password_file=FILE", variable = PASSWORD)]
    PasswordInName,
    /// A query parameter is not known.
    #[error("'{0}' is none of ca, cert, key, password_file")]
    UnknownParameter(String),
    /// TLS without a certificate authority.
    #[error("etcds needs ?ca=FILE: who signed the members' certificates")]
    CaMissing,
    /// A certificate authority without TLS.
    #[error("ca is for etcds://")]
    CaWithoutTls,
    /// A client certificate without its key, or the reverse.
    #[error("cert and key go together")]
    CertWithoutKey,
    /// The port of a member is not a number of 16 bits.
    #[error("'{port}' is no port, in '{member}'")]
    Port {
        /// The text in place of the port.
        port: String,
        /// The whole address.
        member: String,
    },
    /// A member has no host name.
    #[error("'{0}' names no host")]
    NoHost(String),
}

/// Why the password or the certificates cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum CredentialsError {
    #[error("cannot read {}: {source}", file.display())]
    PasswordFile { file: PathBuf, source: std::io::Error },
    #[error("{user} needs a password: {variable} or ?password_file=FILE", variable = PASSWORD)]
    NoPassword { user: String },
    #[error("{}: {source}", file.display())]
    Pem { file: PathBuf, source: tokio_rustls::rustls::pki_types::pem::Error },
    #[error("{}: {source}", file.display())]
    Certificate { file: PathBuf, source: tokio_rustls::rustls::Error },
    #[error(transparent)]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// The configuration of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EtcdConfig {
    /// Its members: host and port.
    pub(super) members: Vec<(String, u16)>,
    /// Whether the members use TLS.
    pub(super) tls: bool,
    /// The prefix of all keys, so that others can use the cluster as well.
    pub(super) prefix: String,
    pub(super) user: Option<String>,
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl EtcdConfig {
    /// Parses an address.
    pub(super) fn parse(text: &str) -> Result<EtcdConfig, EtcdConfigError> {
        let (tls, rest) = match (text.strip_prefix("etcd://"), text.strip_prefix("etcds://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(EtcdConfigError::Scheme),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (rest, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match rest.rsplit_once('@') {
            Some((user, hosts)) => (Some(user.to_owned()), hosts),
            None => (None, rest),
        };
        if user.as_ref().is_some_and(|user| user.contains(':')) {
            return Err(EtcdConfigError::PasswordInName);
        }
        let prefix = match prefix.trim_matches('/') {
            "" => "roverline/".to_owned(),
            prefix => format!("{prefix}/"),
        };
        let members = hosts.split(',').map(member).collect::<Result<_, _>>()?;
        let mut config = EtcdConfig { members, tls, prefix, user, ..EtcdConfig::default() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let target = match name {
                "ca" => &mut config.ca,
                "cert" => &mut config.cert,
                "key" => &mut config.key,
                "password_file" => &mut config.password_file,
                _ => return Err(EtcdConfigError::UnknownParameter(name.to_owned())),
            };
            *target = Some(PathBuf::from(value));
        }
        match (config.tls, &config.ca, config.cert.is_some() == config.key.is_some()) {
            (true, None, _) => Err(EtcdConfigError::CaMissing),
            (false, Some(_), _) => Err(EtcdConfigError::CaWithoutTls),
            (_, _, false) => Err(EtcdConfigError::CertWithoutKey),
            _ => Ok(config),
        }
    }

    /// The user name and password, if there is a user.
    pub(super) fn credentials(&self) -> Result<Option<(String, String)>, CredentialsError> {
        let Some(user) = &self.user else { return Ok(None) };
        let password = match &self.password_file {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|source| CredentialsError::PasswordFile { file: file.clone(), source })?,
            None => {
                std::env::var(PASSWORD).map_err(|_| CredentialsError::NoPassword { user: user.clone() })?
            }
        };
        Ok(Some((user.clone(), password.trim_end_matches(['\r', '\n']).to_owned())))
    }

    /// The TLS connector, if TLS is used.
    pub(super) fn connector(&self) -> Result<Option<TlsConnector>, CredentialsError> {
        let Some(ca) = self.ca.as_ref().filter(|_| self.tls) else { return Ok(None) };
        let pem = |file: &PathBuf, source| CredentialsError::Pem { file: file.clone(), source };
        let invalid = |file: &PathBuf, source| CredentialsError::Certificate { file: file.clone(), source };
        let certificates = |file: &PathBuf| {
            CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| pem(file, error))
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(|error| invalid(ca, error))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| pem(key, error))?;
                builder
                    .with_client_auth_cert(certificates(cert)?, secret)
                    .map_err(|error| invalid(cert, error))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Some(TlsConnector::from(Arc::new(config))))
    }
}

fn member(text: &str) -> Result<(String, u16), EtcdConfigError> {
    let named = |host: &str| host.trim_matches(['[', ']']).to_owned();
    let (host, port) = match text.rsplit_once(':') {
        // IPv6 addresses contain colons.
        Some((host, port)) if !port.contains(']') => {
            let invalid = |_| EtcdConfigError::Port { port: port.to_owned(), member: text.to_owned() };
            (named(host), port.parse().map_err(invalid)?)
        }
        _ => (named(text), 2_379),
    };
    if host.is_empty() { Err(EtcdConfigError::NoHost(text.to_owned())) } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let config = EtcdConfig::parse("etcd://a:1,b,[::1]:3").unwrap();
        let members = [("a", 1), ("b", 2_379), ("::1", 3)].map(|(host, port)| (host.to_owned(), port));
        assert_eq!(
            (config.members, config.tls, config.prefix.as_str()),
            (members.to_vec(), false, "roverline/")
        );
        let config = EtcdConfig::parse("etcds://ann@a:1/rover/two?ca=/ca.pem&cert=/c&key=/k").unwrap();
        assert_eq!(
            (config.user.as_deref(), config.prefix.as_str(), config.tls),
            (Some("ann"), "rover/two/", true)
        );
        assert_eq!(config.key, Some(PathBuf::from("/k")));
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
            let why = EtcdConfig::parse(text).unwrap_err().to_string();
            assert!(why.contains(word), "{text}: {why}");
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
