//! Style: rules for every file.

use crate::rust;
use crate::tree::{File, Finding, Tree};

/// Longest Rust file, its tests included. About 300 is the norm; a longer one has two subjects.
const FILE_LINES: usize = 450;
/// Files that may be longer. Keep it empty.
const LONGER: &[&str] = &[];

/// Calls that panic or grow without bound have no place in the product.
const FORBIDDEN_CALLS: &[(&str, &str)] = &[
    (".unwrap()", "no panic on any input: handle it, or give a default"),
    (".expect(", "no panic on any input: handle it, or give a default"),
    ("todo!", "what is merged is done"),
    ("unimplemented!", "what is merged is done"),
    ("dbg!", "debugging does not land"),
    ("unbounded_channel", "everything is bounded"),
];

/// Marks of unfinished work. Split, so that this list does not find itself.
const MARKS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

/// Words of the place where the project is made, not of the project.
const FORBIDDEN_WORDS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("shared/", "design"),
    concat!("shared/", "anchors"),
    concat!("issue", " #"),
    concat!("C", "EO"),
    concat!("found", "er"),
];

/// Units and counted things that a bound's name ends in (`_PER_…` aside).
const UNITS: &[&str] = &[
    "BYTES",
    "NS",
    "US",
    "MS",
    "S",
    "HZ",
    "PERCENT",
    "CHARS",
    "LINES",
    "COLUMNS",
    "ROWS",
    "DEPTH",
    "REVISIONS",
    "WATCHES",
    "FRAMES",
    "STEPS",
    "SAMPLES",
    "SPANS",
    "TRACES",
    "MESSAGES",
    "TOPICS",
    "NODES",
    "TYPES",
    "FIELDS",
    "ELEMENTS",
    "PATTERNS",
    "CLIENTS",
    "SESSIONS",
    "CONNECTIONS",
    "HEADERS",
    "PEERS",
    "ENTRIES",
    "ATTEMPTS",
    "FILES",
    "DEFINITIONS",
    "LEVELS",
    "VALUES",
    "STANDBYS",
    "WRITERS",
    "CURSORS",
    "EVENTS",
    "MULTIPLE",
    "CALLS",
    "GOALS",
    "LISTENERS",
    "PARAMETERS",
    "PUBLICATIONS",
    "REQUESTS",
    "SERVICES",
];

/// Rust files stay short.
pub(crate) fn short_files(tree: &Tree) -> Vec<Finding> {
    let long = |file: &&File| !LONGER.contains(&file.path.as_str()) && file.text.lines().count() > FILE_LINES;
    let what = |file: &File| {
        let lines = file.text.lines().count();
        file.finding(
            FILE_LINES,
            format!("{lines} lines, at most {FILE_LINES}: it has two subjects, split it"),
        )
    };
    tree.rust().filter(long).map(what).collect()
}

/// The product neither panics on purpose nor queues without bound.
pub(crate) fn no_panics(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| !file.is_test()) {
        let code = rust::product_code(&file.text);
        for (call, why) in FORBIDDEN_CALLS {
            let hits = code.match_indices(call).map(|(offset, _)| file.line_of(offset));
            findings.extend(hits.map(|line| file.finding(line, format!("{call}: {why}"))));
        }
    }
    findings
}

/// Errors have types. A text is enough for the value parsers of the command line (`parse_…`), because clap
/// only prints it.
pub(crate) fn typed_errors(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| !file.is_test()) {
        let code = rust::product_code(&file.text);
        for (offset, _) in code.match_indices(", String>") {
            let line = code[..offset].rsplit('\n').next().unwrap_or("");
            let is_result = code[..offset].rfind("Result<").is_some_and(|at| is_open(&code[at..offset]));
            if is_result && !line.contains("fn parse_") {
                findings.push(file.finding(file.line_of(offset), "a text as an error: give it a type"));
            }
        }
    }
    findings
}

/// Whether the first angle bracket, and no other, is open at the end.
fn is_open(code: &str) -> bool {
    let mut open = 0_usize;
    for bracket in code.replace("->", "").chars().filter(|c| matches!(c, '<' | '>')) {
        match bracket {
            '<' => open += 1,
            _ if open == 1 => return false,
            _ => open = open.saturating_sub(1),
        }
    }
    open == 1
}

