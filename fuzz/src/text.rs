//! What people and their files say: settings, patterns, revisions, paths, names, the current branch, the key.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use fai_core::object::{MAX_PATH_LEN, RepoPath, check_name};
use fai_core::repo::{Config, Head, Selection, Silent, Steps, check_ref_name, steps};
use fai_network::Identity;

use super::scratch::{with_file, with_folder, with_repository};
use super::{Target, target};

pub const TARGETS: &[Target] = &[
    target("config", config, config_seeds),
    target("selection", selection, pattern_seeds),
    target("ignore_file", ignore_file, pattern_seeds),
    target("revision", revision, revision_seeds),
    target("repo_path", repo_path, path_seeds),
    target("ref_name", ref_name, path_seeds),
    target("head", head, head_seeds),
    target("identity", identity, identity_seeds),
];

/// Settings: what is read can be asked for, and one changed setting leaves the others as they are.
fn config(bytes: &[u8]) -> bool {
    with_file(bytes, |path| {
        let Ok(before) = Config::read(path) else { return false };
        let entries = before.entries();
        for (key, value) in &entries {
            // Keys may hold dots of their own, and then name something else, or nothing.
            if !key.contains('"') && before.get(key).is_some() {
                assert_eq!(before.get(key).as_ref(), Some(value));
            }
            before.list(key);
        }
        if Config::change(path, "user.name", Some("Ada")).is_ok() {
            let after = Config::read(path).expect("own settings can be read");
            assert_eq!(after.get("user.name").as_deref(), Some("Ada"));
            let others = |entries: Vec<(String, String)>| {
                let mut others: Vec<_> = entries.into_iter().filter(|(key, _)| key != "user.name").collect();
                others.sort();
                others
            };
            assert_eq!(others(after.entries()), others(entries), "another setting changed");
        }
        true
    })
}

/// Patterns of a partial repository, one a line.
fn selection(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let patterns: Vec<String> = text.lines().map(str::to_owned).collect();
    let Ok(selection) = Selection::new(patterns.clone(), Vec::new()) else {
        return false;
    };
    let without = Selection::new(Vec::new(), patterns.clone()).expect("the same patterns");
    let paths = ["notes.txt", "models/a.bin", "a/b/c/d.safetensors"].map(|path| RepoPath::parse(path).expect("a path"));
    for path in &paths {
        if !patterns.is_empty() {
            assert_ne!(
                selection.selects(path),
                without.selects(path),
                "{path} is in both or in neither"
            );
        }
    }
    true
}

/// An ignore file never fails a command and never shows what is the repository's own.
fn ignore_file(bytes: &[u8]) -> bool {
    with_repository(|repository| {
        let root = repository.worktree().expect("a worktree");
        fs::write(root.join(".faiignore"), bytes).expect("a file");
        let status = repository
            .status(&Silent)
            .expect("a status whatever an ignore file says");
        for path in &status.untracked {
            assert!(!path.as_str().starts_with(".fai/"), "{path}");
        }
        assert!(
            status.modified.is_empty() && status.deleted.is_empty(),
            "rules hide no tracked files"
        );
        status.refused.is_empty()
    })
}

fn revision(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    if let Ok(Steps { base, steps: found }) = steps(text) {
        let again: String = found
            .iter()
            .map(|(number, times)| match (number, times) {
                (1, times) => format!("~{times}"),
                (number, _) => format!("^{number}"),
            })
            .collect();
        let again = format!("{base}{again}");
        assert_eq!(steps(&again).expect("an own revision").steps, found);
    }
    with_repository(|repository| {
        let commit = repository.resolve(text);
        let file = repository.resolve_file(text, repository.worktree().expect("a worktree"));
        commit.is_ok() || file.is_ok()
    })
}

/// A path that is accepted stays inside, as the file system sees it.
fn repo_path(bytes: &[u8]) -> bool {
    let relative = RepoPath::from_relative(Path::new(OsStr::from_bytes(bytes)));
    let parsed = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| RepoPath::parse(text).ok());
    for path in relative.iter().chain(&parsed) {
        assert!(path.as_str().len() <= MAX_PATH_LEN);
        assert!(path.names().all(|name| check_name(name).is_ok()));
        let root = Path::new("/root");
        let below = path.below(root);
        assert!(below.starts_with(root));
        assert!(
            below
                .components()
                .skip(1)
                .all(|part| matches!(part, Component::Normal(_))),
            "{below:?}"
        );
        assert_eq!(
            RepoPath::parse(path.as_str()).as_ref(),
            Ok(path),
            "read again it is another one"
        );
        if let Some((folder, name)) = path.split_last() {
            assert_eq!(folder.join(name), *path);
            assert!(path.is_within(&folder));
        }
    }
    parsed.is_some()
}

