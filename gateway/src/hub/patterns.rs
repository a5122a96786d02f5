//! The topic patterns of one session, with their options. Plain names are looked up; only patterns with wildcards
//! are matched one by one, and their cost is bounded.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use roverline_protocol::ScopeSet;
use roverline_protocol::native::TopicInfo;
use roverline_protocol::topic_pattern::TopicPattern;

use crate::hub::encoding::FrameFormat;
use crate::hub::subscribe_request::{SubscribeError, SubscribeOptions, interval};
use crate::limits;

/// A topic pattern with its options.
struct Pattern {
    text: String,
    pattern: TopicPattern,
    interval: Option<Duration>,
    scopes: Option<ScopeSet>,
    type_name: Option<String>,
    format: Option<FrameFormat>,
    queue_length: Option<u32>,
    /// Rises with each request: the newest of several matching patterns decides.
    order: u64,
}

impl Pattern {
    fn new(
        text: &str,
        interval: Option<Duration>,
        options: &SubscribeOptions,
    ) -> Result<Pattern, SubscribeError> {
        let shown = || text.chars().take(64).collect::<String>();
        if text.is_empty() || text.len() > limits::TOPIC_NAME_CHARS {
            return Err(SubscribeError::Length(shown()));
        }
        Ok(Pattern {
            text: text.to_owned(),
            pattern: TopicPattern::parse(text).map_err(|why| SubscribeError::Pattern(shown(), why))?,
            interval,
            scopes: options.scopes,
            type_name: options.type_name.clone(),
            format: options.format,
            queue_length: options.queue_length,
            order: 0,
        })
    }

    /// Whether it matches this topic.
    fn matches(&self, info: &TopicInfo) -> bool {
        self.scopes.is_none_or(|scopes| scopes.intersects(info.scopes))
            && self.type_name.as_ref().is_none_or(|type_name| *type_name == info.type_name)
            && self.pattern.is_match(&info.name)
    }
}

/// The effective options of a session for one topic, merged from all matching patterns.
pub(super) struct EffectiveOptions {
    pub(super) interval: Option<Duration>,
    pub(super) format: FrameFormat,
    pub(super) queue_length: Option<u32>,
    /// The request that subscribed it last.
    pub(super) order: u64,
}

/// The patterns of one session.
#[derive(Default)]
pub(super) struct Patterns {
    /// Plain names.
    names: HashMap<String, Pattern>,
    /// The others, in the order of their requests.
    wildcards: Vec<Pattern>,
    order: u64,
}

/// The patterns that a request added or removed.
pub(super) struct ChangedPatterns {
    names: HashSet<String>,
    wildcards: bool,
    /// The number of the request.
    pub(super) order: u64,
}

impl ChangedPatterns {
    /// Whether a topic of this name may be concerned.
    pub(super) fn may_concern(&self, name: &str) -> bool {
        self.wildcards || self.names.contains(name)
    }
}

