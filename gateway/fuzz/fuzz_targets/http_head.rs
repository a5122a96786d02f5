//! Request heads: Host, Origin, proxies' fields, tokens, the WebSocket handshake, the page's policy. Every
//! accepted head satisfies the rules.
#![no_main]

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use roverline_gateway::access::forwarded::Via;
use roverline_gateway::access::{Access, AccessSettings, Page, Role, credentials};
use roverline_gateway::server::{dashboard, handshake, head};

const NAMES: &[&str] = &[
    "host",
    "origin",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-real-ip",
    "via",
    "authorization",
    "upgrade",
    "connection",
    "sec-websocket-version",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "accept",
    "if-none-match",
    "roverline-challenge",
];
const VALUES: &[&str] = &[
    "rover:8080",
    "[::1]:8080",
    "evil.example",
    "http://rover:8080",
    "http://tool.example",
    "null",
    "for=10.0.0.7",
    "for=\"[fd00::7]:99\";proto=https, for=127.0.0.2",
    "for=\"a\\\"b\", for=unknown",
    "10.0.0.7",
    "10.0.0.7, 127.0.0.2",
    "[fd00::7]:99",
    "127.0.0.1",
    "1.1 proxy",
    "Bearer secret",
    "bearer  a b",
    "websocket",
    "keep-alive, Upgrade",
    "13",
    "dGhlIHNhbXBsZSBub25jZQ==",
    "roverline.v1, x",
    "text/html;q=0.9",
    "*",
    "a;script-src *",
    "a@rover:8080",
    "rover:80:80",
];
const TARGETS: &[&str] = &[
    "/",
    "/ws",
    "/rosbridge?token=a&session=standby",
    "/telemetry",
    "/health",
    "*",
    "http://rover/x?token=",
];
const SOCKETS: &[&str] = &["127.0.0.1:5", "127.0.0.2:5", "10.0.0.9:5", "[::ffff:127.0.0.2]:5", "[fd00::9]:5"];

static ACCESS: LazyLock<Access> = LazyLock::new(|| {
    let settings = AccessSettings {
        trusted_proxies: vec!["127.0.0.2".to_owned()],
        origins: vec!["http://tool.example".to_owned()],
        ..AccessSettings::default()
    };
    Access::new(&settings).expect("the settings are right")
});

fuzz_target!(|input: &[u8]| {
    let mut noise = Unstructured::new(input);
    if let Ok(Some((request, socket))) = request(&mut noise) {
        check_rules(&request);
        check_client(&request, socket);
        check_handshake(&request);
        check_page(&request);
    }
});

fn request(noise: &mut Unstructured<'_>) -> Result<Option<(Request<()>, SocketAddr)>> {
    let socket = noise.choose(SOCKETS)?.parse().expect("it is an address");
    let version = *noise.choose(&[Version::HTTP_11, Version::HTTP_11, Version::HTTP_10])?;
    let method = noise.choose(&[Method::GET, Method::GET, Method::POST, Method::HEAD])?.clone();
    let target = if noise.ratio(3, 4)? { *noise.choose(TARGETS)? } else { noise.arbitrary()? };
    let mut request = Request::builder().version(version).method(method).uri(target);
    while !noise.is_empty() {
        let name = HeaderName::from_static(*noise.choose(NAMES)?);
        let value = match noise.ratio(2, 3)? {
            true => noise.choose(VALUES)?.as_bytes(),
            false => noise.arbitrary::<&[u8]>()?,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request = request.header(name, value);
        }
    }
    Ok(request.body(()).ok().map(|request| (request, socket)))
}

fn count(headers: &HeaderMap, name: HeaderName) -> usize {
    headers.get_all(name).iter().count()
}

fn check_rules(request: &Request<()>) {
    let (version, headers) = (request.version(), request.headers());
    if head::check_fields(version, headers).is_ok() {
        let hosts = count(headers, header::HOST);
        assert!(hosts == 1 || (hosts == 0 && version < Version::HTTP_11));
        assert!(count(headers, header::ORIGIN) <= 1);
        if let Some(host) = headers.get(header::HOST) {
            let host = host.to_str().expect("a host is text");
            assert!(!host.contains(['@', '/', ' ', '?', '#', '"', '<', '\\']), "{host}");
        }
    }
}