/// Modules of the console that may write to the terminal: the printing one, which makes everything printable,
/// and the owner of the screen.
const PRINTERS: &[&str] = &["tui/src/command/print.rs", "tui/src/runtime/terminal.rs"];

/// Ways to standard output and standard error.
const OUTPUTS: &[&str] = &["println!", "print!", "eprintln!", "eprint!", "stdout()", "stderr()"];

/// Text from clients reaches a terminal through one module only.
pub(crate) fn printed_in_one_place(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_checked = |file: &&File| {
        file.path.starts_with("tui/src/") && !file.is_test() && !PRINTERS.contains(&file.path.as_str())
    };
    for file in tree.rust().filter(is_checked) {
        let code = rust::product_code(&file.text);
        for output in OUTPUTS {
            for offset in rust::word_offsets(&code, output) {
                if !code[offset + output.len()..].starts_with(".is_terminal()") {
                    let what = format!("{output}: print through command::print, which makes it printable");
                    findings.push(file.finding(file.line_of(offset), what));
                }
            }
        }
    }
    findings
}

/// Nothing is left for later in a comment.
pub(crate) fn no_marks(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| is_written(file)) {
        for mark in MARKS {
            let hits = rust::word_offsets(&file.text, mark).map(|offset| file.line_of(offset));
            findings.extend(
                hits.map(|line| file.finding(line, format!("{mark}: do it, or say what is not done"))),
            );
        }
    }
    findings
}

/// Spaces, no trailing ones, and a line break at the end.
pub(crate) fn clean_whitespace(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| is_written(file)) {
        for (index, line) in file.text.lines().enumerate() {
            if line.contains('\t') {
                findings.push(file.finding(index + 1, "a tab: indent with spaces"));
            }
            if line.ends_with([' ', '\t', '\r']) {
                findings.push(file.finding(index + 1, "white space at the end of the line"));
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            findings.push(file.finding(file.text.lines().count(), "no line break at the end of the file"));
        }
    }
    findings
}

/// The project speaks of itself, not of where and by whom it was made.
pub(crate) fn no_foreign_words(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            for word in FORBIDDEN_WORDS.iter().filter(|word| line.contains(**word)) {
                findings.push(
                    file.finding(index + 1, format!("'{word}' means nothing to a reader of the project")),
                );
            }
        }
    }
    findings
}

/// Files that programs leave behind are not committed.
pub(crate) fn no_litter(tree: &Tree) -> Vec<Finding> {
    let litter = ["log", "orig", "rej", "bak", "swp", "profraw", "pyc"];
    let is_litter = |file: &&File| file.extension().is_some_and(|extension| litter.contains(&extension));
    tree.files.iter().filter(is_litter).map(|file| file.finding(1, "left behind by a program")).collect()
}

/// A bound says in its name what it counts.
pub(crate) fn limits_have_units(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let folder = |file: &&File| file.path.contains("/limits/") && file.path.ends_with(".rs");
    for file in tree.named("limits.rs").chain(tree.rust().filter(folder)) {
        for (index, line) in file.text.lines().enumerate() {
            let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let Some((name, _)) = line.strip_prefix("const ").and_then(|rest| rest.split_once(':')) else {
                continue;
            };
            let counted = name.split("_PER_").next().unwrap_or(name);
            if !UNITS.contains(&counted.rsplit('_').next().unwrap_or(counted)) {
                findings
                    .push(file.finding(index + 1, format!("{name}: end it in its unit, as in {name}_BYTES")));
            }
        }
    }
    findings
}

