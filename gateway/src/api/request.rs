//! A request: its caller, parameters and body. It comes over HTTP or over a native session; its handler
//! does not see which.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderMap;
use http::{StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use roverline_protocol::limits;
use roverline_source::clock::monotonic;
use serde::de::DeserializeOwned;

use crate::access::credentials;
use crate::access::{Access, Identity, Page, Peer, Permission, PermissionDenied, Role};
use crate::api::error::ApiError;
use crate::api::query;
use crate::api::route::{Parameter, ParameterKind, Route};
use crate::api::route_permission::RoutePermission;
use crate::endpoint::Endpoint;
use crate::identity;

/// The label of a caller whose token is not known. A name has no spaces.
const UNKNOWN_TOKEN: &str = "unknown token";

/// A request with its route.
pub(crate) struct ApiRequest<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) route: &'static Route,
    /// The name in the path, still encoded.
    pub(crate) name: &'a str,
    pub(crate) query: Option<&'a str>,
    /// Empty over a session.
    pub(crate) headers: &'a HeaderMap,
    pub(crate) caller: Caller,
    /// The identity of the certificate of its connection; none over a session.
    pub(crate) certificate: Option<&'a Identity>,
    /// The address at which its connection arrived; none over a session.
    pub(crate) local: Option<SocketAddr>,
    /// Read, and within its limit; empty if the route takes no body.
    pub(crate) body: Bytes,
}

/// The caller.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A caller over HTTP; the header fields identify it.
    Peer(Peer),
    /// The client of a session.
    Session {
        /// Its identity.
        identity: Identity,
        /// Its address.
        peer: Peer,
        /// The unverified name that the client declares, if any.
        client: Option<String>,
    },
}

impl ApiRequest<'_> {
    /// Checks the permission that the route declares.
    pub(crate) fn authorize_route(&self) -> Result<(), ApiError> {
        if let Caller::Peer(peer) = &self.caller
            && self.route.action.permission() != RoutePermission::Telemetry
        {
            check_name(&self.endpoint.access, self.headers, *peer)?;
        }
        match self.route.action.permission().required() {
            Some(permission) => self.authorize(permission).map(drop),
            None => Ok(()),
        }
    }

    /// The caller's identity, if it has this permission.
    pub(crate) fn authorize(&self, permission: Permission<'_>) -> Result<Identity, ApiError> {
        let access = &self.endpoint.access;
        match &self.caller {
            Caller::Peer(_) if let Some(holder) = self.certificate_holder() => {
                // The connection may be older than the end of its certificate.
                access.tokens().check(holder)?;
                let may = access.authorize(holder.role, permission);
                let denied =
                    |denied: PermissionDenied| ApiError::new(StatusCode::FORBIDDEN, denied.to_string());
                may.map(|()| holder.clone()).map_err(denied)
            }
            Caller::Peer(peer) => authorize_http(access, self.headers, *peer, permission),
            Caller::Session { identity, .. } => match access.authorize(identity.role, permission) {
                Ok(()) => Ok(identity.clone()),
                Err(denied) => Err(ApiError::new(StatusCode::FORBIDDEN, denied.to_string())),
            },
        }
    }

    /// The identity in the connection's certificate, unless the caller shows a token.
    pub(crate) fn certificate_holder(&self) -> Option<&Identity> {
        let is_own = matches!(&self.caller, Caller::Peer(peer) if peer.shows_own_certificate());
        self.certificate.filter(|_| is_own && credentials::token(self.headers, None).is_none())
    }

    /// The label of the caller's identity, to which belongs what it takes.
    pub(crate) fn by(&self) -> String {
        match &self.caller {
            Caller::Session { identity, peer, .. } => identity::label(identity, *peer),
            Caller::Peer(peer) => {
                label_of(&self.endpoint.access, self.headers, *peer, self.certificate_holder())
            }
        }
    }

    /// The caller's role, as far as it shows one.
    pub(crate) fn role(&self) -> Role {
        match &self.caller {
            Caller::Session { identity, .. } => identity.role,
            Caller::Peer(peer) => {
                let access = &self.endpoint.access;
                let shown = credentials::token(self.headers, None);
                let shown = shown.and_then(|token| access.identify(&token).ok());
                let shown = shown.or_else(|| self.certificate_holder().cloned());
                shown.unwrap_or_else(|| access.anonymous_identity(*peer)).role
            }
        }
    }

    /// The name that the caller declares, if any; it proves nothing.
    pub(crate) fn client(&self) -> Option<String> {
        match &self.caller {
            Caller::Session { client, .. } => client.clone(),
            Caller::Peer(_) => None,
        }
    }

    /// The name in the path.
    pub(crate) fn name(&self) -> Result<String, ApiError> {
        query::name(self.name)
    }

    /// The body as the route's type. It must be an object, though Serde would accept a list of its
    /// fields as well.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        object(&self.body)
    }

    /// The parameters that the route declares. An unknown parameter is an error: a misspelt limit must
    /// not be ignored.
    pub(crate) fn parameters(&self) -> Result<QueryParams, ApiError> {
        let mut params = HashMap::new();
        for (key, value) in query::pairs(self.query)? {
            let known = self.route.parameters.iter().find(|parameter| parameter.name == key);
            let Some(parameter) = known else {
                let names: Vec<_> = self.route.parameters.iter().map(|parameter| parameter.name).collect();
                let key: String = key.chars().take(40).collect();
                let why = format!("'{key}' is not known here; there is: {}", names.join(", "));
                return Err(ApiError::bad_request(why));
            };
            check(parameter, &value)?;
            if params.insert(parameter.name, value).is_some() {
                return Err(ApiError::bad_request(format!("say {key} once")));
            }
        }
        Ok(QueryParams(params))
    }
}

