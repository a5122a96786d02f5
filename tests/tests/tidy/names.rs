//! Names: items are called by the field's words, and commits have short subjects.

use std::process::Command;

use crate::rust;
use crate::tree::{File, Finding, Tree, root};

/// Words that name nothing in the field. An item or a file that carries one says what it is
/// instead: `report`, `send`, `request`, `poll`, `slot`, `permission`, `status`, …
const REFUSED: &[&str] = &[
    "tell", "told", "say", "said", "ask", "asked", "heard", "hear", "look", "tidy", "greet", "obey", "place",
    "desk", "care", "deed", "errand", "notice", "bell", "turn", "near", "nowhere", "wish", "teller",
    "keeper", "facts", "lives",
];
const REFUSED_PHRASES: &[&str] = &["carry_out"];

/// Names that are still allowed, by the beginning of the path. The first two are sentences, as the names of tests
/// are: each is called by one test per store.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("gateway/coordination/src/locks/tests/", "clients_of_one_identity_are_told_apart_by_name"),
    ("gateway/coordination/src/locks/tests/", "a_handover_is_asked_and_answered_by_identity"),
    ("gateway/coordination/src/store/etcd/tests/", "ask"),
    ("tests/tests/tidy/style.rs", "printed_in_one_place"),
];

/// The keywords that a name follows.
const ITEMS: &[&str] = &["fn", "struct", "enum", "union", "trait", "type", "const", "static", "mod"];

/// Longest subject of a commit, in characters, so that a log fits a terminal.
const SUBJECT_CHARS: usize = 72;
/// Commits up to this one were written before the rule.
const RULE_SINCE: &str = "8ea51aa";

/// No item and no file is named by a refused word.
pub(crate) fn field_words(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let stem = file.name().trim_end_matches(".rs");
        if let Some(word) = refused(stem) {
            findings.push(file.finding(1, format!("{stem}.rs: {word} {WHY}")));
        }
        let is_checked = |name: &str| {
            !EXCEPTIONS.iter().any(|(path, known)| file.path.starts_with(path) && name == *known)
        };
        for (name, offset) in item_names(file).into_iter().filter(|(name, _)| is_checked(name)) {
            if let Some(word) = refused(&name) {
                findings.push(file.finding(file.line_of(offset), format!("{name}: {word} {WHY}")));
            }
        }
    }
    findings
}
const WHY: &str = "is not the field's word; see \"Words\" in ARCHITECTURE.md";

/// Subjects of commits are short.
pub(crate) fn short_subjects(subjects: &[String]) -> Vec<Finding> {
    let long = subjects.iter().filter(|subject| subject.chars().count() > SUBJECT_CHARS);
    long.map(|subject| Finding {
        path: "git log".to_owned(),
        line: 1,
        what: format!("{subject}: at most {SUBJECT_CHARS} characters"),
    })
    .collect()
}

/// The subjects of the commits that the rule is about; of the newest one where the history is cut.
pub(crate) fn subjects() -> Vec<String> {
    let log = |range: &[&str]| {
        Command::new("git")
            .args(["-c", "safe.directory=*", "log", "--format=%s"])
            .args(range)
            .current_dir(root())
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    };
    log(&[&format!("{RULE_SINCE}..HEAD")]).or_else(|| log(&["-1"])).unwrap_or_default()
}

/// Names of items with their offsets. The names of tests are sentences, and are not checked.
fn item_names(file: &File) -> Vec<(String, usize)> {
    let code = if file.is_test() { rust::code(&file.text) } else { rust::product_code(&file.text) };
    let mut names = Vec::new();
    for keyword in ITEMS {
        for offset in rust::word_offsets(&code, keyword) {
            let rest = &code[offset + keyword.len()..];
            let name: String =
                rest.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty() && name != "fn" && !is_test_function(&code[..offset]) {
                names.push((name, offset));
            }
        }
    }
    names
}