/// Written by hand, here: not licences, lock files, snapshots or message definitions.
fn is_written(file: &File) -> bool {
    match file.extension() {
        Some(extension) => ["rs", "toml", "md", "py", "sh", "html", "css", "js", "yml", "yaml", "service"]
            .contains(&extension),
        None => file.path.starts_with("scripts/") || file.path.starts_with(".ci/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_catches, assert_silent};

    #[test]
    fn errors_that_are_texts_are_found() {
        let path = "gateway/src/dialect/a.rs";
        for code in [
            "fn a() -> Result<(), String> {}",
            "fn a() -> Option<Result<Vec<u8>, String>> {}",
            "x(Result<\nA, String>)",
        ] {
            assert_catches(typed_errors, &[(path, code)], "give it a type");
        }
        let silent = "fn parse_peer(text: &str) -> Result<(Tier, String), String> {}
            fn b() -> Result<BTreeMap<String, String>, E> {}\nfn c(r: &Result<A, B>) -> HashMap<u8, String> {}";
        assert_silent(
            typed_errors,
            &[(path, silent), ("common/client/examples/a.rs", "fn a() -> Result<(), String> {}")],
        );
    }

    #[test]
    fn a_long_file_is_caught() {
        assert_catches(short_files, &[("a.rs", &"//\n".repeat(451))], "a.rs:450: 451 lines");
        assert_silent(short_files, &[("a.rs", &"//\n".repeat(450)), ("a.md", &"\n".repeat(451))]);
    }

    #[test]
    fn a_panic_in_the_product_is_caught() {
        for call in ["x.unwrap()", "x.expect(\"y\")", "todo!()", "mpsc::unbounded_channel()"] {
            let text = format!("fn f() {{\n    {call}\n}}\n");
            assert_catches(no_panics, &[("gateway/src/a.rs", &text)], "gateway/src/a.rs:2: ");
            assert_silent(no_panics, &[("gateway/tests/a.rs", &text), ("gateway/src/a/tests.rs", &text)]);
            assert_silent(
                no_panics,
                &[("gateway/src/a.rs", &format!("#[cfg(test)]\nmod tests {{ {text} }}"))],
            );
        }
    }

    #[test]
    fn a_print_past_the_printing_module_is_caught() {
        for call in
            ["println!(\"{x}\")", "eprint!(\"\")", "std::io::stdout().write_all(b)", "io::stderr().lock()"]
        {
            let text = format!("fn f() {{\n    {call}\n}}\n");
            assert_catches(
                printed_in_one_place,
                &[("tui/src/command/a.rs", &text)],
                "tui/src/command/a.rs:2: ",
            );
            assert_silent(
                printed_in_one_place,
                &[("tui/src/command/print.rs", &text), ("tui/tests/a.rs", &text)],
            );
        }
        assert_silent(
            printed_in_one_place,
            &[("tui/src/a.rs", "fn f() { std::io::stdout().is_terminal() }")],
        );
    }

    #[test]
    fn a_mark_is_caught() {
        for mark in MARKS {
            assert_catches(no_marks, &[("scripts/a", &format!("\n# {mark}: later"))], "scripts/a:2: ");
            assert_silent(no_marks, &[("scripts/a", &format!("mktemp a.{mark}{mark}"))]);
        }
    }

    #[test]
    fn untidy_whitespace_is_caught() {
        assert_catches(clean_whitespace, &[("a.rs", "fn f() {\n\tg()\n}\n")], "a.rs:2: a tab");
        assert_catches(clean_whitespace, &[("a.md", "a\nb \n")], "a.md:2: white space");
        assert_catches(clean_whitespace, &[("a.toml", "a\nb")], "a.toml:2: no line break");
        assert_silent(clean_whitespace, &[("a.snap", "a \n\tb"), ("a.rs", "fn f() {}\n")]);
    }

    #[test]
    fn a_foreign_word_is_caught() {
        for word in FORBIDDEN_WORDS {
            assert_catches(no_foreign_words, &[("a.py", &format!("\n# see {word}s\n"))], "a.py:2: '");
        }
        assert_silent(no_foreign_words, &[("a.md", "The issue: a session of work/target.\n")]);
    }

    #[test]
    fn litter_is_caught() {
        assert_catches(no_litter, &[("gateway/trace.log", "")], "gateway/trace.log:1: left behind");
        assert_silent(no_litter, &[("gateway/src/log.rs", "")]);
    }

    #[test]
    fn a_bound_without_a_unit_is_caught() {
        let path = "common/protocol/src/limits.rs";
        assert_catches(
            limits_have_units,
            &[(path, "/// x\npub const QUEUE: usize = 1;\n")],
            "limits.rs:2: QUEUE",
        );
        assert_silent(
            limits_have_units,
            &[(path, "pub const A_BYTES: usize = 1;\nconst B_MESSAGES_PER_S: u8 = 1;\n")],
        );
    }
}
