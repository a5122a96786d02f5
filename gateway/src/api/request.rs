//! What is asked: by whom, with which parameters and body. A request comes over HTTP or over a native
//! session; what answers it does not see which.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderMap;
use http::{StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use roverline_protocol::limits;
use serde::de::DeserializeOwned;

use crate::access::{Access, Deed, Identity};
use crate::api::query;
use crate::api::response::Failure;
use crate::api::routes::{Parameter, ParameterKind, Route};
use crate::endpoint::Endpoint;
use crate::server::handshake;

/// A request on its way to its answer.
pub(crate) struct Ask<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) route: &'static Route,
    /// The name in the path, still encoded.
    pub(crate) name: &'a str,
    pub(crate) query: Option<&'a str>,
    /// Empty over a session.
    pub(crate) headers: &'a HeaderMap,
    pub(crate) asker: Asker,
    /// Read, and within its limit; empty where the route takes none.
    pub(crate) body: Bytes,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Asker {
    /// Somebody over HTTP: the header fields say more.
    Peer(SocketAddr),
    /// The client of a session, and what it calls itself.
    Session(Identity, String),
}

impl Ask<'_> {
    /// Who asks, if they may do this.
    pub(crate) fn may(&self, deed: Deed<'_>) -> Result<Identity, Failure> {
        let access = &self.endpoint.access;
        match &self.asker {
            Asker::Peer(peer) => proven(access, self.headers, *peer, deed),
            Asker::Session(identity, _) => match access.may(identity.role, deed) {
                Ok(()) => Ok(identity.clone()),
                Err(denied) => Err(Failure::new(StatusCode::FORBIDDEN, denied.to_string())),
            },
        }
    }

    /// Who asks, for the log: the holder of a token, what a session calls itself, or an address.
    pub(crate) fn asker(&self) -> String {
        match &self.asker {
            Asker::Session(identity, client) if identity.name.is_empty() => client.clone(),
            Asker::Session(identity, _) => identity.name.clone(),
            Asker::Peer(peer) => handshake::token(self.headers, None)
                .and_then(|token| self.endpoint.access.holder(&token).ok())
                .map_or_else(|| peer.ip().to_canonical().to_string(), |holder| holder.name),
        }
    }

    /// The name in the path.
    pub(crate) fn name(&self) -> Result<String, Failure> {
        query::name(self.name)
    }

    /// The body, as the route's type: an object, though Serde would take a list of its fields as well.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        object(&self.body)
    }

    /// The parameters that the route declares; what is not understood is an error, since a misspelt
    /// limit is no limit.
    pub(crate) fn parameters(&self) -> Result<Given, Failure> {
        let mut given = HashMap::new();
        for (key, value) in query::pairs(self.query)? {
            let known = self.route.parameters.iter().find(|parameter| parameter.name == key);
            let Some(parameter) = known else {
                let names: Vec<_> = self.route.parameters.iter().map(|parameter| parameter.name).collect();
                let key: String = key.chars().take(40).collect();
                let why = format!("'{key}' is not known here; there is: {}", names.join(", "));
                return Err(Failure::bad_request(why));
            };
            check(parameter, &value)?;
            if given.insert(parameter.name, value).is_some() {
                return Err(Failure::bad_request(format!("say {key} once")));
            }
        }
        Ok(Given(given))
    }
}

/// A body that is an object.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    match body.trim_ascii_start().first() {
        Some(b'{') => any(body),
        _ => {
            any::<serde::de::IgnoredAny>(body)?;
            let why = "the body is a JSON object; see /api/v2/openapi.json";
            Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, why))
        }
    }
}

/// A body, where anything will do.
pub(crate) fn any<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let status = if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        Failure::new(status, format!("{error}; see /api/v2/openapi.json"))
    })
}

