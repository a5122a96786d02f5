//! The dashboard: one HTML document that shows the rover in any browser, served at `/`.
//!
//! It is assembled at build time and loads nothing from the network except this gateway's WebSockets and
//! directory; its Content Security Policy (CSP) enforces that.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Method, Response, StatusCode};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("dashboard/page.css");
const SCRIPT: &str = concat!(
    "\"use strict\";\n",
    include_str!("dashboard/link.js"),
    include_str!("dashboard/model.js"),
    include_str!("dashboard/map.js"),
    include_str!("dashboard/view.js"),
    include_str!("dashboard/requests.js"),
    include_str!("dashboard/stop.js"),
    include_str!("dashboard/alarms.js"),
    include_str!("dashboard/main.js"),
);

/// The document with its derived values.
struct Dashboard {
    html: Bytes,
    etag: String,
    /// SHA-256 digests of the inline style and script, for the policy.
    style: String,
    script: String,
}

static DASHBOARD: LazyLock<Dashboard> = LazyLock::new(|| {
    let html = [
        include_str!("dashboard/head.html"),
        "<style>",
        STYLE,
        "</style>\n",
        include_str!("dashboard/body.html"),
        "<script type=\"module\">",
        SCRIPT,
        "</script>\n</body>\n</html>\n",
    ]
    .concat();
    Dashboard {
        etag: format!("\"{}\"", sha256(&html)),
        style: sha256(STYLE),
        script: sha256(SCRIPT),
        html: html.into(),
    }
});

fn sha256(text: &str) -> String {
    BASE64.encode(Sha256::digest(text))
}

/// Returns the page if a browser requests it; a client that does not accept HTML gets `None`. `elsewhere`
/// are the addresses of endpoints on other computers, to which the page may also connect.
pub fn answer(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    elsewhere: impl FnOnce() -> Vec<String>,
) -> Option<Response<Bytes>> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if path != "/" || !reads || !accepts_html(headers) {
        return None;
    }
    let page = &*DASHBOARD;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let unchanged = known.is_some_and(|tags| matches(tags, &page.etag));
    let mut response = Response::new(if unchanged { Bytes::new() } else { page.html.clone() });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let policy = policy(page, host, &elsewhere());
    let fields: [(HeaderName, &str); 9] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::ETAG, &page.etag),
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "Accept"),
        (header::CONTENT_SECURITY_POLICY, &policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ];
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    Some(response)
}

/// Browsers that navigate name HTML explicitly; `curl`, `*/*` and programs get text.
fn accepts_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| {
        let mut parts = kind.split(';').map(str::trim);
        let html = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("text/html"));
        html && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn matches(tags: &str, etag: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

/// The Content Security Policy: the page's own style and script, and connections to this host at any port
/// and to the endpoints elsewhere. Everything else is forbidden.
fn policy(page: &Dashboard, host: Option<&str>, elsewhere: &[String]) -> String {
    let mut connect = "'self'".to_owned();
    let name = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
    match name.as_ref().map(|name| name.host()).filter(|host| !host.is_empty()) {
        Some(host) if is_host(host) => connect.push_str(&format!(" ws://{host}:* wss://{host}:*")),
        // The CSP grammar has no IPv6 addresses, so any WebSocket is allowed.
        _ => connect.push_str(" ws: wss:"),
    }
    for address in elsewhere.iter().filter(|address| {
        address.rsplit_once(':').is_some_and(|(host, port)| {
            is_host(host) && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        })
    }) {
        connect.push_str(&format!(" ws://{address} wss://{address}"));
    }
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src {connect}; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        page.style, page.script
    )
}

/// Whether this is a name or an IPv4 address, which cannot terminate the directive that contains it.
fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    fn request(method: &Method, path: &str, fields: &[(&'static str, &str)]) -> Option<Response<Bytes>> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        answer(method, path, &headers, || vec!["10.0.0.9:8081".into(), "x;script-src *:1".into()])
    }

    fn field(response: &Response<Bytes>, name: &str) -> String {
        response.headers()[name].to_str().unwrap().to_owned()
    }

    #[test]
    fn only_browsers_get_the_dashboard() {
        for method in [&Method::GET, &Method::HEAD] {
            let page = request(method, "/", &[("accept", BROWSER), ("host", "rover:8080")]).unwrap();
            assert_eq!(
                (page.status(), field(&page, "content-type").as_str()),
                (StatusCode::OK, "text/html; charset=utf-8")
            );
        }
        assert!(request(&Method::GET, "/", &[]).is_none());
        assert!(request(&Method::GET, "/", &[("accept", "*/*")]).is_none());
        assert!(request(&Method::GET, "/", &[("accept", "text/html;q=0, text/plain")]).is_none());
        assert!(request(&Method::GET, "/health", &[("accept", BROWSER)]).is_none());
        assert!(request(&Method::POST, "/", &[("accept", BROWSER)]).is_none());
    }

    #[test]
    fn an_unchanged_dashboard_is_not_sent_again() {
        let first = request(&Method::GET, "/", &[("accept", BROWSER)]).unwrap();
        let etag = field(&first, "etag");
        for tags in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
            let again = request(&Method::GET, "/", &[("accept", BROWSER), ("if-none-match", &tags)]).unwrap();
            assert_eq!((again.status(), again.body().len()), (StatusCode::NOT_MODIFIED, 0), "{tags}");
            assert_eq!(field(&again, "etag"), etag);
        }
        let other = request(&Method::GET, "/", &[("accept", BROWSER), ("if-none-match", "\"x\"")]).unwrap();
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[test]
    fn the_policy_allows_nothing_else() {
        let policy = |host: &str| {
            let page = request(&Method::GET, "/", &[("accept", BROWSER), ("host", host)]).unwrap();
            field(&page, "content-security-policy")
        };
        let rover = policy("rover.local:8080");
        assert!(rover.starts_with("default-src 'none'; style-src 'sha256-"), "{rover}");
        assert!(
            rover.contains("connect-src 'self' ws://rover.local:* wss://rover.local:* ws://10.0.0.9:8081 ")
        );
        assert!(!rover.contains("unsafe") && !rover.contains("script-src *"), "{rover}");
        for hostile in ["a;script-src *", "a b", "*", "[::1]:8080", ""] {
            let policy = policy(hostile);
            assert!(policy.contains("connect-src 'self' ws: wss:"), "{hostile}: {policy}");
            assert_eq!(policy.matches("script-src").count(), 1, "{policy}");
        }
    }

    #[test]
    fn the_document_is_small_and_self_contained() {
        let page = request(&Method::GET, "/", &[("accept", BROWSER)]).unwrap();
        let html = std::str::from_utf8(page.body()).unwrap();
        assert!(html.len() < 64 << 10, "{} bytes", html.len());
        assert_eq!((html.matches("<script").count(), html.matches("</script>").count()), (1, 1));
        assert_eq!((html.matches("<style").count(), html.matches("</style>").count()), (1, 1));
        // The policy forbids inline attributes.
        assert!(!html.contains(" style=") && !html.contains(" onclick="));
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            let hits: Vec<_> = html.match_indices(outside).map(|(at, _)| &html[at..at + 40]).collect();
            assert!(hits.iter().all(|hit| hit.starts_with("http://www.w3.org/2000/svg")), "{hits:?}");
        }
    }

    #[test]
    fn the_digest_is_sha256() {
        assert_eq!(sha256("abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }
}
