//! The client behind a proxy: `Forwarded` (RFC 7239) or `X-Forwarded-For`, from proxies that are trusted.
//! Lists are read from the right, where the nearest proxy writes; what a client wrote into them itself is at
//! the left of it and never reached.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName};
use ipnet::IpNet;
use parking_lot::Mutex;

/// Nodes of a list that are read.
const FORWARDED_ENTRIES: usize = 32;
/// Proxies and networks of proxies in the configuration.
pub(super) const TRUSTED_PROXY_ENTRIES: usize = 64;
/// Interval between two log lines about proxies that are not trusted.
const UNTRUSTED_LOG_MS: u64 = 60_000;

/// How a request came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Straight from the client.
    Direct,
    /// Through a trusted proxy, which says who the client is.
    TrustedProxy,
    /// Through a proxy that is not trusted, or that does not say who the client is.
    UnknownProxy,
}

/// Parses an entry of `trusted_proxies`: an address, or a network as `10.0.0.0/8`.
pub fn proxy_network(text: &str) -> Option<IpNet> {
    let address = |text: &str| text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>().ok().or_else(|| address(text))
}

/// The trusted proxies, and what came through others.
#[derive(Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    unknown: AtomicU64,
    logged_at: Mutex<Option<Duration>>,
}

impl TrustedProxies {
    /// Proxies in these networks are trusted.
    pub(super) fn new(networks: Vec<IpNet>) -> TrustedProxies {
        TrustedProxies { networks, ..TrustedProxies::default() }
    }

    /// The client's address, and how its request came, at `now` (monotonic).
    pub(super) fn resolve(
        &self,
        socket: SocketAddr,
        headers: &HeaderMap,
        now: Duration,
    ) -> (SocketAddr, Via) {
        let Some(field) = first_forwarding_field(headers) else { return (socket, Via::Direct) };
        let why = match self.trusts(socket.ip()) {
            true => match self.client(headers) {
                Some(client) => return (client, Via::TrustedProxy),
                None => "it does not say for whom, in one of Forwarded and X-Forwarded-For",
            },
            false => "it is not in [access] trusted_proxies",
        };
        self.unknown.fetch_add(1, Ordering::Relaxed);
        if self.is_log_due(now) {
            tracing::warn!(
                proxy = %socket.ip(), %field, why,
                "a request came through a proxy, so its client is an observer unless it shows a token; \
                 docs/access.md says how to set up a proxy"
            );
        }
        (socket, Via::UnknownProxy)
    }

    /// Requests that came through a proxy which is not trusted, or does not say for whom.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The client that the trusted proxies name; `None` if they name none, or two: then one of the fields
    /// was passed on as the client wrote it.
    fn client(&self, headers: &HeaderMap) -> Option<SocketAddr> {
        let newer = joined(headers, &header::FORWARDED);
        let older = joined(headers, &X_FORWARDED_FOR);
        match (newer, older) {
            (Some(newer), None) => self.nearest(&forwarded_nodes(&newer?)?),
            (None, Some(older)) => self.nearest(&older_nodes(&older?)),
            (Some(newer), Some(older)) => {
                let newer = self.nearest(&forwarded_nodes(&newer?)?)?;
                let older = self.nearest(&older_nodes(&older?))?;
                (newer.ip() == older.ip()).then_some(newer)
            }
            (None, None) => None,
        }
    }

    /// The rightmost node that is no trusted proxy, or the leftmost of trusted ones only.
    fn nearest(&self, nodes: &[String]) -> Option<SocketAddr> {
        let mut client = None;
        for text in nodes.iter().rev().take(FORWARDED_ENTRIES) {
            let address = node(text.trim())?;
            client = Some(address);
            if !self.trusts(address.ip()) {
                return client;
            }
        }
        client.filter(|_| nodes.len() <= FORWARDED_ENTRIES)
    }

