//! The path under which a proxy publishes an endpoint and that it leaves in the requests: `/rover/health` for
//! `/health`. Requests without it are answered as well.

use http::Uri;
use http::uri::PathAndQuery;

/// Removes the prefix from a request's URI.
pub(crate) fn strip(prefix: &str, uri: &mut Uri) {
    let Some(rest) = uri.path_and_query().and_then(|whole| without(prefix, whole.as_str())) else { return };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = PathAndQuery::try_from(rest).ok();
    // The rest of a valid URI is one.
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

fn without(prefix: &str, whole: &str) -> Option<String> {
    let rest = whole.strip_prefix(prefix).filter(|_| !prefix.is_empty())?;
    match rest.as_bytes().first() {
        Some(b'/') => Some(rest.to_owned()),
        None | Some(b'?') => Some(format!("/{rest}")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_removed_where_it_is_whole() {
        let stripped = |prefix: &str, uri: &str| {
            let mut uri: Uri = uri.parse().unwrap();
            strip(prefix, &mut uri);
            uri.to_string()
        };
        for (uri, expected) in [
            ("/rover/health", "/health"),
            ("/rover", "/"),
            ("/rover/", "/"),
            ("/rover?token=x", "/?token=x"),
            ("/rover/telemetry?a=/rover", "/telemetry?a=/rover"),
            ("/rover/rover/x", "/rover/x"),
            ("/rovers/health", "/rovers/health"),
            ("/health", "/health"),
            ("/Rover/health", "/Rover/health"),
            ("/rover//x", "//x"),
        ] {
            assert_eq!(stripped("/rover", uri), expected, "{uri}");
        }
        assert_eq!(stripped("", "/rover/health"), "/rover/health");
        assert_eq!(stripped("/a/b", "/a/b/c"), "/c");
        assert_eq!(stripped("/rover", "http://host:80/rover/health"), "http://host:80/health");
    }
}
