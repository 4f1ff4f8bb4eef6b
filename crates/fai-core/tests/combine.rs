//! Tensors made one: what numpy gives, kept in a file, and computed anew where Python has numpy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::Path;
use std::process::{Command, Stdio};

use fai_core::tensor::{Plain, Recipe, Survey, Versions};

const KEPT: &str = include_str!("golden/combine.txt");

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn check(lines: &str) -> usize {
    for line in lines.lines() {
        let [dtype, recipe, base, ours, theirs, expected] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let element = match dtype {
            "bf16" => Plain::BF16,
            "f16" => Plain::F16,
            "f32" => Plain::F32,
            _ => Plain::F64,
        };
        let [base, ours, theirs] = [base, ours, theirs].map(bytes);
        let versions = Versions {
            base: &base,
            ours: &ours,
            theirs: &theirs,
        };
        let mut survey = Survey::new(recipe.parse::<Recipe>().unwrap());
        // In stretches, as a file is read.
        let width = element.width() as usize;
        let prepared = loop {
            for at in (0..ours.len()).step_by(7 * width) {
                let end = (at + 7 * width).min(ours.len());
                let part = Versions {
                    base: &base[at..end],
                    ours: &ours[at..end],
                    theirs: &theirs[at..end],
                };
                survey.read(element, part);
            }
            match survey.next() {
                Ok(prepared) => break prepared,
                Err(more) => survey = more,
            }
        };
        let mut made = Vec::new();
        prepared.combine(element, versions, &mut made);
        assert!(made == bytes(expected), "{dtype} {recipe}");
    }
    lines.lines().count()
}

#[test]
fn combined_tensors_are_what_numpy_gave() {
    assert_eq!(check(KEPT), 20);
}

#[test]
fn combined_tensors_are_what_numpy_gives() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/combine.py");
    let output = Command::new("python3")
        .arg(script)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => assert_eq!(check(&String::from_utf8(output.stdout).unwrap()), 20),
        _ => println!("skipped: no python3 with numpy here"),
    }
}
