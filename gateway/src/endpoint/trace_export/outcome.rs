//! What a collector's answer means, as OTLP specifies it: which failures are temporary, and how many spans were taken.

use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use crate::trace::otlp::rejected_spans;

/// The media type of requests and responses.
pub(super) const PROTOBUF: &str = "application/x-protobuf";

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The collector took the spans, without some.
    Accepted { rejected: u64 },
    /// It answered 200, but what follows is no response of OTLP. It may have them.
    Unconfirmed(String),
    /// It refuses them for good.
    Refused(String),
    /// They may be sent again; `after`: not before.
    Retry { after: Option<Duration>, reason: String },
}

impl Outcome {
    /// A failure that may be temporary.
    pub(super) fn retry(reason: impl Into<String>) -> Outcome {
        Outcome::Retry { after: None, reason: reason.into() }
    }

    /// Why the spans were not taken, or may not have been.
    pub(super) fn failure(&self) -> Option<&str> {
        match self {
            Outcome::Accepted { .. } => None,
            Outcome::Unconfirmed(reason) | Outcome::Refused(reason) | Outcome::Retry { reason, .. } => {
                Some(reason)
            }
        }
    }
}

/// Judges the head of a response; `None`: its body decides.
pub(super) fn judge_head(status: StatusCode, headers: &HeaderMap) -> Option<Outcome> {
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            Some(Outcome::Retry { after: retry_after(headers), reason: format!("it answers {status}") })
        }
        status if status.is_success() => None,
        status if status.is_redirection() => {
            Some(Outcome::Refused(format!("it answers {status}: redirects are not followed")))
        }
        status => Some(Outcome::Refused(format!("it answers {status}"))),
    }
}

/// The delay in seconds that a collector asks for. A date is not read: the backoff decides then.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Judges a successful response. Some collectors send no body and no media type.
pub(super) fn judge_body(headers: &HeaderMap, body: &[u8]) -> Outcome {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_protobuf = media_type.split(';').next().is_some_and(|name| name.trim() == PROTOBUF);
    match rejected_spans(body) {
        Some(rejected) if is_protobuf || body.is_empty() => Outcome::Accepted { rejected },
        _ => {
            Outcome::Unconfirmed("it answers 200 with something else: is it a collector for OTLP?".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn only_what_the_specification_names_is_sent_again() {
        for status in 100..600 {
            let status = StatusCode::from_u16(status).unwrap();
            let judged = judge_head(status, &HeaderMap::new());
            let is_temporary = matches!(judged, Some(Outcome::Retry { .. }));
            assert_eq!(is_temporary, [429, 502, 503, 504].contains(&status.as_u16()), "{status}");
            assert_eq!(judged.is_none(), status.is_success(), "{status}");
        }
    }

    #[test]
    fn the_delay_is_what_the_collector_asks_for() {
        for (value, expected) in [
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("31536000", Some(31_536_000)),
            ("-1", None),
            ("99999999999999999999", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ] {
            assert_eq!(
                retry_after(&headers(RETRY_AFTER, value)),
                expected.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    #[test]
    fn a_success_needs_a_response_of_otlp() {
        let partial = [0x0a, 0x02, 0x08, 0x05];
        let protobuf = headers(CONTENT_TYPE, PROTOBUF);
        assert_eq!(judge_body(&protobuf, &[]), Outcome::Accepted { rejected: 0 });
        assert_eq!(judge_body(&protobuf, &partial), Outcome::Accepted { rejected: 5 });
        assert_eq!(judge_body(&HeaderMap::new(), &[]), Outcome::Accepted { rejected: 0 });
        assert!(matches!(judge_body(&protobuf, b"<html>"), Outcome::Unconfirmed(_)));
        assert!(matches!(judge_body(&headers(CONTENT_TYPE, "text/html"), &partial), Outcome::Unconfirmed(_)));
    }
}
