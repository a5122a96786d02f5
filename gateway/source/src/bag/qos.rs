//! Reads reliability and durability from `offered_qos_profiles`, without a YAML parser.
//!
//! Recorders have written this text in several dialects: indented or flow style; policies as words or as
//! the numbers of `rmw_qos_*_policy_t` (reliable = 1, transient local = 1); with or without the doubled
//! escapes of a nested string. A scan for `key: value` reads them all.

use crate::Qos;

/// Publishers of a channel whose last messages are kept.
const MAX_LATCHING: usize = 64;
/// Messages kept of each.
const MAX_DEPTH: u32 = 128;

/// The QoS offered by the publishers of `topic`. A channel may list several publishers; the strongest
/// offer counts, because a late subscriber benefits from it.
pub(super) fn offered(topic: &str, profiles: &str) -> Qos {
    let is_reliable = |value: &str| value == "1" || value.eq_ignore_ascii_case("reliable");
    let silent = values(profiles, "durability").next().is_none();
    Qos {
        reliable: values(profiles, "reliability").any(is_reliable),
        // Old recorders wrote no profiles. One topic's durability is known regardless: tf2 always
        // publishes static transforms as transient local.
        transient_local: values(profiles, "durability").any(is_transient_local)
            || (silent && topic.rsplit('/').next() == Some("tf_static")),
    }
}

/// How many publishers of the channel keep their last message for late subscribers.
pub(super) fn latching_publishers(topic: &str, profiles: &str) -> usize {
    if !offered(topic, profiles).transient_local {
        return 0;
    }
    values(profiles, "durability").filter(|value| is_transient_local(value)).count().clamp(1, MAX_LATCHING)
}

/// How many messages each of these publishers keeps: the deepest history that one of them offered.
pub(super) fn history_depth(topic: &str, profiles: &str) -> u32 {
    if !offered(topic, profiles).transient_local {
        return 1;
    }
    let depths = values(profiles, "depth").filter_map(|depth| depth.parse().ok());
    depths.max().unwrap_or(1).clamp(1, MAX_DEPTH)
}

fn is_transient_local(durability: &str) -> bool {
    durability == "1" || durability.eq_ignore_ascii_case("transient_local")
}

/// All values that follow `key:`.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(key).filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back();
        if before.is_some_and(is_word) {
            return None;
        }
        let rest = text[at + key.len()..].trim_start_matches(['"', '\'', '\\']).trim_start_matches(' ');
        let rest = rest.strip_prefix(':')?.trim_start_matches([' ', '"', '\'', '\\']);
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        Some(&rest[..end])
    })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_may_be_numbers_or_words() {
        let latched = Qos { reliable: true, transient_local: true };
        for text in [
            "- history: 1\n  depth: 1\n  reliability: 1\n  durability: 1\n  deadline:\n    sec: 9223372036",
            "- history: keep_last\n  reliability: reliable\n  durability: transient_local\n",
            "[{history: 1, reliability: \"reliable\", durability: 'transient_local'}]",
            "- reliability: 2\n  durability: 2\n- reliability: 1\n  durability: 1\n",
            r#"[{\"reliability\": \"reliable\", \"durability\": \"TRANSIENT_LOCAL\"}]"#,
        ] {
            assert_eq!(offered("/map", text), latched, "{text}");
        }
    }

    #[test]
    fn the_default_is_the_weakest_qos() {
        let plain = Qos::default();
        for text in [
            "",
            "reliability: 2\ndurability: 2",
            "reliability: 10",
            "xreliability: 1",
            "durability",
            "durability:",
            "ä: 1 durability: volatile",
        ] {
            assert_eq!(offered("/map", text), plain, "{text}");
        }
    }

    #[test]
    fn publishers_that_latch_are_counted() {
        let three = "- durability: 1\n- durability: transient_local\n- durability: 2\n- durability: 1\n";
        assert_eq!(latching_publishers("/map", three), 3);
        assert_eq!(latching_publishers("/map", "durability: volatile"), 0);
        assert_eq!(latching_publishers("/map", ""), 0);
        assert_eq!(latching_publishers("/tf_static", ""), 1);
        assert_eq!(latching_publishers("/tf_static", &"durability: 1\n".repeat(1_000)), MAX_LATCHING);
    }

    #[test]
    fn the_deepest_history_counts() {
        let two = "- depth: 2\n  durability: 1\n- depth: 10\n  durability: transient_local\n";
        assert_eq!(history_depth("/map", two), 10);
        assert_eq!(history_depth("/map", "depth: 10\ndurability: volatile"), 1);
        for (depth, expected) in [("0", 1), ("-1", 1), ("99999999999", 1), ("100000", MAX_DEPTH), ("", 1)] {
            assert_eq!(history_depth("/map", &format!("depth: {depth}\ndurability: 1")), expected, "{depth}");
        }
    }

    #[test]
    fn static_transforms_are_latched_unless_recorded_otherwise() {
        assert!(offered("/tf_static", "").transient_local);
        assert!(offered("/rover/tf_static", "").transient_local);
        assert!(offered("tf_static", "").transient_local, "a relative name");
        assert!(!offered("/tf_static", "durability: volatile").transient_local);
        assert!(!offered("/not_tf_static", "").transient_local);
    }
}
