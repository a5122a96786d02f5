//! The rules of `deny.toml` about dependencies, checked without a network or another program.

use std::process::Command;

use serde_json::Value;
use toml::Table;

use crate::manifest::parse;
use crate::tree::{self, Finding, Tree};

const DENY: &str = "deny.toml";
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Every package in the lock file comes from crates.io and is not banned.
pub(crate) fn locked_sources(tree: &Tree) -> Vec<Finding> {
    let Some(lock) = tree.get("Cargo.lock") else { return Vec::new() };
    let banned = tree.get(DENY).map(|file| banned_crates(&parse(file))).unwrap_or_default();
    let mut findings = Vec::new();
    for (index, line) in lock.text.lines().enumerate() {
        let value = |key: &str| Some(line.strip_prefix(key)?.trim_matches([' ', '=', '"']).to_owned());
        if let Some(source) = value("source").filter(|source| source != CRATES_IO) {
            findings
                .push(lock.finding(index + 1, format!("{source}: dependencies come from crates.io only")));
        }
        if let Some(name) = value("name").filter(|name| banned.contains(name)) {
            findings.push(lock.finding(index + 1, format!("{name}: {DENY} bans it, and says why")));
        }
    }
    findings
}

/// The licence of every dependency can be met with the licences that `deny.toml` allows.
pub(crate) fn allowed_licences(tree: &Tree, packages: &[Package]) -> Vec<Finding> {
    let Some(file) = tree.get(DENY) else {
        return vec![Finding { path: DENY.into(), line: 1, what: "it is missing".into() }];
    };
    let table = parse(file);
    let allowed = strings(table.get("licenses").and_then(|licences| licences.get("allow")));
    let line = file.line_with("allow = [");
    let refuse = |package: &Package| match package.licence.as_deref() {
        None => Some(file.finding(line, format!("{}: it names no licence", package.name))),
        Some(licence) if satisfied(licence, &allowed) => None,
        Some(licence) => Some(file.finding(line, format!("{}: {licence} is not allowed", package.name))),
    };
    packages.iter().filter_map(refuse).collect()
}

pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) licence: Option<String>,
}

/// Every dependency that is built on the targets of `deny.toml`, with all features.
pub(crate) fn packages(tree: &Tree) -> Vec<Package> {
    let graph = tree.get(DENY).map(parse).and_then(|table| table.get("graph").cloned());
    let targets = strings(graph.as_ref().and_then(|graph| graph.get("targets")));
    let metadata = |offline: &[&str]| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["metadata", "--format-version=1", "--locked", "--all-features"]).args(offline);
        command.args(targets.iter().map(|target| format!("--filter-platform={target}")));
        command.current_dir(tree::root()).output().expect("cargo runs")
    };
    // A package that this computer never built is not there yet: then the network is asked.
    let offline = metadata(&["--offline"]);
    let output = if offline.status.success() { offline } else { metadata(&[]) };
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON");
    let packages = document["packages"].as_array().expect("a list of packages");
    let foreign = packages.iter().filter(|package| !package["source"].is_null());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    foreign
        .map(|package| Package { name: text(&package["name"]).unwrap(), licence: text(&package["license"]) })
        .collect()
}

fn banned_crates(table: &Table) -> Vec<String> {
    let deny = table.get("bans").and_then(|bans| bans.get("deny")).and_then(|deny| deny.as_array());
    let name = |entry: &toml::Value| Some(entry.get("crate")?.as_str()?.to_owned());
    deny.into_iter().flatten().filter_map(name).collect()
}

fn strings(value: Option<&toml::Value>) -> Vec<String> {
    let list = value.and_then(|value| value.as_array()).into_iter().flatten();
    list.filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// Whether an SPDX expression can be met (`OR` binds weakest, then `AND`, then `WITH`). The slash of
/// older manifests means `OR`.
fn satisfied(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    let met = any_of(&mut rest, allowed);
    met && rest.is_empty()
}

fn any_of(rest: &mut &[&str], allowed: &[String]) -> bool {
    let mut met = all_of(rest, allowed);
    while let [head, tail @ ..] = *rest
        && *head == "OR"
    {
        *rest = tail;
        met |= all_of(rest, allowed);
    }
    met
}

fn all_of(rest: &mut &[&str], allowed: &[String]) -> bool {
    let mut met = one(rest, allowed);
    while let [head, tail @ ..] = *rest
        && *head == "AND"
    {
        *rest = tail;
        met &= one(rest, allowed);
    }
    met
}

fn one(rest: &mut &[&str], allowed: &[String]) -> bool {
    match *rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let met = any_of(rest, allowed);
            let closed = rest.first() == Some(&")");
            *rest = rest.get(1..).unwrap_or_default();
            met && closed
        }
        [name, "WITH", exception, tail @ ..] => {
            *rest = tail;
            allowed.contains(&format!("{name} WITH {exception}"))
        }
        [name, tail @ ..] => {
            *rest = tail;
            allowed.iter().any(|licence| licence == name)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_catches, assert_silent};

    #[test]
    fn expressions_are_read_as_spdx_means_them() {
        let allowed = ["MIT", "ISC", "Zlib"].map(str::to_owned);
        for good in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(GPL-3.0 OR MIT) AND ISC", "X AND Y OR MIT"]
        {
            assert!(satisfied(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "MIT WITH X", "(MIT", "MIT ISC", "X AND (Y OR MIT)"] {
            assert!(!satisfied(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn a_licence_outside_the_list_is_caught() {
        let deny = (DENY, "[licenses]\nallow = [\"MIT\"]\n");
        let package = |licence: Option<&str>| {
            vec![Package { name: "p".to_owned(), licence: licence.map(str::to_owned) }]
        };
        let check = |licence| move |tree: &Tree| allowed_licences(tree, &package(licence));
        assert_catches(check(Some("GPL-3.0")), &[deny], "deny.toml:2: p: GPL-3.0 is not allowed");
        assert_catches(check(None), &[deny], "deny.toml:2: p: it names no licence");
        assert_catches(check(Some("MIT")), &[], "deny.toml:1: it is missing");
        assert_silent(check(Some("MIT")), &[deny]);
    }

    #[test]
    fn a_foreign_source_or_a_banned_crate_is_caught() {
        let deny = (DENY, "[bans]\ndeny = [{ crate = \"bad\", reason = \"x\" }]\n");
        let lock = "[[package]]\nname = \"a\"\nsource = \"git+https://example.org/a\"\n";
        assert_catches(locked_sources, &[deny, ("Cargo.lock", lock)], "Cargo.lock:3: git+https");
        let lock = format!("[[package]]\nname = \"bad\"\nsource = \"{CRATES_IO}\"\n");
        assert_catches(
            locked_sources,
            &[deny, ("Cargo.lock", &lock)],
            "Cargo.lock:2: bad: deny.toml bans it",
        );
        assert_silent(locked_sources, &[deny, ("Cargo.lock", &lock.replace("bad", "good"))]);
    }
}
