//! The module graph: gateway's modules depend downwards only, and no modules form a circle.
//!
//! Edges are the paths that begin with `crate`, `self` or `super` in product code, followed through
//! re-exports to the module that defines the name. A module and its own submodules count as one: a
//! submodule may use what its parent defines.

use std::collections::{BTreeMap, BTreeSet};

use crate::rust;
use crate::tree::{File, Finding, Tree};

/// Gateway's modules from the lowest to the highest. Each may use those before it.
const LAYERS: &[&str] = &[
    "limits",
    "histogram",
    "access",
    "identity",
    "config",
    "trace",
    "log",
    "emergency_stop",
    "authority",
    "connection",
    "hub",
    "telemetry",
    "endpoint",
    "api",
    "dialect",
    "server",
    "process",
    "supervisor",
    "cli",
];
const GATEWAY: &str = "gateway/src";

/// A module of gateway uses only modules below it.
pub(crate) fn layers(tree: &Tree) -> Vec<Finding> {
    let graph = Graph::of(tree, GATEWAY);
    let rank = |path: &[String]| LAYERS.iter().position(|layer| path.first().is_some_and(|top| top == layer));
    let mut findings = Vec::new();
    for (from, module) in &graph.modules {
        let Some(own) = rank(from) else {
            if from.len() == 1 {
                findings.push(module.file.finding(1, format!("{}: add it to the layers first", from[0])));
            }
            continue;
        };
        for edge in &module.edges {
            if let Some(other) = rank(&edge.to).filter(|other| *other > own) {
                let what = format!(
                    "{} is below {} and must not use it ({})",
                    LAYERS[own],
                    LAYERS[other],
                    edge.to.join("::")
                );
                findings.push(module.file.finding(edge.line, what));
            }
        }
    }
    findings
}

/// No two modules of a crate need each other, directly or through others.
pub(crate) fn no_circles(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for root in crate_roots(tree) {
        let graph = Graph::of(tree, &root);
        for circle in graph.circles() {
            let names: Vec<String> = circle.iter().map(|path| path.join("::")).collect();
            for path in &circle {
                let module = &graph.modules[path];
                for edge in module.edges.iter().filter(|edge| circle.contains(&edge.to)) {
                    let what = format!(
                        "uses {} and is used by it, in the circle {}",
                        edge.to.join("::"),
                        names.join(", ")
                    );
                    findings.push(module.file.finding(edge.line, what));
                }
            }
        }
    }
    findings
}

/// The folders that hold a `lib.rs`, or only a `main.rs`.
fn crate_roots(tree: &Tree) -> BTreeSet<String> {
    let roots = tree.rust().filter(|file| ["lib.rs", "main.rs"].contains(&file.name()));
    roots.filter_map(|file| Some(file.path.rsplit_once("/src/")?.0.to_owned() + "/src")).collect()
}

type ModulePath = Vec<String>;

struct Edge {
    to: ModulePath,
    line: usize,
}

struct Module<'a> {
    file: &'a File,
    edges: Vec<Edge>,
}

/// The modules of one crate and what each uses.
struct Graph<'a> {
    modules: BTreeMap<ModulePath, Module<'a>>,
}

