//! The project's own rules, as tests: layers, bounds, style, documents, dependencies.
//!
//! A rule is a function from the tree of files to its findings, each `file:line: what and why`.
//! Beside every rule stands a test that breaks it on purpose.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "in a test a panic is the report")]

mod docs;
mod layers;
mod licences;
mod manifest;
mod modules;
mod names;
mod rust;
mod style;
mod tree;

use tree::{Finding, Tree};

/// One test per rule, so that a failure carries its name.
macro_rules! rules {
    ($($rule:path => $name:ident;)*) => {$(
        #[test]
        fn $name() {
            assert_holds(&$rule(&Tree::read()));
        }
    )*};
}

rules! {
    layers::crate_graph => crates_depend_downwards_only;
    layers::confined_crates => libraries_stay_in_their_folders;
    layers::pure_code => pure_code_has_no_way_out;
    layers::no_global_state => nothing_changes_behind_the_back;
    modules::layers => gateway_depends_downwards_only;
    modules::no_circles => modules_form_no_circle;
    names::field_words => items_have_the_fields_names;
    manifest::versions_once => every_version_is_named_once;
    style::short_files => files_are_short;
    style::no_panics => the_product_does_not_panic_on_purpose;
    style::typed_errors => errors_have_types;
    style::printed_in_one_place => what_is_printed_is_printable;
    style::no_marks => nothing_is_left_for_later;
    style::clean_whitespace => white_space_is_clean;
    style::no_foreign_words => the_project_speaks_of_itself;
    style::no_litter => nothing_left_behind_is_committed;
    style::limits_have_units => limits_say_what_they_count;
    docs::links_resolve => links_lead_somewhere;
    docs::dependencies_explained => every_dependency_has_its_reason;
    licences::locked_sources => dependencies_come_from_where_they_may;
}

#[test]
fn every_licence_is_allowed() {
    let tree = Tree::read();
    let packages = licences::packages(&tree);
    assert!(packages.len() > 100, "only {} packages: the list is not whole", packages.len());
    assert_holds(&licences::allowed_licences(&tree, &packages));
}

#[test]
fn commits_have_short_subjects() {
    assert_holds(&names::short_subjects(&names::subjects()));
}

#[test]
fn the_tree_is_the_project() {
    let tree = Tree::read();
    for path in
        ["Cargo.toml", "Cargo.lock", "README.md", "common/protocol/src/limits.rs", "gateway/src/lib.rs"]
    {
        assert!(tree.get(path).is_some_and(|file| !file.text.is_empty()), "{path} is not seen");
    }
    assert!(tree.files.iter().all(|file| !file.path.starts_with("target/")));
}

fn assert_holds(findings: &[Finding]) {
    let list: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(list.is_empty(), "{} found:\n{}", list.len(), list.join("\n"));
}

/// The rule finds something in the sample, and says `expected` of it.
fn assert_catches(rule: impl Fn(&Tree) -> Vec<Finding>, sample: &[(&str, &str)], expected: &str) {
    let found: Vec<String> = rule(&Tree::of(sample)).iter().map(Finding::to_string).collect();
    assert!(found.iter().any(|finding| finding.contains(expected)), "expected {expected}, found {found:?}");
}

fn assert_silent(rule: impl Fn(&Tree) -> Vec<Finding>, sample: &[(&str, &str)]) {
    assert_holds(&rule(&Tree::of(sample)));
}
