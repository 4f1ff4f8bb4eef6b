//! Ways to name a version, and names that mean nothing or too much.

use crate::support::{Sandbox, short, text};

fn three() -> (Sandbox, [String; 3]) {
    let sandbox = Sandbox::new();
    let ids = ["1", "2", "3"].map(|content| {
        sandbox.write("a", content);
        sandbox.commit(content)
    });
    (sandbox, ids)
}

#[test]
fn all_names_of_a_commit() {
    let (sandbox, [first, second, third]) = three();
    for (names, content) in [
        (
            [
                "HEAD",
                "@",
                "main",
                "refs/heads/main",
                third.as_str(),
                short(&third),
                &third[..4],
            ],
            "3",
        ),
        (
            ["HEAD~1", "HEAD~", "HEAD^", "HEAD^1", "@~1", "main^", short(&second)],
            "2",
        ),
        (
            [
                "HEAD~2",
                "HEAD^^",
                "@~~",
                "HEAD~1^",
                "main~1~1",
                &format!("{second}~1"),
                short(&first),
            ],
            "1",
        ),
    ] {
        for name in names {
            let file = format!("{name}:a");
            assert_eq!(sandbox.bytes(&["cat", &file]), content.as_bytes(), "{name}");
        }
    }
    let upper = third.to_uppercase();
    assert_eq!(sandbox.bytes(&["cat", &format!("{upper}:a")]), b"3");
    assert_eq!(sandbox.bytes(&["cat", "HEAD^0:a"]), b"3");
}

#[test]
fn names_that_mean_nothing() {
    let (sandbox, [_, _, third]) = three();
    let with_more = format!("{third}0");
    for name in [
        "nosuch",
        "HEAD~x",
        "HEAD~99999999999999999999999",
        "HEAD@",
        "~1",
        "deadbeef",
        &third[..3],
        with_more.as_str(),
        "HEAD ",
        "ma\u{ef}n",
    ] {
        let problem = sandbox.fails(&["checkout", name]);
        problem.is("unknown_revision", &[]).hints("4 digits");
    }
    sandbox.fails(&["checkout", ""]).is("unknown_revision", &[]);
}

#[test]
fn history_that_does_not_go_back_so_far() {
    let (sandbox, [first, ..]) = three();
    for name in ["HEAD~3", "HEAD^^^", "HEAD~9"] {
        let problem = sandbox.fails(&["ls", name]);
        problem
            .is("unknown_revision", &[short(&first), "has no parent"])
            .hints("fai log");
    }
    sandbox
        .fails(&["ls", "HEAD^2"])
        .is("unknown_revision", &["no parent number 2"]);
}

#[test]
fn a_prefix_of_several_commits_lists_them() {
    let (sandbox, [_, _, third]) = three();
    // A second commit with the same first digits: made up, as waiting for one takes thousands.
    let mut twin = third.clone();
    twin.replace_range(63.., if third.ends_with('0') { "1" } else { "0" });
    let database = rusqlite::Connection::open(sandbox.path(".fai/db.sqlite")).unwrap();
    let sql = format!(
        "INSERT INTO records SELECT x'{twin}', kind, codec, raw_len, encoded_len, base, pack, offset \
         FROM records WHERE hash = x'{third}'"
    );
    assert_eq!(database.execute(&sql, []).unwrap(), 1);
    let problem = sandbox.fails(&["log", short(&third)]);
    problem
        .is("ambiguous", &[short(&third), &third, &twin])
        .hints("more digits");
    assert_eq!(text(&sandbox.json(&["log", &third])["commits"][0]["id"]), third);
}

#[test]
fn ids_of_other_things_are_no_revisions() {
    let (sandbox, _) = three();
    let file = text(&sandbox.json(&["ls"])["files"][0]["id"]);
    sandbox.fails(&["ls", &file]).is("unknown_revision", &[]);
}
