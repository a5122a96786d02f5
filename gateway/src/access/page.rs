//! The page in a browser that made a request, by the fields that a browser writes and no page can leave out.

use http::header::{self, HeaderMap, HeaderName};

use crate::access::own_names::host_of;

/// A header field that browsers add; they omit it without TLS.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Fields that browsers write into every request, or into most. Plain tools write none of them.
const BROWSER_FIELDS: [HeaderName; 5] = [
    SEC_FETCH_SITE,
    HeaderName::from_static("sec-fetch-mode"),
    HeaderName::from_static("sec-fetch-dest"),
    header::REFERER,
    header::ACCEPT_LANGUAGE,
];

/// The page that made a request, if a browser did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// None, or one of this rover.
    Own,
    /// Another site's that `[access] origins` lists.
    Listed,
    /// Another site's.
    Foreign,
    /// A page that claims to be of this host, under a name that others may own: its owner can have pointed
    /// the name here after the page was loaded.
    UnknownName,
}

impl Page {
    /// Whether it gets telemetry only, unless it shows a token.
    pub fn is_stranger(self) -> bool {
        matches!(self, Page::Foreign | Page::UnknownName)
    }
}

/// The page that made a request with these header fields. `is_own` says whether a host is this rover.
pub(super) fn page(
    headers: &HeaderMap,
    is_own: impl Fn(&str) -> bool,
    is_listed: impl Fn(&str) -> bool,
) -> Page {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).and_then(host_of);
    // Every page of a rover's port, on any port of it, is the rover's.
    let is_foreign = match headers.get(header::ORIGIN) {
        Some(origin) => {
            let page = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            page.and_then(|(_, authority)| host_of(authority)) != host
        }
        // A form or an image of another site, for example.
        None => matches!(text(SEC_FETCH_SITE), Some("cross-site" | "same-site")),
    };
    let is_known = host.is_none_or(|host| is_own(&host));
    match is_foreign {
        false if is_known || !is_browser(headers) => Page::Own,
        _ if text(header::ORIGIN).is_some_and(is_listed) => Page::Listed,
        true => Page::Foreign,
        false => Page::UnknownName,
    }
}

/// Whether a browser wrote this request. A WebSocket of a browser always has an `Origin`; a request for a page's
/// own host has none, and over plain HTTP no `Sec-Fetch` fields either.
fn is_browser(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT);
    headers.contains_key(header::ORIGIN)
        || (!headers.contains_key(header::UPGRADE)
            && (BROWSER_FIELDS.iter().any(|field| headers.contains_key(field))
                || agent.is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::own_names::OwnNames;

    fn of(fields: &[(&'static str, &str)]) -> Page {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let names = OwnNames::new(&["rover.lab.example".to_owned()], "crawler").unwrap();
        page(&headers, |host| names.has(host, &[]), |origin| origin == "http://team.example")
    }

    #[test]
    fn a_foreign_page_is_recognized() {
        let with = |origin: &str| of(&[("host", "rover:8080"), ("origin", origin)]);
        assert_eq!(with("http://rover:8081"), Page::Own);
        assert_eq!(with("http://team.example"), Page::Listed);
        assert_eq!((with("http://evil.example"), with("null")), (Page::Foreign, Page::Foreign));
        for (site, page) in [
            ("cross-site", Page::Foreign),
            ("same-site", Page::Foreign),
            ("same-origin", Page::Own),
            ("none", Page::Own),
        ] {
            assert_eq!(of(&[("host", "rover:8080"), ("sec-fetch-site", site)]), page, "{site}");
        }
    }

    #[test]
    fn a_page_under_a_name_of_anybody_is_not_the_rovers() {
        let host = ("host", "evil.example:8080");
        let own_origin = ("origin", "http://evil.example:8080");
        assert_eq!(of(&[host, own_origin]), Page::UnknownName);
        assert_eq!(of(&[host, own_origin, ("upgrade", "websocket")]), Page::UnknownName);
        assert_eq!(of(&[host, ("origin", "http://team.example")]), Page::Listed);
        for field in [
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
            ("accept-language", "en"),
            ("accept-language", ""),
            ("referer", "http://evil.example:8080/"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "cors"),
        ] {
            assert_eq!(of(&[host, field]), Page::UnknownName, "{field:?}");
            assert_eq!(of(&[("host", "rover.lab.example"), field]), Page::Own, "{field:?}");
            assert_eq!(of(&[("host", "192.0.2.1:8080"), field]), Page::Own, "{field:?}");
        }
    }

    #[test]
    fn plain_tools_use_any_name() {
        for agent in ["curl/8.5.0", "Prometheus/2.53.0", "python-requests/2.31", "Go-http-client/1.1"] {
            let fields = [("host", "any.example:8080"), ("user-agent", agent), ("accept-encoding", "gzip")];
            assert_eq!(of(&fields), Page::Own, "{agent}");
        }
        assert_eq!(of(&[("host", "any.example:8080")]), Page::Own);
        // A library for WebSockets may write some fields of a browser, but no `Origin`.
        assert_eq!(
            of(&[("host", "a.example"), ("upgrade", "websocket"), ("accept-language", "*")]),
            Page::Own
        );
    }
}