fn ref_name(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    if check_ref_name(text).is_err() {
        return false;
    }
    let Ok(Steps { base, steps }) = steps(text) else {
        panic!("a name that cannot be typed: {text:?}")
    };
    assert!(
        base == text && steps.is_empty(),
        "a name that means something else as a revision: {text:?}"
    );
    assert!(!text.contains("..") || text.split('/').all(|part| part != ".."));
    true
}

fn head(bytes: &[u8]) -> bool {
    with_repository(|repository| {
        let path = repository.directory().join("HEAD");
        let before = fs::read(&path).expect("a file");
        fs::write(&path, bytes).expect("a file");
        let read = repository.head();
        let _ = repository.head_commit().map(|commit| commit.is_some());
        fs::write(&path, before).expect("a file");
        match read {
            Ok(Head::Branch(name)) => assert!(name.starts_with("refs/heads/")),
            Ok(Head::Detached(_)) => {}
            Err(_) => return false,
        }
        true
    })
}

/// A key file is read or refused, and never replaced.
fn identity(bytes: &[u8]) -> bool {
    with_folder(|folder| {
        let path = folder.join("identity.key");
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(folder, Permissions::from_mode(0o700)).expect("an own folder");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("an own file");
        let loaded = Identity::load_or_create(folder);
        assert_eq!(fs::read(&path).expect("a file"), bytes, "the key was replaced");
        loaded.is_ok()
    })
}

fn config_seeds() -> Vec<Vec<u8>> {
    [
        "# mine\n[user]\nname = \"Ada\" # me\nemail = 'ada@example.org'\n",
        "serve.port = 4001\nuser = { name = \"Ada\" }\n[partial]\ninclude = [\"*.txt\", \"models/\"]\n",
        "user = 3\n[[list]]\na = 1979-05-27T07:32:00Z\nb = [[1.5, inf], [0x1f]]\n",
        "",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

fn pattern_seeds() -> Vec<Vec<u8>> {
    [
        "*.bin\n/models/\n",
        "**/c/**\n[a-z]?.txt\n",
        "# comment\n!notes.txt\n\\#x \\ \n",
        "{a,b{c,d}}*.{safetensors,gguf}",
        ".fai\n*\n!*/\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

fn revision_seeds() -> Vec<Vec<u8>> {
    let commit = with_repository(|repository| repository.resolve("HEAD").expect("a commit").to_string());
    let mut texts: Vec<String> = [
        "HEAD",
        "@~2",
        "HEAD^1~1^0",
        "main",
        "refs/heads/main~",
        "HEAD:notes.txt",
        "models/a.bin",
        "HEAD~1:models/a.bin",
        "",
    ]
    .map(str::to_owned)
    .into();
    texts.extend([commit[..6].to_owned(), format!("{commit}~1"), commit]);
    texts.into_iter().map(String::into_bytes).collect()
}

fn path_seeds() -> Vec<Vec<u8>> {
    [
        "models/model.safetensors",
        "a/./b/",
        "../x",
        "/a",
        ".fai/db",
        "ünï/cödé",
        "refs/heads/main",
        "refs/tags/v1.0",
        "refs/heads/team/fine-tune_2",
        "con.txt",
        "GIT~1",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

fn head_seeds() -> Vec<Vec<u8>> {
    [
        "ref: refs/heads/main\n",
        "ref: refs/heads/other",
        &"5a".repeat(32),
        "main",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

fn identity_seeds() -> Vec<Vec<u8>> {
    // A key in libp2p's own encoding: type Ed25519, then 32 secret and 32 public bytes, which must fit each other.
    with_folder(|folder| {
        Identity::load_or_create(folder).expect("a key");
        let key = fs::read(folder.join("identity.key")).expect("a file");
        vec![key, b"not a key".to_vec()]
    })
}
