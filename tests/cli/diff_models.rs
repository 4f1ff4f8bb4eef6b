//! `fai diff` on models: how far layers and tensors moved, for people, for scripts and as a page.

use crate::support::{Sandbox, assert_fields, text};
use fai_testkit::{DType, Tensor, normal, safetensors};
use serde_json::{Value, json};

/// A model of `layers` layers. Values of tensors whose names begin with one of `moved` are a little larger.
fn model(layers: usize, moved: &[&str]) -> Vec<u8> {
    let mut names: Vec<String> = vec!["model.embed_tokens.weight".to_owned()];
    for layer in 0..layers {
        for module in ["self_attn.q_proj", "mlp.up_proj", "input_layernorm"] {
            names.push(format!("model.layers.{layer}.{module}.weight"));
        }
    }
    names.push("lm_head.weight".to_owned());
    let tensor = |(index, name): (usize, &String)| {
        let mut values = normal(index as u64, 600);
        if moved.iter().any(|prefix| name.starts_with(prefix)) {
            values.iter_mut().for_each(|value| *value *= 1.0 + 0.01 * index as f32);
        }
        Tensor::of(name, DType::F32, &[30, 20], &values)
    };
    safetensors::write(&names.iter().enumerate().map(tensor).collect::<Vec<_>>())
}

/// Two commits of a model.
fn tuned(old: &[u8], new: &[u8]) -> Sandbox {
    let sandbox = Sandbox::with(&[("model.safetensors", old)]);
    sandbox.write("model.safetensors", new);
    sandbox.commit("tuned");
    sandbox
}

const COMMITS: [&str; 3] = ["diff", "HEAD~1", "HEAD"];