/// The label of a caller over HTTP. An unknown or revoked token has a label of its own, which differs from
/// that of a client without a token.
fn label_of(access: &Access, headers: &HeaderMap, peer: Peer, certificate: Option<&Identity>) -> String {
    match credentials::token(headers, None).map(|token| access.identify(&token)) {
        None => identity::label(certificate.unwrap_or(&Identity::default()), peer),
        Some(Ok(holder)) => identity::label(&holder, peer),
        Some(Err(_)) => UNKNOWN_TOKEN.to_owned(),
    }
}

/// A body that is an object.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    match body.trim_ascii_start().first() {
        Some(b'{') => any(body),
        _ => {
            any::<serde::de::IgnoredAny>(body)?;
            let why = "the body is a JSON object; see /api/v2/openapi.json";
            Err(ApiError::unprocessable(why))
        }
    }
}

/// A body of any type.
pub(crate) fn any<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let status = if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        ApiError::new(status, format!("{error}; see /api/v2/openapi.json"))
    })
}

/// Refuses a page under a name that others may own, unless it shows a valid token.
fn check_name(access: &Access, headers: &HeaderMap, peer: Peer) -> Result<(), ApiError> {
    if peer.page() != Page::UnknownName {
        return Ok(());
    }
    if let Some(token) = credentials::token(headers, None) {
        return access.authenticate(&token, peer.ip(), monotonic()).map(drop).map_err(ApiError::from);
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let denied = PermissionDenied::unknown_name(host);
    Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, denied.to_string()))
}

/// Authorizes a caller over HTTP: with a token that allows it, or from this computer, unless configured
/// otherwise. A browser's page of another site is refused: neither a page that says so in `Origin`, nor
/// one whose name was rebound to this computer's address. A client that may engage the emergency stop over a
/// WebSocket may do so here.
fn authorize_http(
    access: &Access,
    headers: &HeaderMap,
    peer: Peer,
    permission: Permission<'_>,
) -> Result<Identity, ApiError> {
    let forbidden = |why: String| ApiError::new(StatusCode::FORBIDDEN, why);
    let unauthorized = |why: String| {
        ApiError::new(StatusCode::UNAUTHORIZED, why).with_header(header::WWW_AUTHENTICATE, "Bearer")
    };
    check_name(access, headers, peer)?;
    if matches!(peer.page(), Page::Listed | Page::Foreign) {
        return Err(forbidden("a page of another site may only look; use curl, for example".to_owned()));
    }
    if let Some(token) = credentials::token(headers, None) {
        let holder = access.authenticate(&token, peer.ip(), monotonic())?;
        let may = access.authorize(holder.role, permission);
        return may.map(|()| holder).map_err(|denied| forbidden(denied.to_string()));
    }
    let guest = access.anonymous_identity(peer);
    match access.authorize(guest.role, permission) {
        Ok(()) if peer.is_local() || permission == Permission::EngageStop => Ok(guest),
        _ => Err(unauthorized("show an operator's token (Authorization: Bearer TOKEN)".to_owned())),
    }
}

