//! What people are told by the commands of branches, merges and stashes, word for word. What these do is tested elsewhere.

use serde_json::json;

use crate::support::Sandbox;

/// What commands print, one after the other, errors included.
fn told(sandbox: &Sandbox, commands: &[&str]) -> String {
    let mut text = String::new();
    for command in commands {
        let output = sandbox.shell(&format!("\"$FAI\" {command} 2>&1")).output().unwrap();
        text += &format!("$ fai {command}\n{}", String::from_utf8(output.stdout).unwrap());
    }
    text
}

/// A model of two tensors, with a byte for each.
fn model(one: u8, other: u8) -> Vec<u8> {
    let header = json!({
        "layers.0.w": { "dtype": "U8", "shape": [4], "data_offsets": [0, 4] },
        "layers.1.w": { "dtype": "U8", "shape": [4], "data_offsets": [4, 8] },
    });
    let header = header.to_string();
    let weights = [[one; 4], [other; 4]].concat();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &weights].concat()
}

/// `theirs` changed the second layer and the text, `main` the first layer, and the text in another way.
fn forked() -> Sandbox {
    let sandbox = Sandbox::with(&[("m.safetensors", &model(1, 1)), ("notes.md", b"one\ntwo\n")]);
    sandbox.ok(&["switch", "-c", "theirs"]);
    sandbox.write("m.safetensors", model(1, 2));
    sandbox.write("notes.md", "one\nTWO\n");
    sandbox.commit("their layer");
    sandbox.ok(&["switch", "main"]);
    sandbox.write("m.safetensors", model(3, 1));
    sandbox.write("notes.md", "one\nzwei\n");
    sandbox.commit("our layer");
    sandbox
}

#[test]
fn branches_and_tags() {
    let sandbox = forked();
    insta::assert_snapshot!(told(
        &sandbox,
        &[
            "branch",
            "branch -v",
            "branch run theirs",
            "branch run",
            "branch -m run trial",
            "branch -d trial",
            "branch -D trial",
            "branch -d main",
            "branch a..b",
            "switch nowhere",
            "switch theirs",
            "switch -c next",
            "switch -",
            "tag v1 -m 'first release'",
            "tag",
            "tag -d v1",
            "reset --hard HEAD~1",
            "reflog",
        ]
    ));
}

#[test]
fn merges_and_their_conflicts() {
    let sandbox = forked();
    insta::assert_snapshot!(told(
        &sandbox,
        &[
            "merge --ff-only theirs",
            "merge theirs",
            "status",
            "commit -m early",
            "switch theirs",
            "resolve",
            "resolve notes.md --theirs",
            "merge --continue",
            "log --graph",
            "merge theirs",
            "revert HEAD~1",
            "cherry-pick theirs",
            "merge --abort",
        ]
    ));
}

#[test]
fn tensors_that_both_sides_changed() {
    let sandbox = forked();
    sandbox.write("m.safetensors", model(3, 5));
    sandbox.commit("our second layer");
    insta::assert_snapshot!(told(
        &sandbox,
        &[
            "merge theirs",
            "resolve m.safetensors --tensors average",
            "resolve m.safetensors --tensors ours",
            "merge --abort",
            "merge theirs --tensors theirs -X ours",
            "merge theirs -X theirs",
        ]
    ));
}

#[test]
fn operations_and_stashes() {
    let sandbox = forked();
    sandbox.write("notes.md", "one\nzwei\ndrei\n");
    insta::assert_snapshot!(told(
        &sandbox,
        &[
            "stash -m 'a third line'",
            "stash",
            "stash list",
            "stash show",
            "stash apply",
            "stash pop",
            "restore notes.md",
            "stash pop",
            "stash pop",
            "op log -n 5",
            "undo",
            "undo",
            "redo",
            "redo",
            "redo",
        ]
    ));
}