/// The lines below the one that says how many tensors changed.
fn below_counts(shown: &str) -> String {
    let lines = shown.lines().skip_while(|line| !line.contains("tensors changed"));
    let lines = lines.take_while(|line| !line.starts_with("Summary"));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn layers_are_shown_with_bars() {
    let sandbox = tuned(
        &model(12, &[]),
        &model(12, &["model.layers.2.", "model.layers.10.mlp", "lm_head"]),
    );
    insta::assert_snapshot!(below_counts(&sandbox.ok(&COMMITS)), @r"
          5 of 38 tensors changed
          moved by 0.233, cosine 0.993933, largest 0.0227, mean -4.65e-5, 0.0% equal
            ~ lm_head                         ####################  0.370    1 of 1, cosine 1.000000
            ~ model.layers.2.input_layernorm  #####                 0.0900   1 of 1, cosine 1.000000
            ~ model.layers.2.mlp              ####                  0.0800   1 of 1, cosine 1.000000
            ~ model.layers.2.self_attn        ####                  0.0700   1 of 1, cosine 1.000000
            ~ model.layers.10.mlp             #################     0.320    1 of 1, cosine 1.000000
    ");
    let all = sandbox.ok(&[&COMMITS[..], &["--tensors"]].concat());
    let rows: Vec<&str> = all.lines().filter(|line| line.contains("  ~ ")).collect();
    assert_eq!(rows.len(), 5, "{all}");
    assert!(
        rows[0].contains("~ model.layers.2.self_attn.q_proj.weight  ####  "),
        "{all}"
    );
    // Complete, however long the lines become: who asks for every tensor wants to read every number.
    assert!(
        rows.iter()
            .all(|row| row.contains("cosine 1.000000, largest ") && row.ends_with("% equal, f32 [30, 20]")),
        "{all}"
    );
    insta::assert_snapshot!(sandbox.ok(&[&COMMITS[..], &["--stat"]].concat()), @r"
     model.safetensors | 5 of 38 tensors changed
    Summary: Modified: 1 files, Size: +0B
    ");
}

#[test]
fn many_groups_become_layers_and_end_after_forty() {
    let sandbox = tuned(&model(60, &[]), &model(60, &["model.layers"]));
    let shown = sandbox.ok(&COMMITS);
    let rows: Vec<&str> = shown.lines().filter(|line| line.starts_with("        ~ ")).collect();
    assert_eq!(rows.len(), 40, "{shown}");
    // The forty that moved farthest, in the order that people count in.
    assert!(
        rows[0].contains("model.layers.20 ") && rows[39].contains("model.layers.59 "),
        "{shown}"
    );
    assert!(
        shown.contains("... and 20 more (--tensors lists all tensors"),
        "{shown}"
    );
    assert!(shown.lines().all(|line| line.chars().count() <= 120), "{shown}");
    let all = sandbox.ok(&[&COMMITS[..], &["--tensors"]].concat());
    assert_eq!(all.lines().filter(|line| line.starts_with("        ~ ")).count(), 180);
}

#[test]
fn scripts_get_every_number() {
    let sandbox = tuned(&model(2, &[]), &model(2, &["model.layers.1.mlp"]));
    let document = sandbox.json(&COMMITS);
    let tensors = &document["modified"][0]["tensors"];
    assert_fields(
        tensors,
        &[
            "added",
            "removed",
            "changed",
            "reshaped",
            "retyped",
            "unchanged",
            "moved",
            "groups",
            "layers",
            "metadata",
        ],
    );
    assert_eq!(tensors["changed"], json!(["model.layers.1.mlp.up_proj.weight"]));
    let moved = &tensors["moved"][0];
    assert_fields(
        moved,
        &[
            "name",
            "old_dtype",
            "dtype",
            "shape",
            "rows",
            "unit",
            "old_norm",
            "new_norm",
            "difference_norm",
        ],
    );
    // Tensor 5 was made 1.05 times as large.
    let number = |field: &str| moved[field].as_f64().unwrap_or_else(|| panic!("{field} in {moved}"));
    assert!((number("relative_l2") - 0.05).abs() < 1e-6, "{moved}");
    assert!((number("cosine") - 1.0).abs() < 1e-9, "{moved}");
    assert_eq!(
        (&moved["elements"], &moved["finite"], &moved["nan"]),
        (&json!(600), &json!(600), &json!({"old": 0, "new": 0}))
    );
    let named = |groups: &Value| {
        groups
            .as_array()
            .unwrap()
            .iter()
            .map(|group| text(&group["name"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        named(&tensors["layers"]),
        ["lm_head", "model.embed_tokens", "model.layers.0", "model.layers.1"]
    );
    assert_eq!(tensors["groups"].as_array().unwrap().len(), 8);
    // Without looking into models nothing is known, and nothing claimed.
    let document = sandbox.json(&[&COMMITS[..], &["--no-tensors"]].concat());
    assert_eq!(document["modified"][0]["tensors"], Value::Null);
    assert!(
        !sandbox
            .ok(&[&COMMITS[..], &["--no-tensors"]].concat())
            .contains("tensors changed")
    );
    // `show` tells which, not how far.
    let shown = sandbox.json(&["show"]);
    let tensors = &shown["changes"]["modified"][0]["tensors"];
    assert_eq!(
        (&tensors["changed"], &tensors["moved"]),
        (&json!(["model.layers.1.mlp.up_proj.weight"]), &json!([]))
    );
}

#[test]
fn numbers_that_json_does_not_have_are_null() {
    let one = |values: [f32; 4]| safetensors::write(&[Tensor::of("w", DType::F32, &[4], &values)]);
    let sandbox = tuned(
        &one([0.0, 0.0, f32::NAN, 1.0]),
        &one([0.0, 1.0, f32::NAN, f32::INFINITY]),
    );
    let moved = sandbox.json(&COMMITS)["modified"][0]["tensors"]["moved"][0].clone();
    assert_eq!((&moved["relative_l2"], &moved["cosine"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&moved["equal"], &moved["finite"], &moved["largest"]),
        (&json!(2), &json!(2), &json!(1.0))
    );
    assert_eq!(
        (&moved["nan"], &moved["infinite"]),
        (&json!({"old": 1, "new": 1}), &json!({"old": 0, "new": 1}))
    );
    let shown = sandbox.ok(&COMMITS);
    assert!(
        shown.contains("NaN: 1 -> 1 elements") && shown.contains("infinite: 0 -> 1 elements"),
        "{shown}"
    );
}

#[test]
fn shapes_and_dtypes_are_told_with_what_can_be_compared() {
    let values = normal(1, 400);
    let before = [
        Tensor::of("embed.weight", DType::F32, &[20, 10], &values[..200]),
        Tensor::of("cast.weight", DType::F32, &[100], &values[..100]),
        Tensor::of("gone", DType::F32, &[1], &[1.0]),
    ];
    let after = [
        Tensor::of("embed.weight", DType::F32, &[24, 10], &values[..240]),
        Tensor::of("cast.weight", DType::Bf16, &[100], &values[..100]),
        Tensor::of("fresh", DType::F32, &[1], &[1.0]),
    ];
    let sandbox = tuned(&safetensors::write(&before), &safetensors::write(&after));
    let shown = sandbox.ok(&COMMITS);
    for line in [
        "2 of 2 tensors changed, 1 added, 1 removed",
        "~ embed.weight [20, 10] -> [24, 10], the first 20 rows moved by 0",
        "~ cast.weight f32 -> bf16",
        "+ fresh",
        "- gone",
    ] {
        assert!(shown.contains(line), "{line} is missing from:\n{shown}");
    }
}

/// Fails unless the page is one that a browser shows without asking for anything else.
fn assert_self_contained(page: &str) {
    for forbidden in [
        "<script",
        "src=",
        "href=",
        "url(",
        "@import",
        "http:",
        "https:",
        "javascript:",
        "<iframe",
        "<img",
    ] {
        assert!(!page.contains(forbidden), "{forbidden} is in the page");
    }
    for (open, close) in [
        ("<svg", "</svg>"),
        ("<table", "</table>"),
        ("<g>", "</g>"),
        ("<h3>", "</h3>"),
        ("<title>", "</title>"),
    ] {
        assert_eq!(page.matches(open).count(), page.matches(close).count(), "{open}");
    }
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
}

#[test]
fn the_page_has_its_plots_and_loads_nothing() {
    let sandbox = tuned(&model(4, &[]), &model(4, &["model.layers.1", "model.layers.2.mlp"]));
    sandbox.write("page.html", "an older page");
    sandbox.ok(&[&COMMITS[..], &["--html", "page.html"]].concat());
    let page = String::from_utf8(sandbox.read("page.html")).unwrap();
    assert_self_contained(&page);
    // Bars, heat map, histogram.
    assert_eq!(page.matches("<svg").count(), 3);
    for what in [
        "model.layers.1",
        "self_attn.q_proj",
        "model.safetensors",
        "relative L2 change by layer",
    ] {
        assert!(page.contains(what), "{what}");
    }
    assert!(
        !page.contains("NaN\"") && !page.contains("inf\""),
        "no plot has a number that is none"
    );
}

#[test]
fn names_do_no_harm_in_the_page_or_on_the_terminal() {
    let evil = "<script>alert('1')</script>\"&\x1b[2J.weight";
    let one = |value: f32| safetensors::write(&[Tensor::of(evil, DType::F32, &[1], &[value])]);
    let name = "<img src=x onerror=alert(1)>.safetensors";
    let sandbox = Sandbox::with(&[(name, &one(1.0))]);
    sandbox.write(name, one(2.0));
    let shown = sandbox.ok(&["diff", "--html", "page.html"]);
    assert!(!shown.contains('\x1b'), "{shown}");
    let page = String::from_utf8(sandbox.read("page.html")).unwrap();
    for forbidden in ["<script", "<img", "\x1b"] {
        assert!(!page.contains(forbidden), "{forbidden:?}");
    }
    assert!(page.contains("&lt;script&gt;") && page.contains("&lt;img"), "{page}");
}

#[test]
fn a_page_that_cannot_be_written_leaves_nothing() {
    let sandbox = tuned(&model(1, &[]), &model(1, &["lm_head"]));
    let output = sandbox.run(&[&COMMITS[..], &["--html", "no/such/folder/page.html"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no/such/folder/page.html"));
    assert!(!sandbox.exists("no"));
    // A folder stands where the page should be.
    std::fs::create_dir(sandbox.path("page.html")).unwrap();
    sandbox.write("page.html/inside", "1");
    let output = sandbox.run(&[&COMMITS[..], &["--html", "page.html"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let left: Vec<_> = std::fs::read_dir(sandbox.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        left.iter().all(|name| !name.to_string_lossy().starts_with(".tmp")),
        "{left:?}"
    );
    sandbox.misused(&["diff", "--no-tensors", "--html", "x.html"]);
}

/// util-linux's `script` runs a command on a terminal of its own.
#[cfg(target_os = "linux")]
#[test]
fn terminals_get_blocks_and_a_pager() {
    let sandbox = tuned(&model(2, &[]), &model(2, &["lm_head"]));
    if sandbox.shell("script --version").output().unwrap().stdout.is_empty() {
        return;
    }
    let on_terminal = |variables: &str, options: &str| {
        let script = format!("{variables} script -qec '\"$FAI\" diff HEAD~1 HEAD {options}' /dev/null");
        let output = sandbox
            .shell(&script)
            .env("TERM", "xterm")
            .env_remove("PAGER")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let pager = "FAI_PAGER=\"sed s/^/paged:/\"";
    let paged = on_terminal(pager, "");
    assert!(
        paged.contains("paged:") && paged.contains("~ lm_head") && paged.contains('█'),
        "{paged}"
    );
    for (variables, options) in [(pager, "--no-pager"), ("FAI_PAGER=", ""), ("PAGER=cat", "")] {
        let plain = on_terminal(variables, options);
        assert!(
            plain.contains("~ lm_head") && !plain.contains("paged:"),
            "{variables} {options}: {plain}"
        );
    }
    let ascii = on_terminal("LC_ALL=C", "--no-pager");
    assert!(ascii.contains("####") && !ascii.contains('█'), "{ascii}");
    // Who leaves the pager early is told nothing.
    let left = on_terminal("FAI_PAGER=\"head -n 1\"", "");
    assert!(!left.contains("error"), "{left}");
}