    fn is_log_due(&self, now: Duration) -> bool {
        let mut logged_at = self.logged_at.lock();
        let is_due =
            logged_at.is_none_or(|at| now.saturating_sub(at) >= Duration::from_millis(UNTRUSTED_LOG_MS));
        if is_due {
            *logged_at = Some(now);
        }
        is_due
    }
}

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A field by which a proxy shows itself.
fn first_forwarding_field(headers: &HeaderMap) -> Option<&HeaderName> {
    headers.keys().find(|name| {
        **name == header::FORWARDED
            || **name == header::VIA
            || name.as_str() == "x-real-ip"
            || name.as_str().starts_with("x-forwarded-")
    })
}

/// All lines of a field as one list. The inner `None` is a field that is no text.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Option<String>> {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek()?;
    let lines: Option<Vec<&str>> = lines.map(|line| line.to_str().ok()).collect();
    Some(lines.map(|lines| lines.join(",")))
}

/// The nodes of `X-Forwarded-For`, in order.
fn older_nodes(field: &str) -> Vec<String> {
    field.split(',').map(str::to_owned).collect()
}

/// The `for` node of each element of `Forwarded`, in order; `None` if it is malformed. An element without
/// one is an empty text, which is no node.
fn forwarded_nodes(field: &str) -> Option<Vec<String>> {
    let mut nodes = Vec::new();
    for element in split(field, ',')? {
        let mut node = String::new();
        for pair in split(element, ';')?.into_iter().filter(|pair| !pair.trim().is_empty()) {
            let (name, value) = pair.trim().split_once('=')?;
            if name.eq_ignore_ascii_case("for") {
                if !node.is_empty() {
                    return None;
                }
                node = unquoted(value)?;
            }
        }
        nodes.push(node);
    }
    Some(nodes)
}

