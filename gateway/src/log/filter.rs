//! The filter of log lines: a level, and other levels for some targets. It is written `info` or
//! `info,roverline_gateway::hub=trace`.

use std::str::FromStr;

use roverline_protocol::limits::LOG_FILTER_BYTES;
use roverline_protocol::trace::TARGET;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Targets with a level of their own in one filter.
const FILTER_LEVELS: usize = 32;
/// The level of what a filter does not name.
const DEFAULT: LevelFilter = LevelFilter::INFO;
/// Libraries that log every malformed packet, unless a filter names them.
const NOISY: [(&str, Level); 3] = [("rustdds", Level::ERROR), ("mio", Level::WARN), ("hyper", Level::WARN)];
/// The module that changes levels. A filter may not hide who changed them.
pub(super) const OWN_TARGET: &str = "roverline_gateway::log::levels";

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "character {position}: {reason}; write off, error, warn, info, debug or trace, and TARGET=LEVEL for parts of \
     the program, for example info,roverline_gateway::hub=trace"
)]
pub struct FilterError {
    /// Where the part that is not understood begins; the first character is 1.
    pub position: usize,
    reason: String,
}

/// A filter that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    text: String,
    level: LevelFilter,
    targets: Vec<(String, LevelFilter)>,
}

impl Default for LogFilter {
    fn default() -> LogFilter {
        LogFilter { text: "info".to_owned(), level: DEFAULT, targets: Vec::new() }
    }
}

impl LogFilter {
    /// The filter as text, without spaces.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The levels by target. `traced`: spans of traces are context of log lines.
    pub(super) fn targets(&self, traced: bool) -> Targets {
        let spans = if traced { LevelFilter::ERROR } else { LevelFilter::OFF };
        Targets::new()
            .with_default(self.level)
            .with_targets(NOISY)
            .with_targets(self.targets.iter().cloned())
            .with_target(OWN_TARGET, LevelFilter::INFO)
            .with_target(TARGET, spans)
    }
}

impl FromStr for LogFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<LogFilter, FilterError> {
        if text.len() > LOG_FILTER_BYTES {
            let reason = format!("a filter has at most {LOG_FILTER_BYTES} bytes");
            return Err(FilterError { position: LOG_FILTER_BYTES + 1, reason });
        }
        let mut filter = LogFilter { text: String::new(), ..LogFilter::default() };
        let (mut position, mut has_level) = (1, false);
        for part in text.split(',') {
            let spaces = part.chars().take_while(|c| c.is_whitespace()).count();
            let here = |reason: String| FilterError { position: position + spaces, reason };
            match parse_part(part.trim()).map_err(here)? {
                (None, _) if has_level => {
                    return Err(here("there is a level for everything already".to_owned()));
                }
                (None, level) => (filter.level, has_level) = (level, true),
                (Some(_), _) if filter.targets.len() == FILTER_LEVELS => {
                    return Err(here(format!("a filter has at most {FILTER_LEVELS} targets")));
                }
                (Some(target), level) => filter.targets.push((target, level)),
            }
            position += part.chars().count() + 1;
        }
        filter.text = text.chars().filter(|c| !c.is_whitespace()).collect();
        Ok(filter)
    }
}

/// `LEVEL` or `TARGET=LEVEL`.
fn parse_part(part: &str) -> Result<(Option<String>, LevelFilter), String> {
    let shown = |text: &str| text.chars().take(40).collect::<String>();
    let level_of = |word: &str| match word.trim().to_ascii_lowercase().as_str() {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        "" => Err("a level is missing".to_owned()),
        word => Err(format!("'{}' is no level", shown(word))),
    };
    let Some((target, level)) = part.split_once('=') else {
        return Ok((None, level_of(part)?));
    };
    let target = target.trim();
    let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
    if target.is_empty() || !target.chars().all(is_path) {
        return Err(format!(
            "'{}' is no target, which is a path such as roverline_gateway::hub",
            shown(target)
        ));
    }
    Ok((Some(target.to_owned()), level_of(level)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn enables(filter: &str, target: &str, level: Level) -> bool {
        filter.parse::<LogFilter>().unwrap().targets(true).would_enable(target, &level)
    }

    #[test]
    fn levels_apply_to_their_targets() {
        assert!(enables("info", "roverline_gateway::hub", Level::INFO));
        assert!(!enables("info", "roverline_gateway::hub", Level::DEBUG));
        let filter = "warn, roverline_gateway::hub=TRACE";
        assert!(enables(filter, "roverline_gateway::hub::fanout", Level::TRACE));
        assert!(!enables(filter, "roverline_gateway::api", Level::INFO));
        assert_eq!(filter.parse::<LogFilter>().unwrap().text(), "warn,roverline_gateway::hub=TRACE");
        // What a filter does not name is not silenced by it.
        assert!(enables("roverline_gateway::hub=trace", "roverline_gateway::api", Level::INFO));
        assert!(
            !enables("debug", "hyper::proto", Level::DEBUG) && enables("hyper=debug", "hyper", Level::DEBUG)
        );
        for hidden in ["off", "error,roverline_gateway::log=off"] {
            assert!(enables(hidden, OWN_TARGET, Level::INFO), "who changed it is in the log: {hidden}");
            assert!(enables(hidden, TARGET, Level::ERROR), "the request of a line is known: {hidden}");
        }
    }

    #[test]
    fn a_wrong_filter_is_explained_where_it_is_wrong() {
        for (text, position, words) in [
            ("debgu", 1, "'debgu' is no level"),
            ("info, hub=loud", 7, "'loud' is no level"),
            ("info,,debug", 6, "a level is missing"),
            ("", 1, "a level is missing"),
            ("ä=info", 1, "is no target"),
            ("info,=debug", 6, "is no target"),
            ("info,debug", 6, "already"),
            ("[session{id=1}]=debug", 1, "is no target"),
        ] {
            let error = text.parse::<LogFilter>().unwrap_err();
            assert_eq!(error.position, position, "{text}: {error}");
            assert!(error.to_string().contains(words), "{text}: {error}");
            assert!(error.to_string().contains("for example info,"), "{error}");
        }
        let many = vec!["a=info"; FILTER_LEVELS + 1].join(",");
        assert!(many.parse::<LogFilter>().unwrap_err().to_string().contains("at most 32 targets"));
        assert!(
            "x".repeat(LOG_FILTER_BYTES + 1).parse::<LogFilter>().unwrap_err().to_string().contains("bytes")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_filter_or_refused(text in "[a-z=:, äé\u{0}]{0,40}") {
            if let Ok(filter) = text.parse::<LogFilter>() {
                prop_assert_eq!(filter.text().parse::<LogFilter>().unwrap(), filter);
            }
        }
    }
}
