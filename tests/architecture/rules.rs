//! The rules: plain functions from one file to its violations. To allow something new, change a table here and say
//! why in the commit. Finding the files is not here.

use crate::source::{Source, line_of, names_after, words};

/// Each crate and the crates of this workspace that it may use.
const CRATES: &[(&str, &[&str])] = &[
    ("fai-core", &[]),
    ("fai-network", &["fai-core"]),
    ("fai-protocol", &["fai-network", "fai-core"]),
    ("fai-testkit", &[]),
];
/// May be used by every crate, but only by its tests.
const TEST_ONLY: &str = "fai-testkit";
/// The modules of fai-core; each may use itself and what stands to its left.
const ORDER: &[&str] = &["object", "tensor", "chunking", "codec", "storage", "database", "repo"];
/// Files of fai-core that may contain `unsafe`, each for a measured gain.
const UNSAFE_ALLOWED: &[&str] = &[];
pub const LONGEST_FILE: usize = 600;
const LONGEST_MAIN: usize = 29;
pub const CORE: &str = "crates/fai-core/src/";

/// The crate a path belongs to; what only drives the crates from outside (fuzz targets, benchmarks) has none.
fn crate_of(path: &str) -> Option<&str> {
    match path.split_once('/') {
        Some(("crates", inner)) => inner.split('/').next(),
        Some(("src" | "tests" | "benches" | "examples", _)) | None => Some("fai-protocol"),
        Some(_) => None,
    }
}

fn crate_may_use(user: &str, used: &str, in_tests: bool) -> bool {
    let allowed = CRATES
        .iter()
        .find(|(name, _)| *name == user)
        .map_or(&[][..], |(_, allowed)| allowed);
    user == used || allowed.contains(&used) || (in_tests && used == TEST_ONLY)
}

pub fn crate_arrows(source: &Source) -> Vec<String> {
    let Some(user) = crate_of(&source.path) else {
        return Vec::new();
    };
    let mut violations = Vec::new();
    for (used, _) in CRATES {
        for at in words(&source.code, &used.replace('-', "_")) {
            let line = line_of(&source.code, at);
            if !crate_may_use(user, used, source.is_test(line)) {
                violations.push(source.violation(line, &format!("{user} must not use {used} here")));
            }
        }
    }
    violations
}

pub fn manifest_arrows(path: &str, text: &str) -> Vec<String> {
    let Some(user) = crate_of(path) else { return Vec::new() };
    let mut violations = Vec::new();
    if !CRATES.iter().any(|(name, _)| *name == user) {
        violations.push(format!("{path}:1: {user} has no line in CRATES"));
    }
    let mut section = "";
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.starts_with('[') {
            section = line;
        }
        if !section.contains("dependencies") || section.starts_with("[workspace") {
            continue;
        }
        for (used, _) in CRATES.iter().filter(|(used, _)| words(line, used).next().is_some()) {
            if !crate_may_use(user, used, section.contains("dev-dependencies")) {
                violations.push(format!(
                    "{path}:{}: {user} must not depend on {used} in {section}",
                    number + 1
                ));
            }
        }
    }
    violations
}

pub fn core_arrows(source: &Source) -> Vec<String> {
    let module = source
        .path
        .strip_prefix(CORE)
        .and_then(|inner| inner.split(['/', '.']).next());
    let allowed = match module {
        None | Some("lib") => return Vec::new(),
        Some(module) => match ORDER.iter().position(|name| *name == module) {
            Some(position) => &ORDER[..=position],
            None => return vec![source.violation(1, "this module is not in ORDER")],
        },
    };
    let mut violations = Vec::new();
    for root in ["crate", "super"] {
        for (at, name) in names_after(&source.code, root) {
            // `super` mostly stays inside the module; it leaves it only by naming another one.
            let inside = root == "super" && !ORDER.contains(&name);
            if !inside && !allowed.contains(&name) {
                let what = format!(
                    "`{root}::{name}`: {} may use only {allowed:?}",
                    module.unwrap_or_default()
                );
                violations.push(source.violation(line_of(&source.code, at), &what));
            }
        }
    }
    violations
}

pub fn length(source: &Source) -> Vec<String> {
    let lines = source.length();
    let most = if source.path == "src/main.rs" {
        LONGEST_MAIN
    } else {
        LONGEST_FILE
    };
    let long = lines > most;
    long.then(|| source.violation(lines, &format!("{lines} lines without tests; {most} at the most")))
        .into_iter()
        .collect()
}

pub fn introduction(source: &Source) -> Vec<String> {
    let missing = !source.text.starts_with("//!");
    missing
        .then(|| source.violation(1, "does not begin with `//!`: what lives here, and what not?"))
        .into_iter()
        .collect()
}

pub fn printing(source: &Source) -> Vec<String> {
    if source.path.starts_with("src/ui/") || source.path == "src/ui.rs" {
        return Vec::new();
    }
    source.mentions(
        &["println!", "eprintln!", "print!", "eprint!", "dbg!"],
        false,
        "only src/ui prints",
    )
}

pub fn surroundings(source: &Source) -> Vec<String> {
    if !source.path.starts_with(CORE) {
        return Vec::new();
    }
    let patterns = ["std::env", "env::", "SystemTime::now", "Instant::now"];
    source.mentions(
        &patterns,
        false,
        "fai-core has no clock or environment of its own; pass the value in",
    )
}

pub fn unfinished(source: &Source) -> Vec<String> {
    source.mentions(
        &["todo!", "unimplemented!"],
        true,
        "write it, or return an error that says what is missing",
    )
}

pub fn unsafety(source: &Source) -> Vec<String> {
    if !source.path.starts_with(CORE) || UNSAFE_ALLOWED.contains(&source.path.as_str()) {
        return Vec::new();
    }
    source.mentions(
        &["unsafe"],
        true,
        "fai-core is safe code; a measured exception goes into UNSAFE_ALLOWED",
    )
}