impl<'a> Graph<'a> {
    fn of(tree: &'a Tree, root: &str) -> Graph<'a> {
        let mut files = BTreeMap::new();
        for file in tree.rust().filter(|file| !file.is_test()) {
            if let Some(path) = module_path(&file.path, root) {
                files.insert(path, file);
            }
        }
        let paths: BTreeMap<ModulePath, Vec<(ModulePath, bool, usize)>> =
            files.iter().map(|(module, file)| (module.clone(), used_paths(file, module))).collect();
        let reexports = Reexports::of(&paths);
        let mut modules = BTreeMap::new();
        for (module, file) in &files {
            let mut edges = Vec::new();
            for (path, _, line) in &paths[module] {
                let to = reexports.defining_module(&files, path);
                if to != *module && !to.starts_with(module) && !module.starts_with(&to) {
                    edges.push(Edge { to, line: *line });
                }
            }
            modules.insert(module.clone(), Module { file, edges });
        }
        Graph { modules }
    }

    /// Strongly connected sets of more than one module (Tarjan's idea, by plain reachability).
    fn circles(&self) -> Vec<BTreeSet<ModulePath>> {
        let reach: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> =
            self.modules.keys().map(|from| (from, self.reachable(from))).collect();
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for from in self.modules.keys() {
            if seen.contains(from) {
                continue;
            }
            let both = |to: &&&ModulePath| reach.get(**to).is_some_and(|back| back.contains(from));
            let circle: BTreeSet<ModulePath> =
                reach[from].iter().filter(both).map(|path| (*path).clone()).collect();
            seen.extend(circle.iter().cloned());
            if circle.len() > 1 {
                circles.push(circle);
            }
        }
        circles
    }

    fn reachable(&self, from: &ModulePath) -> BTreeSet<&ModulePath> {
        let mut found = BTreeSet::new();
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            for edge in self.modules.get(at).map_or(&[][..], |module| &module.edges) {
                if found.insert(&edge.to) {
                    open.push(&edge.to);
                }
            }
        }
        found
    }
}

/// Items that `pub use` gives another name: module and name → the original.
struct Reexports(BTreeMap<ModulePath, ModulePath>);

impl Reexports {
    fn of(paths: &BTreeMap<ModulePath, Vec<(ModulePath, bool, usize)>>) -> Reexports {
        let mut map = BTreeMap::new();
        for (module, used) in paths {
            for (path, _, _) in used.iter().filter(|(_, reexported, _)| *reexported) {
                if let Some(name) = path.last() {
                    map.insert([module.as_slice(), std::slice::from_ref(name)].concat(), path.clone());
                }
            }
        }
        Reexports(map)
    }

    fn defining_module<T>(&self, modules: &BTreeMap<ModulePath, T>, path: &ModulePath) -> ModulePath {
        let mut path = path.clone();
        for _ in 0..8 {
            let Some(length) = (1..=path.len()).find(|length| self.0.contains_key(&path[..*length])) else {
                break;
            };
            let next = [self.0[&path[..length]].as_slice(), &path[length..]].concat();
            if next == path {
                break;
            }
            path = next;
        }
        while !path.is_empty() && !modules.contains_key(&path) {
            path.pop();
        }
        path
    }
}

/// `gateway/src/hub/topic.rs` is `hub::topic`; `lib.rs` is the root.
fn module_path(file: &str, root: &str) -> Option<ModulePath> {
    let rest = file.strip_prefix(root)?.strip_prefix('/')?.strip_suffix(".rs")?;
    let mut path: ModulePath = rest.split('/').map(str::to_owned).collect();
    if matches!(path.last().map(String::as_str), Some("lib" | "main" | "mod")) {
        path.pop();
    }
    Some(path)
}

/// Every path of the crate's own that a file names, whether it is re-exported, and its line.
fn used_paths(file: &File, module: &ModulePath) -> Vec<(ModulePath, bool, usize)> {
    let code = rust::product_code(&file.text);
    let mut paths = Vec::new();
    for root in ["crate", "self", "super"] {
        for offset in rust::word_offsets(&code, root) {
            let before = code[..offset].trim_end();
            let rest = &code[offset + root.len()..];
            // `self.x`, `pub(crate)`, and the later parts of `super::super`.
            if !rest.starts_with("::") || before.ends_with("::") {
                continue;
            }
            let statement = code[..offset].rsplit([';', '}', '{']).next().unwrap_or_default();
            let reexported = statement.contains("pub") && statement.contains("use");
            let mut start = match root {
                "crate" => Vec::new(),
                _ => module.clone(),
            };
            if root == "super" {
                start.pop();
            }
            for path in expand(rest.trim_start_matches("::")) {
                let mut full = start.clone();
                for part in path {
                    match part.as_str() {
                        "super" => drop(full.pop()),
                        "self" => {}
                        _ => full.push(part),
                    }
                }
                paths.push((full, reexported, file.line_of(offset)));
            }
        }
    }
    paths
}

