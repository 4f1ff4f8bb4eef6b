//! `fai merge`, `resolve`, `cherry-pick`, `revert`

use crate::support::{Sandbox, short, text};
use fai_testkit::{DType, Tensor, safetensors::write as safetensors};
use serde_json::{Value, json};

/// A model of four tensors; `seeds` draws the weights of each.
fn model(seeds: [u64; 4]) -> Vec<u8> {
    let names = ["embed", "layers.0", "layers.1", "head"];
    let tensors: Vec<Tensor> = names
        .iter()
        .zip(seeds)
        .map(|(name, seed)| Tensor::new(name, DType::F32, &[64, 300], seed))
        .collect();
    safetensors(&tensors)
}

/// Two lines of work from one commit: `ours` is on main, `theirs` is a commit beside it. Gives the base and the other commit.
fn forked(base: impl Fn(&Sandbox), theirs: impl Fn(&Sandbox), ours: impl Fn(&Sandbox)) -> (Sandbox, String, String) {
    let sandbox = Sandbox::new();
    base(&sandbox);
    let first = sandbox.commit("base");
    sandbox.ok(&["checkout", &first]);
    theirs(&sandbox);
    let other = sandbox.commit("theirs");
    sandbox.ok(&["checkout", "main"]);
    ours(&sandbox);
    sandbox.commit("ours");
    (sandbox, first, other)
}

/// Runs a merge that leaves something open, and gives its document.
#[track_caller]
fn conflicting(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let output = sandbox.run(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["outcome"], "conflicts");
    document
}

