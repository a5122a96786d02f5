//! A message that a client publishes. The newest one counts: nothing waits here, what is older than its time to live is not
//! published, and the client learns at most once a second why something was not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use roverline_protocol::native::PublishMessage;
use roverline_source::Publication;
use roverline_source::clock::{monotonic, unix_ns};
use roverline_source::ros::RosError;

use crate::dialect::session::{PublishRejected, SessionContext};

/// Time to live of a message that gives none, milliseconds.
const DEFAULT_TTL_MS: u64 = 1_000;
/// The longest time to live, milliseconds.
const MAX_TTL_MS: u64 = 60_000;
/// Interval between two reports of one session.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The reports of a session's messages that were not published.
#[derive(Debug, Default)]
pub(super) struct PublishReports {
    last: Option<(Duration, &'static str, String)>,
    /// Messages that were not published since the last report.
    unreported: u64,
}

impl PublishReports {
    /// Counts a message that was not published; the text to send now, if one is due. A new kind of reason is due at
    /// once.
    fn text(&mut self, code: &'static str, why: String, now: Duration) -> Option<String> {
        self.unreported += 1;
        let is_same =
            |(_, last, text): &(Duration, &str, String)| *last == code && (code == "expired" || *text == why);
        let is_due = self
            .last
            .as_ref()
            .is_none_or(|last| !is_same(last) || now.saturating_sub(last.0) >= REPORT_INTERVAL);
        is_due.then(|| {
            let others = std::mem::take(&mut self.unreported) - 1;
            let text = match others {
                0 => why.clone(),
                others => format!("{why}; {others} more were not published"),
            };
            self.last = Some((now, code, why));
            text
        })
    }
}

/// Why a message is not published.
#[derive(Debug, thiserror::Error)]
enum NotPublished {
    #[error("it took {age_ms} ms to get here, and would have been too late after {ttl_ms} ms")]
    Expired { age_ms: u64, ttl_ms: u64 },
    #[error("the time to live is 1 to {MAX_TTL_MS} ms")]
    BadTtl,
    #[error("give its type: the ROS graph does not know the topic")]
    UnknownType,
    #[error("write a ROS name that begins with /, of at most 256 characters")]
    BadName,
    #[error("{0}")]
    BadMessage(#[from] RosError),
    #[error("{0}")]
    Rejected(#[from] PublishRejected),
}

impl NotPublished {
    /// The code in the status message.
    const fn code(&self) -> &'static str {
        match self {
            NotPublished::Expired { .. } => "expired",
            NotPublished::Rejected(_) => "refused",
            _ => "bad_command",
        }
    }
}

/// Publishes a message of the session's client; the code and the text of the status that is due if it was not published.
pub(super) fn publish(
    context: &SessionContext,
    reports: &mut PublishReports,
    message: PublishMessage,
) -> Option<(&'static str, String)> {
    let topic: String = message.topic.chars().take(256).collect();
    let why = try_publish(context, message).err()?;
    let code = why.code();
    let text = reports.text(code, why.to_string(), monotonic())?;
    Some((code, format!("{topic}: {text}")))
}

fn try_publish(context: &SessionContext, message: PublishMessage) -> Result<(), NotPublished> {
    let PublishMessage { topic, type_name, body, sent_ns, ttl_ms, token } = message;
    let ttl_ms = ttl_ms.unwrap_or(DEFAULT_TTL_MS);
    if !(1..=MAX_TTL_MS).contains(&ttl_ms) {
        return Err(NotPublished::BadTtl);
    }
    if let Some(age_ms) = sent_ns.map(|sent_ns| age_ms(sent_ns, unix_ns())).filter(|age_ms| *age_ms > ttl_ms)
    {
        context.endpoint.counters.commands.expired.fetch_add(1, Ordering::Relaxed);
        return Err(NotPublished::Expired { age_ms, ttl_ms });
    }
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/');
    if !topic.starts_with('/') || topic.len() > 256 || !topic.chars().all(is_name_char) {
        return Err(NotPublished::BadName);
    }
    let ros = &context.endpoint.ros;
    let type_name = match type_name.is_empty() {
        false => type_name,
        true => {
            ros.graph().topic(&topic).map(|known| known.type_name.clone()).ok_or(NotPublished::UnknownType)?
        }
    };
    // Before any work on the body.
    context.authorize_command(&topic, &type_name, token).map_err(PublishRejected::from)?;
    let payload = ros.encode(&type_name, &body)?;
    let publication = Publication { topic, type_name, payload, latched: false };
    Ok(context.publish_with_token(publication, token)?)
}

/// The age of a message, milliseconds; 0 if it seems to come from the future.
fn age_ms(sent_ns: i64, now_ns: i64) -> u64 {
    u64::try_from(now_ns.saturating_sub(sent_ns) / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_sent_at_once_and_then_once_a_second() {
        let mut reports = PublishReports::default();
        let ms = Duration::from_millis;
        let mut text = |code, why: &str, at| reports.text(code, why.to_owned(), ms(at));
        assert_eq!(text("refused", "held by ann", 0).as_deref(), Some("held by ann"));
        assert_eq!(text("refused", "held by ann", 50), None);
        assert_eq!(
            text("expired", "it took 9 ms", 100).as_deref(),
            Some("it took 9 ms; 1 more were not published")
        );
        assert_eq!(text("expired", "it took 8 ms", 150), None, "the figures differ, the reason does not");
        let later = text("expired", "it took 7 ms", 1_100);
        assert_eq!(later.as_deref(), Some("it took 7 ms; 1 more were not published"));
    }

    #[test]
    fn an_age_is_never_negative() {
        assert_eq!(age_ms(0, 5_000_000), 5);
        for (sent_ns, now_ns) in [(9, 0), (i64::MAX, i64::MIN), (i64::MAX, 0)] {
            assert_eq!(age_ms(sent_ns, now_ns), 0);
        }
        assert!(age_ms(i64::MIN, i64::MAX) > 1_000_000);
    }
}
