//! Rendezvous hashing: nodes agree on the owner of a key without communication. Each node has a
//! score for the key, and the highest wins (Thaler & Ravishankar, "Using name-based mappings to
//! increase hit rates", 1998). When a node leaves, only its own keys move.

/// The node that owns `key`, independent of the order of `nodes`; `None` if there are none.
pub(super) fn node_of<'a>(key: &str, nodes: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nodes.into_iter().max_by_key(|node| (score(key, node), *node))
}

/// Equal in every process and version: FNV-1a over both, followed by mixing, since FNV's highest
/// bits hardly differ for short names.
fn score(key: &str, node: &str) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = node.bytes().chain([0]).chain(key.bytes());
    let hash = bytes.fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    // The finalizer of SplitMix64 (Steele, Lea & Flood, 2014).
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const NODES: [&str; 4] = ["primary", "secondary", "tertiary", "emergency"];

    #[test]
    fn each_node_gets_its_share() {
        let mut shares: HashMap<&str, u32> = HashMap::new();
        for n in 0..4_000 {
            *shares.entry(node_of(&format!("queue {n}"), NODES).unwrap()).or_default() += 1;
        }
        assert!(shares.len() == 4 && shares.values().all(|share| (850..1_150).contains(share)), "{shares:?}");
        assert_eq!(node_of("queue", []), None);
    }

    #[test]
    fn when_a_node_goes_only_what_was_its_own_moves() {
        for n in 0..1_000 {
            let key = format!("queue {n}");
            let all = node_of(&key, NODES).unwrap();
            let mut backward = NODES;
            backward.reverse();
            assert_eq!(node_of(&key, backward), Some(all));
            for gone in NODES {
                let left = node_of(&key, NODES.into_iter().filter(|node| *node != gone)).unwrap();
                assert!(left == all || gone == all, "{key} went from {all} to {left} without {gone}");
            }
        }
    }

    #[test]
    fn it_stays_as_it_is() {
        let nodes: Vec<_> = ["a", "waypoints", "arm"].map(|queue| node_of(queue, NODES).unwrap()).to_vec();
        assert_eq!(nodes, ["emergency", "primary", "secondary"]);
    }
}