impl Patterns {
    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.names.len() + self.wildcards.len()
    }

    /// Steps per character of a name that a match takes at most.
    pub(super) fn cost(&self) -> usize {
        self.wildcards.iter().map(|pattern| pattern.pattern.cost()).sum()
    }

    /// Whether all are restricted to these scopes.
    pub(super) fn are_within(&self, scopes: ScopeSet) -> bool {
        let within = |pattern: &Pattern| pattern.scopes.is_some_and(|requested| scopes.covers(requested));
        self.names.values().all(within) && self.wildcards.iter().all(within)
    }

    /// Adds the patterns of a request, all or none. A pattern of the same text is replaced.
    pub(super) fn add(&mut self, options: &SubscribeOptions) -> Result<ChangedPatterns, SubscribeError> {
        if options.patterns.len() > limits::PATTERNS_PER_SESSION {
            // Checked before they are parsed.
            return Err(SubscribeError::TooMany);
        }
        let interval = interval(options.max_rate_hz)?;
        let (mut names, mut wildcards, mut cost) = (HashMap::new(), HashMap::new(), 0);
        for text in &options.patterns {
            let new = Pattern { order: self.order + 1, ..Pattern::new(text, interval, options)? };
            match new.pattern.name().map(str::to_owned) {
                Some(name) => {
                    names.insert(name, new);
                }
                None => {
                    cost += new.pattern.cost();
                    if cost > limits::SESSION_PATTERN_STEPS {
                        return Err(SubscribeError::TooCostly(cost));
                    }
                    wildcards.insert(new.text.clone(), new);
                }
            }
        }
        let kept_names = self.names.keys().filter(|name| !names.contains_key(*name)).count();
        let is_kept = |old: &&Pattern| !wildcards.contains_key(&old.text);
        let kept = self.wildcards.iter().filter(is_kept);
        let (kept, kept_cost) =
            kept.fold((0, 0), |(count, cost), old| (count + 1, cost + old.pattern.cost()));
        if kept_names + names.len() + kept + wildcards.len() > limits::PATTERNS_PER_SESSION {
            return Err(SubscribeError::TooMany);
        }
        if kept_cost + cost > limits::SESSION_PATTERN_STEPS {
            return Err(SubscribeError::TooCostly(kept_cost + cost));
        }
        self.order += 1;
        let changed = ChangedPatterns {
            names: names.keys().cloned().collect(),
            wildcards: !wildcards.is_empty(),
            order: self.order,
        };
        self.names.extend(names);
        self.wildcards.retain(|old| !wildcards.contains_key(&old.text));
        self.wildcards.extend(wildcards.into_values());
        Ok(changed)
    }

    /// Removes the patterns of these texts; unknown ones are ignored.
    pub(super) fn remove(&mut self, texts: &[String]) -> ChangedPatterns {
        // The number of texts is limited only by the message size.
        let (mut names, mut wildcards) = (HashSet::new(), HashSet::new());
        for text in texts.iter().filter(|text| text.len() <= limits::TOPIC_NAME_CHARS) {
            match TopicPattern::parse(text).as_ref().ok().and_then(TopicPattern::name) {
                Some(name) if self.names.remove(name).is_some() => {
                    names.insert(name.to_owned());
                }
                Some(_) => {}
                None => {
                    wildcards.insert(text.as_str());
                }
            }
        }
        let before = self.wildcards.len();
        self.wildcards.retain(|old| !wildcards.contains(old.text.as_str()));
        ChangedPatterns { names, wildcards: self.wildcards.len() < before, order: self.order }
    }

    /// Merges the matching patterns: the shortest interval of all, the other options from the newest.
    /// `None` if no pattern matches.
    pub(super) fn effective_options(
        &self,
        format: FrameFormat,
        topic: &TopicInfo,
    ) -> Option<EffectiveOptions> {
        let named = self.names.get(&topic.name).into_iter().chain(&self.wildcards);
        let mut matching = named.filter(|pattern| pattern.matches(topic));
        let first = matching.next()?;
        let (mut interval, mut newest) = (first.interval, first);
        for pattern in matching {
            interval = interval.min(pattern.interval);
            newest = if pattern.order >= newest.order { pattern } else { newest };
        }
        Some(EffectiveOptions {
            interval,
            format: newest.format.unwrap_or(format),
            queue_length: newest.queue_length,
            order: newest.order,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(patterns: &[&str]) -> SubscribeOptions {
        let patterns = patterns.iter().map(|text| (*text).to_owned()).collect();
        SubscribeOptions { patterns, ..SubscribeOptions::default() }
    }

    #[test]
    fn names_are_free_and_wildcards_have_a_bound() {
        let mut patterns = Patterns::default();
        let names: Vec<String> = (0..limits::PATTERNS_PER_SESSION).map(|n| format!("/t{n}")).collect();
        let all = SubscribeOptions { patterns: names.clone(), ..SubscribeOptions::default() };
        patterns.add(&all).unwrap();
        patterns.add(&all).unwrap();
        assert_eq!((patterns.len(), patterns.cost()), (limits::PATTERNS_PER_SESSION, 0));
        assert_eq!(patterns.add(&request(&["/other"])).err(), Some(SubscribeError::TooMany));
        patterns.remove(&names);
        let costly = format!("**/{}", "*a".repeat(100));
        let error = loop {
            let unique = format!("{costly}{}", patterns.len());
            if let Err(error) = patterns.add(&request(&[&unique])) {
                break error;
            }
        };
        assert!(error.to_string().contains(&format!("a session may have {}", limits::SESSION_PATTERN_STEPS)));
        assert!((1..100).contains(&patterns.len()) && patterns.cost() <= limits::SESSION_PATTERN_STEPS);
    }

    #[test]
    fn a_refused_request_changes_nothing() {
        let mut patterns = Patterns::default();
        patterns.add(&request(&["/a", "/b/*"])).unwrap();
        assert!(patterns.add(&request(&["/a", "/c/["])).is_err());
        assert!(patterns.add(&request(&[""])).is_err());
        assert_eq!((patterns.len(), patterns.order), (2, 1));
        let gone = patterns.remove(&["/a".to_owned(), "/x".to_owned()]);
        assert!(gone.may_concern("/a") && !gone.may_concern("/x") && !gone.may_concern("/b/c"));
    }
}
