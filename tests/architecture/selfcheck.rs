//! Each rule is fed text that breaks it, so that none of them passes because it sees nothing.

use crate::rules::*;
use crate::source::Source;

/// The lines at which `rule` finds fault with `text` at `path`.
fn faults(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> Vec<usize> {
    let source = Source::new(path, text);
    let line = |violation: &String| {
        violation[path.len() + 1..]
            .split(':')
            .next()
            .and_then(|line| line.parse().ok())
    };
    let mut lines: Vec<usize> = rule(&source).iter().filter_map(line).collect();
    lines.sort_unstable();
    lines
}

const CODEC: &str = "crates/fai-core/src/codec/planes.rs";
const NONE: [usize; 0] = [];

#[test]
fn a_wrong_arrow_between_core_modules_is_found() {
    let wrong = "use crate::tensor::Element;\nuse crate::storage::Pack;\nuse crate::{\n    object::Id,\n    repo::{Repo, tensor},\n};\n";
    assert_eq!(faults(core_arrows, CODEC, wrong), [2, 5]);
    assert_eq!(
        faults(
            core_arrows,
            CODEC,
            "fn f() {\n    crate::database::open();\n    super::super::repo::add();\n}"
        ),
        [2, 3]
    );
    assert_eq!(
        faults(
            core_arrows,
            CODEC,
            "#[cfg(test)]\nmod tests {\n    use crate::repo::Repo;\n}"
        ),
        [3]
    );
    assert_eq!(faults(core_arrows, CODEC, "use crate::Repo;\nuse crate::*;"), [1, 2]);
    assert_eq!(faults(core_arrows, "crates/fai-core/src/helpers/mod.rs", "//! x"), [1]);
    let right = "// crate::repo\nuse crate::codec::Codec;\nuse super::{raw, zstd};\nuse super::super::object::Id;";
    assert_eq!(faults(core_arrows, CODEC, right), NONE);
    assert_eq!(
        faults(
            core_arrows,
            "crates/fai-core/src/repo/add.rs",
            "use crate::database::Db;"
        ),
        NONE
    );
}

#[test]
fn a_wrong_arrow_between_crates_is_found() {
    let upward =
        "use fai_network::Peer;\nuse fai_testkit::tiny;\n#[cfg(test)]\nmod tests {\n    use fai_testkit::tiny;\n}";
    assert_eq!(faults(crate_arrows, CODEC, upward), [1, 2]);
    assert_eq!(
        faults(
            crate_arrows,
            "tests/cli.rs",
            "use fai_testkit::tiny;\nuse fai_core::repo;"
        ),
        NONE
    );
    assert_eq!(
        faults(crate_arrows, "src/commands/add.rs", "use fai_testkit::tiny;"),
        [1]
    );

    let manifest = |text| manifest_arrows("crates/fai-core/Cargo.toml", text).len();
    assert_eq!(manifest("[dependencies]\nfai-network.workspace = true"), 1);
    assert_eq!(
        manifest("[target.'cfg(unix)'.dependencies]\nnet = { package = \"fai-network\", path = \"x\" }"),
        1
    );
    assert_eq!(manifest("[dependencies.fai-testkit]\nworkspace = true"), 1);
    assert_eq!(
        manifest("[dev-dependencies]\nfai-testkit.workspace = true\n[features]\nfai-network = []"),
        0
    );
    assert_eq!(manifest_arrows("crates/fai-hub/Cargo.toml", "[package]").len(), 1);
}

#[test]
fn long_files_are_found_and_their_tests_not_counted() {
    let long = |code: usize, tests: usize| {
        format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "x();\n".repeat(code),
            "y();\n".repeat(tests)
        )
    };
    assert_eq!(faults(length, CODEC, &long(LONGEST_FILE, 900)), NONE);
    assert_eq!(faults(length, CODEC, &long(LONGEST_FILE + 1, 0)), [LONGEST_FILE + 1]);
    let after_tests = format!("{}fn f() {{\n{}}}\n", long(400, 0), "x();\n".repeat(400));
    assert_eq!(faults(length, CODEC, &after_tests), [802]);
    assert_eq!(faults(length, "src/main.rs", &"x();\n".repeat(30)), [30]);
    assert_eq!(faults(length, "src/main.rs", &"x();\n".repeat(29)), NONE);
}

#[test]
fn forbidden_words_are_found_in_code_and_only_there() {
    let prints = "fn f() {\n    println!(\"x\");\n    // println!\n    writeln!(out, \"dbg!(x)\")?;\n    dbg!(1);\n}\n#[cfg(test)]\nmod tests { fn g() { print!(\"x\"); } }";
    assert_eq!(faults(printing, CODEC, prints), [2, 5]);
    assert_eq!(faults(printing, "src/main.rs", prints), [2, 5]);
    assert_eq!(faults(printing, "src/ui/output.rs", prints), NONE);
    assert_eq!(faults(printing, "crates/fai-core/tests/packs.rs", prints), NONE);

    let asks = "use std::{env, fs};\nlet home = env::var(x);\nlet now = std::time::Instant::now();\nlet t = SystemTime::now();\nlet root = env!(\"ROOT\");";
    assert_eq!(faults(surroundings, CODEC, asks), [2, 3, 4]);
    assert_eq!(faults(surroundings, CODEC, &format!("#![cfg(test)]\n{asks}")), NONE);
    assert_eq!(faults(surroundings, "src/cli.rs", asks), NONE);

    assert_eq!(
        faults(
            unfinished,
            "tests/cli.rs",
            "fn f() {\n    todo!()\n}\nfn g() { unimplemented!() }"
        ),
        [2, 4]
    );
    assert_eq!(
        faults(
            unsafety,
            CODEC,
            "fn f() {\n    unsafe { g() }\n}\n#![deny(unsafe_code)]"
        ),
        [2]
    );
    assert_eq!(faults(introduction, CODEC, "// no\n//! late"), [1]);
    assert_eq!(faults(introduction, CODEC, "//! Planes."), NONE);
}