/// Checks the role of a client, by its identity and its address.
fn check_client(request: &Request<()>, socket: SocketAddr) {
    let headers = request.headers();
    let peer = ACCESS.peer(socket, headers, &[], Duration::ZERO);
    let shows_proxy = headers.keys().any(|name| {
        matches!(name.as_str(), "forwarded" | "via" | "x-real-ip")
            || name.as_str().starts_with("x-forwarded-")
    });
    let is_trusted = socket.ip().to_canonical().to_string() == "127.0.0.2";
    assert_eq!(shows_proxy, peer.via() != Via::Direct);
    assert!(is_trusted || peer.via() != Via::TrustedProxy);
    assert!(peer.via() == Via::TrustedProxy || peer.ip() == socket.ip());
    assert!(!shows_proxy || !peer.is_local());
    let has_origin = headers.contains_key(header::ORIGIN);
    assert!(has_origin || peer.page() == Page::Own);
    if peer.page() != Page::Own || peer.via() == Via::UnknownProxy || !peer.is_local() {
        assert_eq!(ACCESS.anonymous_identity(peer).role, Role::Observer);
    }
    check_forged(headers, socket);
    if let Some(token) = credentials::token(headers, request.uri().query()) {
        assert!(!token.is_empty());
        assert!(ACCESS.authenticate(&token, peer.ip(), Duration::ZERO).is_err(), "there are no tokens");
    }
}

/// Checks that forged addresses have no effect: a client's own entries are left of those that its proxy adds.
fn check_forged(headers: &HeaderMap, socket: SocketAddr) {
    let is_only = count(headers, HeaderName::from_static("x-forwarded-for")) == 1
        && !headers.contains_key(header::FORWARDED);
    let Some(field) = headers.get("x-forwarded-for").filter(|_| is_only) else { return };
    let real = ACCESS.peer(socket, headers, &[], Duration::ZERO);
    if real.via() != Via::TrustedProxy || real.ip().to_string() == "127.0.0.2" {
        return;
    }
    for forged in ["203.0.113.9", "127.0.0.1", "unknown", "\"", "127.0.0.2"] {
        let mut headers = headers.clone();
        let text = format!("{forged}, {}", field.to_str().expect("it was read as text"));
        headers.insert("x-forwarded-for", text.parse().expect("it is a field"));
        let seen = ACCESS.peer(socket, &headers, &[], Duration::ZERO);
        assert_eq!((seen.ip(), seen.via()), (real.ip(), real.via()), "{text}");
    }
}

fn check_handshake(request: &Request<()>) {
    handshake::is_websocket_upgrade(request.headers());
    match handshake::check(request) {
        Ok(upgrade) => {
            assert!(request.method() == Method::GET && request.version() >= Version::HTTP_11);
            assert_eq!(upgrade.accept.len(), 28);
            assert!(HeaderValue::from_str(&upgrade.accept).is_ok());
            let offered = request.headers().contains_key(header::SEC_WEBSOCKET_PROTOCOL);
            assert!(offered || upgrade.negotiated.subprotocol.is_none());
        }
        Err((status, why)) => assert!(status.is_client_error() && !why.is_empty()),
    }
}

/// No Host field adds a directive to the page's policy.
fn check_page(request: &Request<()>) {
    let elsewhere = || vec!["rover2:8081".to_owned()];
    let page = dashboard::answer(request.method(), request.uri().path(), request.headers(), elsewhere);
    let Some(page) = page else { return };
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("a policy is text");
    let names: Vec<_> = policy.split(';').filter_map(|rule| rule.split_whitespace().next()).collect();
    let rules = [
        "default-src",
        "style-src",
        "script-src",
        "connect-src",
        "img-src",
        "base-uri",
        "form-action",
        "frame-ancestors",
    ];
    assert_eq!(names, rules, "{policy}");
}