fn check(parameter: &Parameter, value: &str) -> Result<(), ApiError> {
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
    Err(ApiError::bad_request(why))
}

/// The given parameters, each of its declared type.
pub(crate) struct QueryParams(HashMap<&'static str, String>);

impl QueryParams {
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

/// Whether a request declares its body as JSON.
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => {
            let why = "send Content-Type: application/json and a body as /api/v2/openapi.json has it";
            Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why))
        }
    }
}

/// A request's body, bounded in size and time.
pub(crate) async fn body(body: Incoming, most: usize) -> Result<Bytes, ApiError> {
    let patience = Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS);
    let too_large = || {
        let why = format!("send at most {most} bytes");
        // The rest is not read.
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, why).with_header(header::CONNECTION, "close")
    };
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let reading = Limited::new(body, most).collect();
    match tokio::time::timeout(patience, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(ApiError::bad_request(format!("no body: {error}"))),
        Err(_) => {
            let why = format!("the body did not come within {patience:?}");
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, why).with_header(header::CONNECTION, "close"))
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
        let peer = access.peer(peer.parse().unwrap(), &headers, &[], Duration::ZERO);
        let error = authorize_http(&access, &headers, peer, Permission::Share("it")).err();
        error.map_or(0, |error| error.into_response("/").status().as_u16())
    }

    #[test]
    fn a_token_that_is_not_known_makes_nobody_of_its_caller() {
        let access = Access::new(&AccessSettings::default()).unwrap();
        let mut headers = HeaderMap::new();
        let label =
            |headers: &HeaderMap| label_of(&access, headers, Peer::direct("[::1]:5".parse().unwrap()), None);
        assert_eq!(label(&headers), "127.0.0.1");
        headers.insert("authorization", "Bearer revoked-meanwhile".parse().unwrap());
        assert_eq!(label(&headers), UNKNOWN_TOKEN);
        assert!(crate::access::check_name(UNKNOWN_TOKEN).is_err());
    }

    #[test]
    fn only_this_computer_and_no_foreign_page_may_write() {
        let request =
            |peer: &str, fields: &[(&'static str, &str)]| may(&AccessSettings::default(), peer, fields);
        for here in ["127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
            assert_eq!(request(here, &[]), 0);
        }
        assert_eq!(request("192.168.1.5:5", &[]), 401);
        assert_eq!(
            request("127.0.0.1:5", &[("origin", "http://localhost:8080"), ("host", "localhost:8081")]),
            0
        );
        assert_eq!(
            request("127.0.0.1:5", &[("origin", "http://evil.example"), ("host", "localhost:8081")]),
            403
        );
        for site in ["cross-site", "same-site"] {
            let form = [("host", "localhost:8081"), ("sec-fetch-site", site), ("content-type", "text/plain")];
            assert_eq!(request("127.0.0.1:5", &form), 403, "{site}");
        }
        assert_eq!(
            request("127.0.0.1:5", &[("origin", "http://evil.example:80"), ("host", "evil.example:80")]),
            421
        );
        assert_eq!(
            request("127.0.0.1:5", &[("user-agent", "Mozilla/5.0"), ("host", "evil.example:80")]),
            421
        );
        assert_eq!(request("127.0.0.1:5", &[("user-agent", "curl/8"), ("host", "rover.lab.example:80")]), 0);
        // Through a proxy or a tunnel on this computer.
        for field in [("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1"), ("via", "1.1 x")] {
            assert_eq!(request("127.0.0.1:5", &[field]), 401, "{field:?}");
        }
        let trusted_proxies = vec!["127.0.0.1".to_owned()];
        let trusting =
            AccessSettings { trusted_proxies, remote: Role::Operator, ..AccessSettings::default() };
        assert_eq!(may(&trusting, "127.0.0.1:5", &[("x-forwarded-for", "127.0.0.1")]), 401);
        let careful = AccessSettings { loopback: Role::Observer, ..AccessSettings::default() };
        assert_eq!(may(&careful, "127.0.0.1:5", &[]), 401);
        let open = AccessSettings { remote: Role::Operator, ..AccessSettings::default() };
        assert_eq!(may(&open, "192.168.1.5:5", &[]), 401);
        assert_eq!(request("127.0.0.1:5", &[("authorization", "Bearer guess")]), 401);
    }
}
