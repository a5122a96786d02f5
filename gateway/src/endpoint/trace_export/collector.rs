//! A collector: one POST request per connection, with limits on time, header and body that hold whatever it sends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::config::TraceSettings;
use crate::endpoint::trace_export::headers::{HeadersError, read_headers};
use crate::endpoint::trace_export::outcome::{Outcome, PROTOBUF, judge_body, judge_head};
use crate::limits;

/// Time limit of a request, from connecting to the end of the response.
const EXPORT_TIMEOUT_MS: u64 = 5_000;
/// The largest response that is read.
const EXPORT_RESPONSE_BYTES: usize = 64 << 10;
/// The name that collectors see.
const AGENT: &str = concat!("roverline-gateway/", env!("CARGO_PKG_VERSION"));

/// What TLS needs of a server: its authority, and its name.
type Tls = (TlsConnector, ServerName<'static>);

/// Why a collector cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// Its address is none.
    #[error("otlp: '{0}' is not the address of a collector")]
    Address(String),
    /// Its host is neither a name nor an address.
    #[error("otlp: {0}")]
    Host(#[from] InvalidDnsNameError),
    /// The file of its authority cannot be read.
    #[error("otlp_ca: {}: {source}", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: pem::Error,
    },
    /// A certificate of its authority cannot be used.
    #[error("otlp_ca: {}: {source}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// The file of its authority has no certificate.
    #[error("otlp_ca: {} has no certificate", .0.display())]
    NoCertificate(PathBuf),
    /// TLS cannot be used.
    #[error("otlp: {0}")]
    Tls(#[from] rustls::Error),
    /// The file of header fields cannot be used.
    #[error(transparent)]
    Headers(#[from] HeadersError),
}

/// A collector, which need not exist.
pub(super) struct Collector {
    address: String,
    host: String,
    port: u16,
    /// The authority of its certificate; `None`: no TLS.
    ca: Option<PathBuf>,
    connector: Option<TlsConnector>,
    path: PathAndQuery,
    host_field: HeaderValue,
    headers_file: Option<PathBuf>,
}

impl Collector {
    /// The collector at this address.
    pub(super) fn new(otlp: &str, settings: &TraceSettings) -> Result<Collector, CollectorError> {
        let invalid = || CollectorError::Address(otlp.to_owned());
        let uri: Uri = otlp.parse().map_err(|_| invalid())?;
        let is_tls = uri.scheme_str() == Some("https");
        let authority = uri.authority().ok_or_else(invalid)?;
        Ok(Collector {
            address: otlp.to_owned(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            ca: settings.otlp_ca.clone().filter(|_| is_tls),
            connector: None,
            path: uri.path_and_query().cloned().ok_or_else(invalid)?,
            host_field: authority.as_str().parse().map_err(|_| invalid())?,
            headers_file: settings.otlp_headers_file.clone(),
        })
    }

    /// Its address as configured.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Checks the files that it needs.
    pub(super) fn check(mut self) -> Result<(), CollectorError> {
        self.connector()?;
        self.headers().map(drop)
    }

    /// Sends a request. The files are read again until they can be, and that of header fields each time, so that a
    /// credential can be replaced.
    pub(super) async fn post(&mut self, body: Bytes) -> Outcome {
        let (connector, headers) = match (self.connector(), self.headers()) {
            (Ok(connector), Ok(headers)) => (connector, headers),
            (Err(error), _) | (_, Err(error)) => return Outcome::retry(error.to_string()),
        };
        let request = self.request(headers, body);
        let deadline = Instant::now() + Duration::from_millis(EXPORT_TIMEOUT_MS);
        match timeout_at(deadline, self.send(connector, request)).await {
            Ok(Ok(answer)) => answer.judge(deadline).await,
            Ok(Err(outcome)) => outcome,
            Err(_) => Outcome::retry(format!("it does not answer within {EXPORT_TIMEOUT_MS} ms")),
        }
    }

    fn request(&self, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone().into();
        *request.headers_mut() = headers;
        let fields = request.headers_mut();
        fields.insert(HOST, self.host_field.clone());
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
        fields.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        request
    }

    /// Sends a request over a new connection, until the head of the response.
    async fn send(&self, tls: Option<Tls>, request: Request<Full<Bytes>>) -> Result<Answer, Outcome> {
        let temporary = |error: io::Error| Outcome::retry(error.to_string());
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(temporary)?;
        match tls {
            None => exchange(stream, request).await,
            Some((tls, name)) => exchange(tls.connect(name, stream).await.map_err(temporary)?, request).await,
        }
    }

    fn headers(&self) -> Result<HeaderMap, CollectorError> {
        Ok(self.headers_file.as_deref().map(read_headers).transpose()?.unwrap_or_default())
    }

    /// What TLS needs, if it is used.
    fn connector(&mut self) -> Result<Option<Tls>, CollectorError> {
        let Some(ca) = &self.ca else { return Ok(None) };
        let connector = match &self.connector {
            Some(connector) => connector.clone(),
            None => self.connector.insert(trusting(ca)?).clone(),
        };
        Ok(Some((connector, ServerName::try_from(self.host.clone())?)))
    }
}

/// TLS with servers that this authority certifies.
fn trusting(ca: &Path) -> Result<TlsConnector, CollectorError> {
    let pem = |source| CollectorError::Pem { file: ca.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(pem)? {
        let added = roots.add(certificate.map_err(pem)?);
        added.map_err(|source| CollectorError::Certificate { file: ca.to_owned(), source })?;
    }
    if roots.is_empty() {
        return Err(CollectorError::NoCertificate(ca.to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Sends a request over a connection.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Outcome> {
    let (mut sender, running) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(limits::HTTP_HEAD_BYTES)
        .max_headers(limits::HTTP_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Outcome::retry(error.to_string()))?;
    let mut connection = JoinSet::new();
    connection.spawn(running);
    match sender.send_request(request).await {
        Ok(response) => Ok(Answer { response, _connection: connection }),
        Err(error) if error.is_parse() || error.is_parse_too_large() => {
            Err(Outcome::Refused(format!("it does not speak HTTP: {error}")))
        }
        Err(error) if error.is_canceled() || error.is_incomplete_message() => {
            Err(Outcome::retry("it closes the connection without an answer"))
        }
        Err(error) => Err(Outcome::retry(error.to_string())),
    }
}

/// The head of a response, and the connection that its body comes from.
struct Answer {
    response: Response<Incoming>,
    /// Ends with the answer in any case.
    _connection: JoinSet<hyper::Result<()>>,
}

impl Answer {
    /// Reads the body if the head does not decide. Once a collector has answered 200, it may have the spans, so nothing
    /// that follows makes them be sent again.
    async fn judge(self, deadline: Instant) -> Outcome {
        let (head, body) = self.response.into_parts();
        if let Some(outcome) = judge_head(head.status, &head.headers) {
            return outcome;
        }
        let reading = Limited::new(body, EXPORT_RESPONSE_BYTES).collect();
        match timeout_at(deadline, reading).await {
            Ok(Ok(body)) => judge_body(&head.headers, &body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Outcome::Unconfirmed(format!("its response has more than {EXPORT_RESPONSE_BYTES} bytes"))
            }
            Ok(Err(error)) => Outcome::Unconfirmed(format!("its response ends early: {error}")),
            Err(_) => Outcome::Unconfirmed("its response does not end".to_owned()),
        }
    }
}
