//! The house rules that neither the compiler nor clippy can hold, read from the sources: which crate and which
//! module may use which, how long files get, who prints, who reads clocks. What the program does is not tested here.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

mod rules;
mod selfcheck;
mod source;

use source::Source;
use std::fs;
use std::path::Path;

/// A walk that finds less than this is broken, and with it every rule.
const FEWEST_FILES: usize = 10;
const FEWEST_CORE_FILES: usize = 5;

/// Text and relative path of every file below the workspace whose name ends with `ending`, build output left out.
fn files(ending: &str) -> Vec<(String, String)> {
    // Asked at run time first: worktrees that share a target folder also share this binary.
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let root = Path::new(&root);
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace lists") {
            let entry = entry.expect("a folder of the workspace lists");
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let kind = entry.file_type().expect("an entry of the workspace has a type");
            if kind.is_dir() {
                if !name.starts_with('.') && name != "target" && !path.join("CACHEDIR.TAG").exists() {
                    folders.push(path);
                }
            } else if kind.is_file() && name.ends_with(ending) {
                let relative = path
                    .strip_prefix(root)
                    .expect("walked from the root")
                    .to_string_lossy()
                    .into_owned();
                found.push((relative, fs::read_to_string(&path).expect("a source file is UTF-8")));
            }
        }
    }
    found.sort();
    found
}

fn assert_none(violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{} violation(s):\n{}",
        violations.len(),
        violations.join("\n")
    );
}

fn check(rule: fn(&Source) -> Vec<String>) {
    let sources: Vec<Source> = files(".rs")
        .iter()
        .map(|(path, text)| Source::new(path, text))
        .collect();
    let core = sources
        .iter()
        .filter(|source| source.path.starts_with(rules::CORE))
        .count();
    assert!(
        sources.len() >= FEWEST_FILES,
        "the walk saw {} files, {FEWEST_FILES} at least expected",
        sources.len()
    );
    assert!(
        core >= FEWEST_CORE_FILES,
        "the walk saw {core} files of fai-core, {FEWEST_CORE_FILES} at least expected"
    );
    for anchor in [
        "src/main.rs",
        "crates/fai-core/src/lib.rs",
        "tests/architecture/main.rs",
    ] {
        assert!(
            sources.iter().any(|source| source.path == anchor),
            "the walk missed {anchor}"
        );
    }
    assert_none(&sources.iter().flat_map(rule).collect::<Vec<_>>());
}

#[test]
fn crates_use_each_other_along_the_arrows() {
    check(rules::crate_arrows);
}

#[test]
fn crates_depend_on_each_other_along_the_arrows() {
    let manifests = files("Cargo.toml");
    assert!(
        manifests.len() >= 3,
        "the walk saw {} manifests, 3 at least expected",
        manifests.len()
    );
    assert_none(
        &manifests
            .iter()
            .flat_map(|(path, text)| rules::manifest_arrows(path, text))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn core_modules_use_only_what_stands_to_their_left() {
    check(rules::core_arrows);
}

#[test]
fn no_file_is_too_long() {
    check(rules::length);
}

#[test]
fn every_file_says_what_lives_in_it() {
    check(rules::introduction);
}

#[test]
fn only_the_ui_prints() {
    check(rules::printing);
}

#[test]
fn core_has_no_clock_and_no_environment() {
    check(rules::surroundings);
}

#[test]
fn nothing_is_left_unfinished() {
    check(rules::unfinished);
}

#[test]
fn core_has_no_unsafe_code() {
    check(rules::unsafety);
}
