//! Documents: they agree with the code.

use std::collections::BTreeSet;

use crate::manifest::{Manifest, workspace_dependencies};
use crate::tree::{File, Finding, Tree};

const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// A link in a document leads to a file, a folder or a heading that exists.
pub(crate) fn links_resolve(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.extension() == Some("md")) {
        for (line, target) in links(&file.text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { file.path.clone() } else { join(&file.path, path) };
            if !exists(tree, &path) {
                findings.push(file.finding(line, format!("{target}: there is no {path}")));
            } else if !anchor.is_empty() && tree.get(&path).is_some_and(|other| !has_heading(other, anchor)) {
                findings.push(file.finding(line, format!("{target}: {path} has no such heading")));
            }
        }
    }
    findings
}

/// Every dependency has its reason in the table, and the table has no other rows.
pub(crate) fn dependencies_explained(tree: &Tree) -> Vec<Finding> {
    let members = Manifest::members(tree);
    let used = members.iter().flat_map(|m| m.dependencies.iter().map(|d| (m.file, d.name.clone(), d.line)));
    let root = tree.get("Cargo.toml").into_iter();
    let named =
        root.flat_map(|f| workspace_dependencies(tree).into_iter().map(move |(n, line)| (f, n, line)));
    let ours = |name: &str| name.starts_with("roverline-");
    let dependencies: Vec<_> = used.chain(named).filter(|(_, name, _)| !ours(name)).collect();

    let Some(document) = tree.get(ARCHITECTURE) else {
        return vec![Finding { path: ARCHITECTURE.into(), line: 1, what: "it is missing".into() }];
    };
    let rows = table_rows(&document.text);
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, name, line) in &dependencies {
        if seen.insert(name) && !rows.iter().any(|(row, _)| row == name) {
            findings.push(file.finding(*line, format!("{name}: say in {ARCHITECTURE} what it is for")));
        }
    }
    for (name, line) in rows {
        if !seen.contains(&name) {
            findings.push(document.finding(line, format!("{name}: no Cargo.toml names it any more")));
        }
    }
    findings
}

/// The names in the first column of the table under `## Dependencies`, each in backticks.
fn table_rows(text: &str) -> Vec<(String, usize)> {
    let numbered = text.lines().enumerate();
    let section = numbered.skip_while(|(_, line)| !line.starts_with("## Dependencies")).skip(1);
    let rows =
        section.take_while(|(_, line)| !line.starts_with("## ")).filter(|(_, line)| line.starts_with('|'));
    let mut names = Vec::new();
    for (index, row) in rows {
        let cell = row.split('|').nth(1).unwrap_or_default();
        names.extend(cell.split('`').skip(1).step_by(2).map(|name| (name.to_owned(), index + 1)));
    }
    names
}

/// The targets of `[text](target)`, outside code, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for prose in line.split('`').step_by(2) {
            let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            links.extend(targets.map(|target| (index + 1, target.trim())));
        }
        // A link whose text is code: [`name`](target).
        let coded = line.split("`](").skip(1).filter_map(|rest| rest.split(')').next());
        links.extend(coded.map(|target| (index + 1, target.trim())));
    }
    links
}

fn join(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn exists(tree: &Tree, path: &str) -> bool {
    let folder = format!("{path}/");
    tree.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
}

fn has_heading(file: &File, anchor: &str) -> bool {
    let slug = |heading: &str| -> String {
        let kept = heading.trim().to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>()
            .replace(' ', "-")
    };
    let headings = file.text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| slug(line.trim_start_matches('#'))).any(|heading| heading == anchor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_catches, assert_silent};

    #[test]
    fn a_dead_link_is_caught() {
        let other = ("docs/b.md", "# One two\n");
        let dead = ("docs/a.md", "x\n[b](c.md)\n");
        assert_catches(links_resolve, &[other, dead], "docs/a.md:2: c.md: there is no docs/c.md");
        let dead = ("docs/a.md", "[`b`](b.md#three)\n");
        assert_catches(
            links_resolve,
            &[other, dead],
            "docs/a.md:1: b.md#three: docs/b.md has no such heading",
        );
        let alive = "[b](b.md#one-two) [up](../docs) [web](https://x.y) `[c](no)` \n```\n[d](no)\n```\n";
        assert_silent(links_resolve, &[other, ("docs/a.md", alive)]);
    }

    #[test]
    fn an_unexplained_dependency_is_caught() {
        let manifest = ("a/Cargo.toml", "[package]\nname = \"a\"\n[dependencies]\nbytes = \"1\"\n");
        let none =
            (ARCHITECTURE, "## Dependencies\n| crate | for |\n|---|---|\n\n## Next\n| `bytes` | x |\n");
        assert_catches(dependencies_explained, &[manifest, none], "a/Cargo.toml:4: bytes: say in");
        let good = (ARCHITECTURE, "# A\n## Dependencies\n| `bytes` | shared |\n");
        assert_silent(dependencies_explained, &[manifest, good]);
        let stale = (ARCHITECTURE, "## Dependencies\n| `bytes`, `gone` | shared |\n");
        assert_catches(dependencies_explained, &[manifest, stale], "ARCHITECTURE.md:2: gone: no Cargo.toml");
        assert_catches(dependencies_explained, &[manifest], "ARCHITECTURE.md:1: it is missing");
    }
}