/// Whether the attributes right before an item make it a test.
fn is_test_function(before: &str) -> bool {
    let head = before.rsplit(['}', ';']).next().unwrap_or_default();
    head.contains("#[test]") || head.contains("::test")
}

/// The refused word of a name, in `snake_case`, `CamelCase` or `SCREAMING_CASE`; also its plural.
fn refused(name: &str) -> Option<&'static str> {
    let words = words(name);
    let phrase = format!("_{}_", words.join("_"));
    REFUSED
        .iter()
        .find(|word| words.iter().any(|own| own == *word || is_inflected(own, word)))
        .or_else(|| REFUSED_PHRASES.iter().find(|refused| phrase.contains(&format!("_{refused}_"))))
        .copied()
}

/// Whether a word is the plural of another, or its third person.
fn is_inflected(word: &str, stem: &str) -> bool {
    word.strip_prefix(stem).is_some_and(|ending| ending == "s" || ending == "es")
}

fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    for part in name.split('_') {
        if part.chars().all(|c| !c.is_lowercase()) {
            words.push(part.to_lowercase());
            continue;
        }
        let mut word = String::new();
        for c in part.chars() {
            if c.is_uppercase() {
                words.push(std::mem::take(&mut word));
            }
            word.extend(c.to_lowercase());
        }
        words.push(word);
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_catches, assert_silent};

    #[test]
    fn a_refused_word_is_caught() {
        for (text, name) in [
            ("fn tell_drops() {}", "tell_drops"),
            ("pub struct LockWish;", "LockWish"),
            ("enum Place { A }", "Place"),
            ("mod near;", "near"),
            ("const LOOK: u8 = 1;", "LOOK"),
            ("async fn carry_out() {}", "carry_out"),
            ("struct Places;", "Places"),
            ("struct Wishes;", "Wishes"),
            ("const RESERVE_PLACES: u8 = 1;", "RESERVE_PLACES"),
            ("fn asks_for() {}", "asks_for"),
        ] {
            assert_catches(
                field_words,
                &[("gateway/src/a.rs", text)],
                &format!("gateway/src/a.rs:1: {name}"),
            );
        }
        assert_catches(field_words, &[("gateway/src/turn.rs", "")], "gateway/src/turn.rs:1: turn.rs");
        let fine =
            "fn replace() {}\nfn lookup(place: u8) { let ask = 1; }\nstruct Workplace;\ntype Replaced = u8;";
        assert_silent(field_words, &[("gateway/src/a.rs", fine)]);
        let test = "#[test]\nfn nobody_is_told() {}\n#[tokio::test]\nasync fn who_may_look() {}";
        assert_silent(field_words, &[("tests/tests/a.rs", test), ("tests/src/a.rs", test)]);
        for path in ["tests/src/a.rs", "tests/tests/a.rs", "tests/tests/a/b.rs", "gateway/src/a/tests.rs"] {
            assert_catches(field_words, &[(path, "fn tell() {}")], &format!("{path}:1: tell"));
            assert_catches(field_words, &[(path, "fn all_places() {}")], &format!("{path}:1: all_places"));
        }
        let exception = "gateway/coordination/src/store/etcd/tests/a.rs";
        assert_silent(field_words, &[(exception, "async fn ask() {}")]);
        assert_catches(field_words, &[("tests/tests/a.rs", "async fn ask() {}")], "tests/tests/a.rs:1: ask");
    }

    #[test]
    fn a_long_subject_is_caught() {
        let subject = |length| vec!["x".repeat(length)];
        assert_eq!(short_subjects(&subject(73)).len(), 1);
        assert_eq!(short_subjects(&subject(72)), []);
        assert!(!subjects().is_empty(), "the log has at least one");
    }

    #[test]
    fn names_are_cut_into_words() {
        assert_eq!(words("AskInTurn"), ["ask", "in", "turn"]);
        assert_eq!(words("tell_drops2"), ["tell", "drops2"]);
        assert_eq!(words("LOOK_MS"), ["look", "ms"]);
        assert_eq!(words("plain"), ["plain"]);
    }
}