fn parents(sandbox: &Sandbox) -> Vec<String> {
    let commit = sandbox.json(&["log", "-n", "1"])["commits"][0].clone();
    commit["parents"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn models_are_joined_tensor_by_tensor() {
    let (sandbox, _, other) = forked(
        |sandbox| {
            sandbox.write("model.safetensors", model([1, 2, 3, 4]));
            sandbox.write("tokenizer.json", "{\n  \"size\": 100,\n  \"lower\": true\n}\n");
        },
        |sandbox| {
            sandbox.write("model.safetensors", model([1, 22, 33, 4]));
            sandbox.write("tokenizer.json", "{\n  \"size\": 120,\n  \"lower\": true\n}\n");
        },
        |sandbox| sandbox.write("model.safetensors", model([1, 2, 3, 44])),
    );
    let before = text(&sandbox.json(&["status"])["head"]);
    let document = sandbox.json(&["merge", &other]);
    assert_eq!(document["outcome"], "committed");
    assert_eq!(document["conflicts"], json!([]));
    assert!(sandbox.read("model.safetensors") == model([1, 22, 33, 44]));
    assert_eq!(
        sandbox.read("tokenizer.json"),
        b"{\n  \"size\": 120,\n  \"lower\": true\n}\n"
    );
    assert_eq!(parents(&sandbox), [before, other.clone()]);
    sandbox.assert_clean();
    sandbox.assert_sound();
    assert_eq!(sandbox.ok(&["merge", &other]), "Already up to date\n");
}

#[test]
fn a_branch_moves_forward_where_it_can() {
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox.write("a", "2");
    let second = sandbox.commit("second");
    sandbox.ok(&["checkout", "HEAD~1"]);
    assert_eq!(sandbox.json(&["merge", "main"])["outcome"], "fast_forward");
    assert_eq!(sandbox.read("a"), b"2");
    assert_eq!(sandbox.json(&["status"])["head"], json!(second));
    sandbox.ok(&["checkout", "HEAD~1"]);
    let document = sandbox.json(&["merge", "main", "--no-ff", "-m", "joined"]);
    assert_eq!(document["outcome"], "committed");
    assert_eq!(parents(&sandbox).len(), 2);
    assert_eq!(sandbox.json(&["log", "-n", "1"])["commits"][0]["message"], "joined");
}

#[test]
fn tensors_that_both_changed_wait_or_are_combined() {
    let theirs = |sandbox: &Sandbox| sandbox.write("m.safetensors", model([1, 22, 3, 40]));
    let ours = |sandbox: &Sandbox| sandbox.write("m.safetensors", model([1, 2, 33, 44]));
    let (sandbox, _, other) = forked(
        |sandbox| sandbox.write("m.safetensors", model([1, 2, 3, 4])),
        theirs,
        ours,
    );
    let document = conflicting(&sandbox, &["merge", &other]);
    assert_eq!(document["conflicts"][0]["kind"], "tensors");
    assert_eq!(
        document["conflicts"][0]["detail"],
        json!(["head (changed on both sides)"])
    );
    // What could be decided is there, with ours in the place of what could not.
    assert!(sandbox.read("m.safetensors") == model([1, 22, 33, 44]));
    assert_eq!(sandbox.status("conflicts"), ["m.safetensors"]);
    sandbox
        .fails(&["commit", "-m", "no"])
        .is("conflict", &["m.safetensors"])
        .hints("fai resolve");
    sandbox
        .fails(&["merge", "--continue"])
        .is("conflict", &["m.safetensors"]);
    sandbox
        .fails(&["merge", &other])
        .is("underway", &["merge"])
        .hints("--abort");
    sandbox.fails(&["checkout", "main"]).is("underway", &[]);

    sandbox.ok(&["resolve", "m.safetensors", "--tensors", "average"]);
    let half: Vec<f32> = values(&model([1, 22, 33, 44]))
        .iter()
        .zip(values(&model([1, 22, 33, 40])))
        .map(|(one, other)| (one * 0.5) + (other * 0.5))
        .collect();
    assert_eq!(values(&sandbox.read("m.safetensors")), half);
    assert_eq!(sandbox.json(&["merge", "--continue"])["outcome"], "committed");
    assert_eq!(parents(&sandbox).len(), 2);
    sandbox.assert_clean();
    sandbox.assert_sound();
}

/// The weights of a model of f32.
fn values(file: &[u8]) -> Vec<f32> {
    let header = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize + 8;
    let weights = file[header..].chunks_exact(4);
    weights.map(|raw| f32::from_le_bytes(raw.try_into().unwrap())).collect()
}

#[test]
fn recipes_are_said_at_once_too() {
    for how in [
        "ours",
        "theirs",
        "average",
        "weighted=0.3,0.7",
        "task-arithmetic=0.5",
        "slerp",
        "ties",
    ] {
        let theirs = |sandbox: &Sandbox| sandbox.write("m.safetensors", model([1, 2, 3, 40]));
        let ours = |sandbox: &Sandbox| sandbox.write("m.safetensors", model([1, 2, 3, 44]));
        let (sandbox, _, other) = forked(
            |sandbox| sandbox.write("m.safetensors", model([1, 2, 3, 4])),
            theirs,
            ours,
        );
        assert_eq!(
            sandbox.json(&["merge", &other, "--tensors", how])["outcome"],
            "committed",
            "{how}"
        );
        let made = sandbox.read("m.safetensors");
        match how {
            "ours" => assert!(made == model([1, 2, 3, 44])),
            "theirs" => assert!(made == model([1, 2, 3, 40])),
            _ => {
                let same = made.len() - 4 * 64 * 300;
                assert!(made[..same] == model([1, 2, 3, 4])[..same], "{how}");
                assert!(made != model([1, 2, 3, 44]) && made != model([1, 2, 3, 40]), "{how}");
            }
        }
        sandbox.assert_clean();
    }
    let sandbox = Sandbox::with(&[("a", b"1")]);
    sandbox
        .fails_with(2, &["merge", "HEAD", "--tensors", "magic"])
        .is("usage", &["magic", "average"]);
}

#[test]
fn other_shapes_and_dtypes_are_conflicts_that_say_so() {
    let tensor = |dtype, shape: &[usize], seed| safetensors(&[Tensor::new("w", dtype, shape, seed)]);
    let (sandbox, _, other) = forked(
        |sandbox| {
            sandbox.write("a.safetensors", tensor(DType::F32, &[100], 1));
            sandbox.write("b.safetensors", tensor(DType::F32, &[100], 1));
        },
        |sandbox| {
            sandbox.write("a.safetensors", tensor(DType::F32, &[120], 2));
            sandbox.write("b.safetensors", tensor(DType::Bf16, &[100], 2));
        },
        |sandbox| {
            sandbox.write("a.safetensors", tensor(DType::F32, &[100], 3));
            sandbox.write("b.safetensors", tensor(DType::F32, &[100], 3));
        },
    );
    let document = conflicting(&sandbox, &["merge", &other, "--tensors", "average"]);
    let detail = |index: usize| text(&document["conflicts"][index]["detail"][0]);
    assert_eq!(detail(0), "w (has another shape on each side)");
    assert_eq!(detail(1), "w (has another dtype on each side)");
    sandbox
        .fails(&["resolve", "a.safetensors", "--tensors", "slerp"])
        .is("conflict", &["a.safetensors", "another shape"])
        .hints("--ours");
    sandbox.ok(&["resolve", "a.safetensors", "--theirs"]);
    sandbox.ok(&["resolve", "b.safetensors", "--ours"]);
    sandbox.ok(&["merge", "--continue"]);
    assert!(sandbox.read("a.safetensors") == tensor(DType::F32, &[120], 2));
    assert!(sandbox.read("b.safetensors") == tensor(DType::F32, &[100], 3));
    sandbox.assert_clean();
}

#[test]
fn text_has_markers_and_configs_have_keys() {
    let (sandbox, _, other) = forked(
        |sandbox| {
            sandbox.write("notes.txt", "one\ntwo\nthree\n");
            sandbox.write("c.json", "{\"lr\": 1, \"seed\": 1}\n");
            sandbox.write("p.yaml", "lr: 1 # rate\nseed: 1\n");
            sandbox.write("blob", [0u8, 1, 2]);
        },
        |sandbox| {
            sandbox.write("notes.txt", "one\nTWO\nthree\n");
            sandbox.write("c.json", "{\"lr\": 2, \"seed\": 3}\n");
            sandbox.write("p.yaml", "lr: 1 # rate\nseed: 2\n");
            sandbox.write("blob", [0u8, 1, 3]);
        },
        |sandbox| {
            sandbox.write("notes.txt", "one\n2\nthree\n");
            sandbox.write("c.json", "{\"lr\": 1, \"seed\": 2}\n");
            sandbox.write("p.yaml", "lr: 5 # rate\nseed: 1\n");
            sandbox.write("blob", [0u8, 1, 4]);
        },
    );
    let document = conflicting(&sandbox, &["merge", &other]);
    let conflicts: Vec<(String, String)> = document["conflicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|conflict| (text(&conflict["path"]), text(&conflict["kind"])))
        .collect();
    let expected = [("blob", "binary"), ("c.json", "keys"), ("notes.txt", "content")];
    assert_eq!(
        conflicts,
        expected.map(|(path, kind)| (path.to_owned(), kind.to_owned()))
    );
    assert_eq!(document["conflicts"][1]["detail"], json!(["seed"]));
    assert_eq!(sandbox.read("p.yaml"), b"lr: 5 # rate\nseed: 2\n");
    let marked = String::from_utf8(sandbox.read("notes.txt")).unwrap();
    let label = format!(">>>>>>> {}\n", short(&other));
    assert_eq!(
        marked,
        format!("one\n<<<<<<< ours\n2\n||||||| original\ntwo\n=======\nTWO\n{label}three\n")
    );
    assert_eq!(sandbox.read("blob"), [0, 1, 4]);

    let shown = sandbox.ok(&["status"]);
    assert!(
        shown.contains("A merge of") && shown.contains("notes.txt") && shown.contains("    seed\n"),
        "{shown}"
    );
    sandbox.write("notes.txt", "one\n2 and two\nthree\n");
    sandbox.ok(&["add", "notes.txt"]);
    sandbox.ok(&["resolve", "blob", "c.json", "--theirs"]);
    sandbox.ok(&["commit", "-m", "decided"]);
    assert_eq!(parents(&sandbox).len(), 2);
    assert_eq!(sandbox.read("blob"), [0, 1, 3]);
    sandbox.assert_clean();
    sandbox.fails(&["resolve"]).is("nothing_underway", &[]);
}

#[test]
fn a_side_counts_where_both_changed() {
    let make = || {
        forked(
            |sandbox| sandbox.write("a", "1\n2\n3\n4\n5\n"),
            |sandbox| sandbox.write("a", "1\n2\nX\n4\nfive\n"),
            |sandbox| sandbox.write("a", "one\n2\nY\n4\n5\n"),
        )
    };
    for (side, line) in [("ours", "Y"), ("theirs", "X")] {
        let (sandbox, _, other) = make();
        sandbox.ok(&["merge", &other, "-X", side]);
        assert_eq!(sandbox.read("a"), format!("one\n2\n{line}\n4\nfive\n").as_bytes());
    }
}

#[test]
fn removed_moved_and_executable_files() {
    let (sandbox, _, other) = forked(
        |sandbox| {
            sandbox.write("moved.txt", "a line\n".repeat(2000));
            sandbox.write("script", "1\n");
            sandbox.write("gone", "1\n");
            sandbox.write("lost", "1\n");
            sandbox.write("way", "1\n");
        },
        |sandbox| {
            sandbox.write("moved.txt", "a line\n".repeat(2000) + "theirs\n");
            sandbox.set_executable("script", true);
            sandbox.remove("gone");
            sandbox.write("lost", "2\n");
            sandbox.remove("way");
            sandbox.write("way/inside", "1\n");
        },
        |sandbox| {
            sandbox.ok(&["mv", "moved.txt", "kept.txt"]);
            sandbox.write("script", "2\n");
            sandbox.remove("lost");
            sandbox.write("way", "2\n");
        },
    );
    let document = conflicting(&sandbox, &["merge", &other]);
    assert_eq!(
        sandbox.read("kept.txt"),
        ("a line\n".repeat(2000) + "theirs\n").as_bytes()
    );
    assert!(!sandbox.exists("moved.txt") && !sandbox.exists("gone"));
    assert!(sandbox.is_executable("script") && sandbox.read("script") == b"2\n");
    let kinds: Vec<(String, String)> = document["conflicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|conflict| (text(&conflict["path"]), text(&conflict["kind"])))
        .collect();
    assert_eq!(kinds[0], ("lost".to_owned(), "delete_modify".to_owned()));
    assert_eq!(kinds[1], ("way~theirs".to_owned(), "folder".to_owned()));
    assert_eq!(sandbox.read("way~theirs"), b"2\n");
    assert_eq!(sandbox.read("way/inside"), b"1\n");
    sandbox.ok(&["resolve", "lost", "--ours"]);
    assert!(!sandbox.exists("lost"));
    sandbox.ok(&["resolve", "way~theirs", "--ours"]);
    sandbox.ok(&["merge", "--continue"]);
    sandbox.assert_clean();
    sandbox.assert_sound();
}

#[test]
fn abort_brings_everything_back() {
    let (sandbox, _, other) = forked(
        |sandbox| {
            sandbox.write("a", "1\n");
            sandbox.write("b", "1\n");
        },
        |sandbox| {
            sandbox.write("a", "2\n");
            sandbox.write("b", "2\n");
            sandbox.write("new", "2\n");
        },
        |sandbox| sandbox.write("a", "3\n"),
    );
    sandbox.write("mine", "untracked\n");
    let before = sandbox.json(&["status"]);
    conflicting(&sandbox, &["merge", &other]);
    sandbox.write("a", "half decided");
    sandbox.ok(&["add", "a"]);
    sandbox.ok(&["merge", "--abort"]);
    assert_eq!(sandbox.json(&["status"]), before);
    assert_eq!(
        (sandbox.read("a"), sandbox.read("b")),
        (b"3\n".to_vec(), b"1\n".to_vec())
    );
    assert!(!sandbox.exists("new"));
    assert_eq!(sandbox.read("mine"), b"untracked\n");
    sandbox.fails(&["merge", "--abort"]).is("nothing_underway", &[]);
}

#[test]
fn local_changes_in_the_way_are_named_and_stay() {
    let (sandbox, _, other) = forked(
        |sandbox| {
            sandbox.write("a", "1\n");
            sandbox.write("b", "1\n");
        },
        |sandbox| {
            sandbox.write("a", "2\n");
            sandbox.write("new", "2\n");
        },
        |sandbox| sandbox.write("b", "3\n"),
    );
    sandbox.write("a", "mine\n");
    sandbox.write("new", "mine too\n");
    sandbox.fails(&["merge", &other]).is("local_changes", &["a", "new"]);
    assert_eq!(sandbox.json(&["status"])["underway"], Value::Null);
    sandbox.remove("new");
    sandbox.ok(&["restore", "a"]);
    sandbox.write("b", "staged\n");
    sandbox.ok(&["add", "b"]);
    sandbox.fails(&["merge", &other]).is("local_changes", &["b"]);
    sandbox.ok(&["restore", "--staged", "b"]);
    // Changes elsewhere are no hindrance.
    sandbox.ok(&["merge", &other]);
    assert_eq!(sandbox.read("b"), b"staged\n");
    assert_eq!(sandbox.status("modified"), ["b"]);
}

#[test]
fn unrelated_histories_are_refused_unless_wanted() {
    let one = Sandbox::with(&[("a", b"1")]);
    let two = Sandbox::with(&[("b", b"2")]);
    let from = two.root();
    one.ok(&["remote", "add", "other", from.to_str().unwrap()]);
    let foreign = text(&two.json(&["log"])["commits"][0]["id"]);
    let _ = one.run(&["pull", from.to_str().unwrap()]);
    let known = one.run(&["show", &foreign]);
    if !known.status.success() {
        // A pull of an unrelated history may be refused as a whole.
        return;
    }
    one.fails(&["merge", &foreign])
        .is("unrelated", &[])
        .hints("--allow-unrelated-histories");
    one.ok(&["merge", &foreign, "--allow-unrelated-histories"]);
    assert_eq!((one.read("a"), one.read("b")), (b"1".to_vec(), b"2".to_vec()));
}

#[test]
fn a_change_is_picked_and_undone() {
    let (sandbox, _, other) = forked(
        |sandbox| sandbox.write("a", "1\n2\n3\n4\n5\n6\n"),
        |sandbox| sandbox.write("a", "1\n2\n3\n4\n5\nsix\n"),
        |sandbox| sandbox.write("a", "one\n2\n3\n4\n5\n6\n"),
    );
    sandbox.ok(&["cherry-pick", &other]);
    assert_eq!(sandbox.read("a"), b"one\n2\n3\n4\n5\nsix\n");
    let commit = sandbox.json(&["log", "-n", "1"])["commits"][0].clone();
    assert_eq!(commit["message"], "theirs");
    assert_eq!(parents(&sandbox).len(), 1);
    sandbox.fails(&["cherry-pick", &other]).is("nothing_to_commit", &[]);

    sandbox.ok(&["revert", "HEAD~1"]);
    assert_eq!(sandbox.read("a"), b"1\n2\n3\n4\n5\nsix\n");
    let message = text(&sandbox.json(&["log", "-n", "1"])["commits"][0]["message"]);
    assert!(message.starts_with("Revert \"ours\""), "{message}");
    sandbox.assert_clean();
    // Undoing what was changed again since then is a conflict.
    sandbox.write("a", "1\n2\n3\n4\n5\n666\n");
    sandbox.commit("again");
    conflicting(&sandbox, &["revert", "HEAD~2"]);
    sandbox.ok(&["revert", "--abort"]);
    assert_eq!(sandbox.read("a"), b"1\n2\n3\n4\n5\n666\n");
    sandbox.assert_clean();
}

#[test]
fn histories_merged_into_each_other_merge_again() {
    let (sandbox, _, other) = forked(
        |sandbox| sandbox.write("a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n"),
        |sandbox| sandbox.write("a", "1\n2\n3\n4\n5\n6\n7\n8\nnine\n"),
        |sandbox| sandbox.write("a", "one\n2\n3\n4\n5\n6\n7\n8\n9\n"),
    );
    let mine = text(&sandbox.json(&["status"])["head"]);
    // Each side merges the other and goes on.
    sandbox.ok(&["merge", &other]);
    sandbox.write("a", "one\n2\n3\n4\nFIVE\n6\n7\n8\nnine\n");
    let left = sandbox.commit("left");
    sandbox.ok(&["checkout", &other]);
    sandbox.ok(&["merge", &mine, "--no-ff"]);
    sandbox.write("b", "right\n");
    sandbox.commit("right");
    sandbox.ok(&["merge", &left]);
    assert_eq!(sandbox.read("a"), b"one\n2\n3\n4\nFIVE\n6\n7\n8\nnine\n");
    assert_eq!(sandbox.read("b"), b"right\n");
    sandbox.assert_clean();
    sandbox.assert_sound();
}

#[test]
fn a_collection_spares_what_is_under_way() {
    let (sandbox, _, other) = forked(
        |sandbox| sandbox.write("m.safetensors", model([1, 2, 3, 4])),
        |sandbox| sandbox.write("m.safetensors", model([1, 22, 3, 40])),
        |sandbox| sandbox.write("m.safetensors", model([1, 2, 3, 44])),
    );
    conflicting(&sandbox, &["merge", &other]);
    sandbox.ok(&["gc", "--prune=now"]);
    sandbox.assert_sound();
    sandbox.ok(&["resolve", "m.safetensors", "--theirs"]);
    sandbox.ok(&["merge", "--continue"]);
    assert!(sandbox.read("m.safetensors") == model([1, 22, 3, 40]));
    sandbox.assert_sound();
}

#[test]
fn a_picked_commit_keeps_its_author_and_metrics_also_after_a_conflict() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "1\n");
    let first = sandbox.commit("base");
    sandbox.ok(&["switch", "-c", "run"]);
    sandbox.write("a", "2\n");
    sandbox.ok(&["add", "a"]);
    let other = ["--author", "Bea <bea@example.org>", "--metric", "accuracy=0.5"];
    sandbox.ok(&[&["commit", "-m", "a run"], &other[..]].concat());
    sandbox.ok(&["switch", "main"]);
    sandbox.write("a", "3\n");
    sandbox.commit("ours");
    conflicting(&sandbox, &["cherry-pick", "run"]);
    sandbox.ok(&["resolve", "a", "--theirs"]);
    sandbox.ok(&["cherry-pick", "--continue"]);
    let picked = sandbox.json(&["log", "-n", "1"])["commits"][0].clone();
    assert_eq!(picked["message"], "a run");
    assert_eq!(picked["author"]["name"], "Bea");
    assert_eq!(picked["metrics"]["accuracy"], 0.5);
    // By `commit`, too, unless another one is named.
    sandbox.ok(&["reset", "--hard", &first]);
    sandbox.write("a", "4\n");
    sandbox.commit("ours again");
    conflicting(&sandbox, &["cherry-pick", "run"]);
    sandbox.ok(&["resolve", "a", "--theirs"]);
    sandbox.ok(&["commit", "-m", "said anew"]);
    let picked = sandbox.json(&["log", "-n", "1"])["commits"][0].clone();
    assert_eq!(
        (text(&picked["message"]), text(&picked["author"]["name"])),
        ("said anew".to_owned(), "Bea".to_owned())
    );
}

#[test]
fn long_entries_of_a_header_are_merged_like_short_ones() {
    let with = |template: &str, epoch: &str, weight: u8| {
        let header = json!({
            "__metadata__": { "format": "pt", "template": template, "epoch": epoch },
            "w": { "dtype": "U8", "shape": [2], "data_offsets": [0, 2] },
        });
        let header = header.to_string();
        [
            &(header.len() as u64).to_le_bytes()[..],
            header.as_bytes(),
            &[weight, weight],
        ]
        .concat()
    };
    let (old, new) = ("old ".repeat(200), "new ".repeat(200));
    let (sandbox, _, other) = forked(
        |sandbox| sandbox.write("m.safetensors", with(&old, "1", 1)),
        |sandbox| sandbox.write("m.safetensors", with(&new, "1", 2)),
        |sandbox| sandbox.write("m.safetensors", with(&old, "2", 1)),
    );
    sandbox.ok(&["merge", &other]);
    let merged = sandbox.read("m.safetensors");
    let len = u64::from_le_bytes(merged[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&merged[8..8 + len]).unwrap();
    assert_eq!(
        header["__metadata__"],
        json!({ "format": "pt", "template": new, "epoch": "2" })
    );
    assert_eq!(merged[8 + len..], [2, 2]);
    // Both changed it: no side's text goes without a word.
    let (sandbox, _, other) = forked(
        |sandbox| sandbox.write("m.safetensors", with(&old, "1", 1)),
        |sandbox| sandbox.write("m.safetensors", with(&new, "1", 1)),
        |sandbox| sandbox.write("m.safetensors", with("another", "1", 1)),
    );
    let report = conflicting(&sandbox, &["merge", &other]);
    assert_eq!(report["conflicts"][0]["detail"], json!(["__metadata__.template"]));
}