/// Who may do something over HTTP: who shows a token that allows it, and who is on this computer,
/// unless it is configured otherwise. But not by way of a browser's page that is another site's:
/// neither one that says so, nor one whose name was bent to this computer's address.
fn proven(
    access: &Access,
    headers: &HeaderMap,
    peer: SocketAddr,
    deed: Deed<'_>,
) -> Result<Identity, Failure> {
    let forbidden = |why: String| Failure::new(StatusCode::FORBIDDEN, why);
    let unauthorized =
        |why: String| Failure::new(StatusCode::UNAUTHORIZED, why).with(header::WWW_AUTHENTICATE, "Bearer");
    if handshake::is_foreign_page(headers) {
        return Err(forbidden("a page of another site may only look; use curl, for example".to_owned()));
    }
    if let Some(token) = handshake::token(headers, None) {
        let holder = access.holder(&token).map_err(|denied| unauthorized(denied.to_string()))?;
        let may = access.may(holder.role, deed);
        return may.map(|()| holder).map_err(|denied| forbidden(denied.to_string()));
    }
    let guest = access.guest(peer.ip(), false);
    match access.may(guest.role, deed) {
        Ok(()) if peer.ip().to_canonical().is_loopback() => Ok(guest),
        _ => Err(unauthorized("show an operator's token (Authorization: Bearer TOKEN)".to_owned())),
    }
}

fn check(parameter: &Parameter, value: &str) -> Result<(), Failure> {
    let name = parameter.name;
    let why = match parameter.kind {
        ParameterKind::Text | ParameterKind::Label => return Ok(()),
        ParameterKind::Number(min, max) => {
            if value.parse().is_ok_and(|number: u64| (min..=max).contains(&number)) {
                return Ok(());
            }
            format!("{name} is a number from {min} to {max}")
        }
        ParameterKind::Flag if matches!(value, "true" | "false") => return Ok(()),
        ParameterKind::Flag => format!("{name} is true or false"),
        ParameterKind::Word(words) if words.contains(&value) => return Ok(()),
        ParameterKind::Word(words) => format!("{name} is one of {}", words.join(", ")),
    };
    Err(Failure::bad_request(why))
}

/// Parameters as they were given, each of its kind.
pub(crate) struct Given(HashMap<&'static str, String>);

impl Given {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.parse().ok()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value == "true")
    }
}

/// Whether a request says that its body is JSON.
pub(crate) fn check_content(headers: &HeaderMap) -> Result<(), Failure> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => {
            let why = "send Content-Type: application/json and a body as /api/v2/openapi.json has it";
            Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why))
        }
    }
}

/// A request's body, bounded in size and time.
pub(crate) async fn body(body: Incoming, most: usize) -> Result<Bytes, Failure> {
    let patience = Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS);
    let too_large = || {
        let why = format!("send at most {most} bytes");
        // The rest is not read.
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, why).with(header::CONNECTION, "close")
    };
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let reading = Limited::new(body, most).collect();
    match tokio::time::timeout(patience, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Failure::bad_request(format!("no body: {error}"))),
        Err(_) => {
            let why = format!("the body did not come within {patience:?}");
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, why).with(header::CONNECTION, "close"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{AccessSettings, Role};

    fn may(settings: &AccessSettings, peer: &str, fields: &[(&'static str, &str)]) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let access = Access::new(settings).unwrap();
        let failure = proven(&access, &headers, peer.parse().unwrap(), Deed::Share("it")).err();
        failure.map_or(0, |failure| failure.answer("/").status().as_u16())
    }

    #[test]
    fn only_this_computer_and_no_foreign_page_may_write() {
        let ask = |peer: &str, fields: &[(&'static str, &str)]| may(&AccessSettings::default(), peer, fields);
        for here in ["127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
            assert_eq!(ask(here, &[]), 0);
        }
        assert_eq!(ask("192.168.1.5:5", &[]), 401);
        assert_eq!(ask("127.0.0.1:5", &[("origin", "http://localhost:8080"), ("host", "localhost:8081")]), 0);
        assert_eq!(ask("127.0.0.1:5", &[("origin", "http://evil.example"), ("host", "localhost:8081")]), 403);
        assert_eq!(
            ask("127.0.0.1:5", &[("origin", "http://evil.example:80"), ("host", "evil.example:80")]),
            403
        );
        let careful = AccessSettings { loopback: Role::Observer, ..AccessSettings::default() };
        assert_eq!(may(&careful, "127.0.0.1:5", &[]), 401);
        let open = AccessSettings { remote: Role::Operator, ..AccessSettings::default() };
        assert_eq!(may(&open, "192.168.1.5:5", &[]), 401);
        assert_eq!(ask("127.0.0.1:5", &[("authorization", "Bearer guess")]), 401);
    }
}