/// `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(text: &str) -> Vec<Vec<String>> {
    let mut at = 0;
    let mut path = Vec::new();
    loop {
        let rest = &text[at..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut all = Vec::new();
            for member in group_members(group) {
                all.extend(expand(member).into_iter().map(|tail| [path.clone(), tail].concat()));
            }
            return all;
        }
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !name.is_empty() {
            path.push(name.clone());
        }
        at += name.len();
        match text[at..].strip_prefix("::") {
            Some(next) if !name.is_empty() && !next.starts_with('<') => at += 2,
            _ => return vec![path],
        }
    }
}

/// The members of a group whose opening brace was just read.
fn group_members(text: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0_usize, 0);
    let mut members = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(text[start..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    members.retain(|member| !member.is_empty());
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assert_catches, assert_silent};

    #[test]
    fn an_arrow_up_is_caught() {
        let lib = ("gateway/src/lib.rs", "pub mod hub;\npub mod dialect;\n");
        let dialect = ("gateway/src/dialect.rs", "use crate::hub::Topic;\n");
        let up = ("gateway/src/hub.rs", "pub struct Topic;\nfn f() { crate::dialect::encode() }\n");
        assert_catches(layers, &[lib, dialect, up], "gateway/src/hub.rs:2: hub is below dialect");
        let up = ("gateway/src/hub/fanout.rs", "use crate::{access, dialect::{foxglove, plain}};\n");
        assert_catches(layers, &[lib, dialect, up], "gateway/src/hub/fanout.rs:1: hub is below dialect");
        let down = ("gateway/src/hub.rs", "#[cfg(test)]\nmod tests { use crate::dialect::x; }\n");
        assert_silent(layers, &[lib, dialect, down]);
        let unknown = ("gateway/src/extra.rs", "");
        assert_catches(layers, &[lib, unknown], "gateway/src/extra.rs:1: extra: add it");
    }

    #[test]
    fn an_arrow_up_through_a_re_export_is_caught() {
        let lib = ("gateway/src/lib.rs", "pub use crate::api::Route;\n");
        let api = ("gateway/src/api.rs", "pub struct Route;\n");
        let hub = ("gateway/src/hub.rs", "use crate::Route;\n");
        assert_catches(layers, &[lib, api, hub], "gateway/src/hub.rs:1: hub is below api");
    }

    #[test]
    fn a_circle_is_caught() {
        let lib = ("tui/src/lib.rs", "mod a;\nmod b;\nmod c;\n");
        let a = ("tui/src/a.rs", "use super::b::B;\n");
        let b = ("tui/src/b.rs", "use crate::c;\nfn f(x: c::C) {}\n");
        let c = ("tui/src/c.rs", "struct C(self::inner::I);\nuse crate::a::A;\n");
        assert_catches(no_circles, &[lib, a, b, c], "tui/src/c.rs:2: uses a and is used by it");
        assert_catches(no_circles, &[lib, a, b, c], "in the circle a, b, c");
        assert_silent(no_circles, &[lib, a, b, ("tui/src/c.rs", "")]);
    }

    #[test]
    fn a_parent_and_its_submodules_are_one() {
        let lib = ("tui/src/lib.rs", "mod a;\n");
        let a = ("tui/src/a.rs", "mod b;\npub use crate::a::b::B;\npub struct A;\n");
        assert_silent(no_circles, &[lib, a, ("tui/src/a/b.rs", "use super::A;\n")]);
        let c = ("tui/src/a/c.rs", "use crate::a::B;\n");
        let b = ("tui/src/a/b.rs", "use super::A;\nuse super::c::C;\n");
        assert_catches(no_circles, &[lib, a, b, c], "in the circle a::b, a::c");
    }
}