/// Splits at a character outside of quoted strings; `None` if a quote is not closed.
fn split(text: &str, at: char) -> Option<Vec<&str>> {
    let (mut parts, mut begin, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (offset, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            c if c == at && !is_quoted => {
                parts.push(&text[begin..offset]);
                begin = offset + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    (!is_quoted).then_some(parts)
}

/// The content of a quoted string, or the token as it is.
fn unquoted(value: &str) -> Option<String> {
    let Some(inner) = value.strip_prefix('"') else {
        return (!value.contains('"')).then(|| value.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => text.push(chars.next()?),
            c => text.push(c),
        }
    }
    Some(text)
}

/// An address with or without a port; IPv6 in brackets if it has a port. `None` for names, `unknown` and
/// obfuscated identifiers.
fn node(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = match bare.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, 0),
        Err(_) => text.parse().ok()?,
    };
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// The nodes of both fields, for the fuzz target: the parsers return for any input.
pub fn parse_nodes(text: &str) -> usize {
    let forwarded = forwarded_nodes(text).unwrap_or_default();
    let older = older_nodes(text).iter().filter_map(|text| node(text.trim())).count();
    older + forwarded.iter().filter_map(|text| node(text)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn resolve(trusted: &[&str], socket: &str, fields: &[(&'static str, &str)]) -> (String, Via) {
        let proxies = TrustedProxies::new(trusted.iter().map(|text| proxy_network(text).unwrap()).collect());
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let (address, via) = proxies.resolve(SocketAddr::new(socket.parse().unwrap(), 5), &headers, S);
        (address.ip().to_string(), via)
    }

    fn client(fields: &[(&'static str, &str)]) -> Option<String> {
        let (address, via) = resolve(&["127.0.0.0/8", "::1", "10.9.0.0/16"], "127.0.0.1", fields);
        (via == Via::TrustedProxy).then_some(address)
    }

    #[test]
    fn a_proxy_shows_itself_and_is_trusted_or_not() {
        assert_eq!(resolve(&[], "127.0.0.1", &[]), ("127.0.0.1".to_owned(), Via::Direct));
        for field in ["forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-proto"] {
            let untrusted = ("127.0.0.1".to_owned(), Via::UnknownProxy);
            assert_eq!(resolve(&[], "127.0.0.1", &[(field, "for=10.0.0.5")]), untrusted, "{field}");
        }
        let fields = [("x-forwarded-for", "10.0.0.5")];
        assert_eq!(resolve(&["10.1.0.0/16"], "10.1.2.3", &fields).1, Via::TrustedProxy);
        assert_eq!(resolve(&["10.1.0.0/16"], "::ffff:10.1.2.3", &fields).1, Via::TrustedProxy);
        assert_eq!(resolve(&["10.1.0.0/16"], "10.2.2.3", &fields).1, Via::UnknownProxy);
        assert_eq!(resolve(&["127.0.0.1"], "127.0.0.1", &[]).1, Via::Direct);
        assert!(proxy_network("nginx").is_none() && proxy_network("10.0.0.0/33").is_none());
    }

    #[test]
    fn lists_are_read_from_the_right() {
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(client(&[("x-forwarded-for", "10.0.0.5")]), is("10.0.0.5"));
        assert_eq!(client(&[("x-forwarded-for", "127.0.0.1, 10.0.0.5")]), is("10.0.0.5"), "forged");
        assert_eq!(client(&[("x-forwarded-for", "1.1.1.1, 10.0.0.5, 10.9.0.1")]), is("10.0.0.5"), "chain");
        let lines = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "10.0.0.5:99")];
        assert_eq!(client(&lines), is("10.0.0.5"));
        assert_eq!(client(&[("x-forwarded-for", "10.9.0.2, 127.0.0.1")]), is("10.9.0.2"), "only proxies");
        assert_eq!(
            client(&[("forwarded", "for=127.0.0.1, For=10.0.0.5;proto=http;by=10.9.0.1")]),
            is("10.0.0.5")
        );
        let quoted = r#"for="[2001:db8::7]:4711";host="a,b;for=1.1.1.1""#;
        assert_eq!(client(&[("forwarded", quoted)]), is("2001:db8::7"));
        assert_eq!(client(&[("x-forwarded-for", "2001:db8::7")]), is("2001:db8::7"));
        let both = [("forwarded", "for=10.0.0.5"), ("x-forwarded-for", "10.0.0.5")];
        assert_eq!(client(&both), is("10.0.0.5"));
    }

    #[test]
    fn who_is_not_named_is_nobody() {
        for (field, value) in [
            ("x-forwarded-for", ""),
            ("x-forwarded-for", "unknown"),
            ("x-forwarded-for", "10.0.0.5,"),
            ("forwarded", "for=unknown"),
            ("forwarded", "for=_hidden"),
            ("forwarded", "proto=http"),
            ("forwarded", "for=127.0.0.1;for=10.0.0.5"),
            ("forwarded", "for=\"127.0.0.1, for=10.0.0.5"),
            ("forwarded", "for=10.0.0.5, by"),
            ("x-real-ip", "10.0.0.5"),
            ("via", "1.1 proxy"),
        ] {
            assert_eq!(client(&[(field, value)]), None, "{field}: {value}");
        }
        let one_is_forged = [("forwarded", "for=127.0.0.1"), ("x-forwarded-for", "10.0.0.5")];
        assert_eq!(client(&one_is_forged), None);
        let long = vec!["10.9.0.1"; FORWARDED_ENTRIES + 1].join(",");
        assert_eq!(client(&[("x-forwarded-for", &long)]), None);
    }

    #[test]
    fn the_log_is_bounded_and_the_count_is_not() {
        let proxies = TrustedProxies::default();
        let due = (0..130).filter(|second| proxies.is_log_due(*second * S)).count();
        assert_eq!(due, 3);
        let mut headers = HeaderMap::new();
        headers.insert(header::VIA, "1.1 x".parse().unwrap());
        for _ in 0..7 {
            proxies.resolve("127.0.0.1:5".parse().unwrap(), &headers, S);
        }
        assert_eq!(proxies.unknown(), 7);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed(text in r#"[0-9a-f:.,;="\\ \[\]for]{0,60}"#) {
            parse_nodes(&text);
        }
    }
}
