//! Ranks texts by how well they match what was typed.

/// Characters of a text that are compared.
const COMPARED_CHARS: usize = 160;
/// A typed character was found.
const FOUND: i32 = 4;
/// It follows the one before.
const CONSECUTIVE: i32 = 6;
/// It begins a word.
const WORD_START: i32 = 8;
/// It begins the text.
const TEXT_START: i32 = 4;
/// Most that a gap costs.
const MOST_GAP: usize = 6;

/// How well a text matches: the higher the better; `None` if a typed word is not in it. All words have to be in the
/// text, in any order; the characters of a word in theirs.
pub fn score(typed: &str, text: &str) -> Option<i32> {
    let text: Vec<char> = text.chars().take(COMPARED_CHARS).collect();
    let lower: Vec<char> = text.iter().map(|c| c.to_lowercase().next().unwrap_or(*c)).collect();
    let mut sum = 0;
    for word in typed.to_lowercase().split_whitespace() {
        let word: Vec<char> = word.chars().collect();
        sum += best(&word, &lower)?;
    }
    // Of two equal matches the shorter text is meant.
    Some(sum - lower.len() as i32 / 8)
}

/// The best score of one word, over all ways in which its characters are in the text in their order.
fn best(word: &[char], text: &[char]) -> Option<i32> {
    // For each character of the text: the best score if the typed character before was found there.
    let mut before: Vec<Option<i32>> = Vec::new();
    for (n, c) in word.iter().enumerate() {
        let mut found = vec![None; text.len()];
        // The best one that is so far back that a larger gap costs nothing more.
        let mut far: Option<i32> = None;
        for at in 0..text.len() {
            if at > MOST_GAP {
                far = far.max(before.get(at - MOST_GAP - 1).copied().flatten());
            }
            if text[at] != *c {
                continue;
            }
            let begins = at == 0 || !text[at - 1].is_alphanumeric();
            let own = FOUND + if begins { WORD_START } else { 0 } + if at == 0 { TEXT_START } else { 0 };
            let near = (1..=MOST_GAP.min(at)).filter_map(|back| {
                let cost = if back == 1 { CONSECUTIVE } else { 1 - back as i32 };
                before.get(at - back).copied().flatten().map(|score| score + cost)
            });
            let reached =
                if n == 0 { Some(0) } else { near.max().max(far.map(|score| score - MOST_GAP as i32)) };
            found[at] = reached.map(|score| score + own);
        }
        before = found;
    }
    before.into_iter().flatten().max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best<'a>(typed: &str, texts: &[&'a str]) -> Option<&'a str> {
        texts
            .iter()
            .copied()
            .filter(|text| score(typed, text).is_some())
            .max_by_key(|text| score(typed, text))
    }

    #[test]
    fn the_better_match_comes_first() {
        assert_eq!(best("odom", &["/motors/demo", "/odom", "/odom_filtered"]), Some("/odom"));
        assert_eq!(best("tl", &["settle", "throttle_left"]), Some("throttle_left"), "starts of words");
        assert_eq!(best("lock dr", &["drive screen", "drive lock", "arm lock"]), Some("drive lock"));
        assert_eq!(best("DRIVE", &["Drive"]), Some("Drive"));
    }

    #[test]
    fn what_is_not_there_does_not_match() {
        assert_eq!(score("xyz", "/odom"), None);
        assert_eq!(score("mo", "om"), None, "in their order");
        assert!(score("", "anything").is_some());
        assert!(score("a", &"b".repeat(100_000)).is_none());
        assert!(score("i\u{307}", "İstanbul").is_some() || score("i", "İstanbul").is_some());
    }
}
