//! A TLS client for attackers, and for the operator beside them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::http::Response;

/// Settings of a client that trusts this authority.
pub(super) fn config(ca: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The client's side of a connection that has not sent anything yet.
pub(super) fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(config.clone(), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// The first message of a handshake, as it is sent.
pub(super) fn hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let mut bytes = Vec::new();
    connection(config).write_tls(&mut bytes).unwrap();
    bytes
}

/// Sends one request over a connection of its own, and reads the answer.
pub(super) fn request(port: u16, config: &Arc<ClientConfig>, request: &[u8]) -> std::io::Result<Response> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(40)))?;
    let mut stream = StreamOwned::new(connection(config), stream);
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let answer = Response::parse(&bytes);
    // A connection that ends without a word of TLS is an error only if there is no answer.
    if answer.status == 0 { read.map(|_| answer) } else { Ok(answer) }
}
