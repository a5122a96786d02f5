//! Clients that show a certificate.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use roverline_tests::certs::Certs;
use roverline_tests::http::outside_address;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::rover::Shown;

/// The rover's authority, another one, and what both have signed.
pub(crate) struct Certificates {
    own: Certs,
    foreign: Certs,
}

impl Shown {
    pub(crate) fn is_certificate(self) -> bool {
        self.certificate().is_some()
    }

    /// The name in the certificate.
    fn certificate(self) -> Option<&'static str> {
        match self {
            Shown::ObserverCertificate => Some("orla"),
            Shown::OperatorCertificate => Some("opal"),
            Shown::CommanderCertificate | Shown::ForeignCertificate => Some("carl"),
            _ => None,
        }
    }
}

impl Certificates {
    pub(crate) fn make() -> Certificates {
        let (own, foreign) = (Certs::default(), Certs::default());
        let address =
            outside_address().map_or_else(|_| "127.0.0.1".to_owned(), |address| address.to_string());
        own.cert(&["node", "rover.local", &address]);
        for name in ["orla", "opal", "carl"] {
            own.cert(&["client", name, "--role", "observer"]);
        }
        foreign.cert(&["client", "carl", "--role", "commander"]);
        Certificates { own, foreign }
    }

    /// The gateway's `[tls]`.
    pub(crate) fn settings(&self) -> String {
        let file = |name: &str| self.own.file(name);
        format!(
            "[tls]\ncert = {:?}\nkey = {:?}\nclient_ca = {:?}\n\
             [tls.roles]\nopal = \"operator\"\ncarl = \"commander\"\n",
            file("rover.local.crt"),
            file("rover.local.key"),
            file("ca.crt")
        )
    }

    /// The client that shows this, if it is a certificate.
    pub(crate) fn client(&self, shown: Shown) -> Option<TlsClient> {
        let name = shown.certificate()?;
        let from = if shown == Shown::ForeignCertificate { &self.foreign } else { &self.own };
        let read = |file: &Path| CertificateDer::from_pem_file(file).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(read(&self.own.path("ca.crt"))).unwrap();
        let chain = vec![read(&from.path(&format!("{name}.crt")))];
        let key = PrivateKeyDer::from_pem_file(from.path(&format!("{name}.key"))).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        Some(TlsClient(Arc::new(config)))
    }
}

/// A client with a certificate.
pub(crate) struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    /// TLS over a connection to this address.
    pub(crate) fn over(self, stream: TcpStream, address: IpAddr) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::IpAddress(address.into());
        StreamOwned::new(ClientConnection::new(self.0, name).unwrap(), stream)
    }

    /// Connects to a server.
    pub(crate) async fn connect(self, server: SocketAddr) -> TlsStream<tokio::net::TcpStream> {
        let stream = tokio::net::TcpStream::connect(server).await.unwrap();
        let name = ServerName::IpAddress(server.ip().into());
        TlsConnector::from(self.0).connect(name, stream).await.unwrap()
    }
}
