//! The members' `Cargo.toml`, as far as the rules look.

use toml::Table;

use crate::tree::{File, Finding, Tree};

pub(crate) struct Manifest<'a> {
    pub(crate) file: &'a File,
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// Whether its version is the workspace's.
    pub(crate) inherits: bool,
}

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

impl Manifest<'_> {
    /// Every package of the workspace. Fuzz targets are a workspace of their own.
    pub(crate) fn members(tree: &Tree) -> Vec<Manifest<'_>> {
        let manifests = tree.named("Cargo.toml").filter(|file| !file.path.contains("fuzz/"));
        manifests.filter_map(Manifest::parse).collect()
    }

    fn parse(file: &File) -> Option<Manifest<'_>> {
        let table = parse(file);
        let name = table.get("package")?.get("name")?.as_str()?.to_owned();
        let targets = table.get("target").and_then(|target| target.as_table());
        let tables =
            targets.into_iter().flatten().filter_map(|(_, target)| target.as_table()).chain([&table]);
        let sections = tables.flat_map(|table| SECTIONS.map(|section| table.get(section)?.as_table()));
        let dependencies = sections
            .flatten()
            .flatten()
            .map(|(name, value)| Dependency {
                name: name.clone(),
                line: line_of_key(file, name),
                inherits: value.get("workspace").is_some(),
            })
            .collect();
        Some(Manifest { file, name, dependencies })
    }
}

/// The names under `[workspace.dependencies]`, with their lines.
pub(crate) fn workspace_dependencies(tree: &Tree) -> Vec<(String, usize)> {
    let Some(file) = tree.get("Cargo.toml") else { return Vec::new() };
    let table = parse(file);
    let dependencies = table.get("workspace").and_then(|w| w.get("dependencies")).and_then(|d| d.as_table());
    dependencies.into_iter().flatten().map(|(name, _)| (name.clone(), line_of_key(file, name))).collect()
}

/// Every version is declared once, in the workspace, and every declared crate is used.
pub(crate) fn versions_once(tree: &Tree) -> Vec<Finding> {
    let members = Manifest::members(tree);
    let mut findings = Vec::new();
    for member in &members {
        for dependency in member.dependencies.iter().filter(|dependency| !dependency.inherits) {
            let what = format!("{}: give its version in the workspace's Cargo.toml", dependency.name);
            findings.push(member.file.finding(dependency.line, what));
        }
    }
    let Some(root) = tree.get("Cargo.toml") else { return findings };
    for (name, line) in workspace_dependencies(tree) {
        let used = members.iter().flat_map(|member| &member.dependencies).any(|d| d.name == name);
        if !used && !name.starts_with("roverline-") {
            findings.push(root.finding(line, format!("{name}: no crate of the workspace uses it")));
        }
    }
    findings
}

pub(crate) fn parse(file: &File) -> Table {
    file.text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.path))
}

fn line_of_key(file: &File, key: &str) -> usize {
    let is_key = |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with([' ', '.', '=']));
    file.text.lines().position(is_key).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_catches, assert_silent};

    #[test]
    fn a_version_of_its_own_is_caught() {
        let root = ("Cargo.toml", "[workspace.dependencies]\nbytes = \"1\"\n");
        let bad = "[package]\nname = \"a\"\n[dependencies]\nbytes = \"1.2\"\n";
        assert_catches(versions_once, &[root, ("a/Cargo.toml", bad)], "a/Cargo.toml:4: bytes: give");
        let good = "[package]\nname = \"a\"\n[target.'cfg(unix)'.dependencies]\nbytes.workspace = true\n";
        assert_silent(versions_once, &[root, ("a/Cargo.toml", good)]);
        let unused = "[package]\nname = \"a\"\n";
        assert_catches(versions_once, &[root, ("a/Cargo.toml", unused)], "Cargo.toml:2: bytes: no crate");
    }
}
