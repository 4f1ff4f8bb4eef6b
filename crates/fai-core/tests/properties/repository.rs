//! A whole repository: what is added comes back byte for byte, and ids depend on content alone.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fai_core::Repository;
use fai_core::object::{Author, Commit, CommitId, RepoPath, Time};
use fai_core::repo::{AddOptions, CommitRequest, InitOptions, Silent};
use proptest::prelude::*;

use crate::{cases, content};

/// Files by path: content and executable bit.
type Files = BTreeMap<String, (Vec<u8>, bool)>;

fn any_files() -> impl Strategy<Value = Files> {
    let path = prop_oneof![
        "[a-c]{1,2}\\.bin",
        "[de]/[a-c]\\.bin",
        "[de]/[f-h]/[ä-ü]{1,3} [a-c]\\.txt",
        "\\.[x-z]{1,3}",
    ];
    let content = prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..3),
        3 => content(5000),
        1 => content(400_000),
        1 => (1..40u16).prop_map(safetensors),
    ];
    prop::collection::btree_map(path, (content, any::<bool>()), 1..8)
}

/// A model of `count` small tensors and a larger one.
fn safetensors(count: u16) -> Vec<u8> {
    let mut header = String::from("{");
    let mut end = 0u32;
    for index in 0..=count {
        let len = if index == count { 70_000 } else { 2 * u32::from(index) };
        let start = end;
        end += 2 * len;
        header += &format!(r#""t{index}":{{"dtype":"BF16","shape":[{len}],"data_offsets":[{start},{end}]}},"#);
    }
    header.pop();
    header.push('}');
    let data = (0..end).map(|at| {
        if at % 2 == 0 {
            (at.wrapping_mul(40_503) >> 7) as u8
        } else {
            0x3c | (at >> 5 & 1) as u8
        }
    });
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend(data);
    file
}

fn write(root: &Path, files: &Files) {
    for (path, (bytes, executable)) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let mode = if *executable { 0o755 } else { 0o644 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
}

/// The regular files below `root`, `.fai` left out.
fn read(root: &Path) -> Files {
    let (mut files, mut folders) = (Files::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if metadata.is_file() {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                files.insert(name, (fs::read(&path).unwrap(), executable));
            } else if name != ".fai" {
                folders.push(path);
            }
        }
    }
    files
}

/// Adds the files at `paths`, all at once or one by one, and commits them.
fn commit(root: &Path, paths: &[String], threads: usize, at_once: bool) -> (Repository, CommitId, Commit) {
    let repository = Repository::init(root, InitOptions::default())
        .unwrap()
        .0
        .with_threads(threads);
    let paths: Vec<RepoPath> = paths.iter().map(|path| RepoPath::parse(path).unwrap()).collect();
    let batch = if at_once { paths.len() } else { 1 };
    for paths in paths.chunks(batch) {
        let report = repository.add(paths, AddOptions::default(), &Silent).unwrap();
        assert!(report.refused.is_empty() && report.files.len() == paths.len());
    }
    let request = CommitRequest {
        message: Some("All of it".into()),
        author: Some(Author {
            name: "Ada".into(),
            email: "ada@example.org".into(),
        }),
        time: Time {
            seconds: 1_705_329_022,
            offset_minutes: 60,
        },
        ..CommitRequest::default()
    };
    let report = repository.commit(&request).unwrap();
    (repository, report.id, report.commit)
}

proptest! {
    #![proptest_config(cases(20))]

    #[test]
    fn what_goes_in_comes_out_under_the_same_ids(
        (files, shuffled) in any_files().prop_flat_map(|files| {
            let paths: Vec<String> = files.keys().cloned().collect();
            (Just(files), Just(paths).prop_shuffle())
        }),
        threads in 1..5usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let roots = ["one", "other"].map(|name| folder.path().join(name));
        for root in &roots {
            write(root, &files);
        }
        let sorted: Vec<String> = files.keys().cloned().collect();
        let (repository, id, first) = commit(&roots[0], &sorted, 1, true);
        let target = folder.path().join("out");
        repository.export(id, &RepoPath::root(), &target, false, &Silent).unwrap();
        prop_assert!(read(&target) == files, "a file came back changed");
        prop_assert!(read(&roots[0]) == files, "the worktree was touched");

        let (_, other_id, other) = commit(&roots[1], &shuffled, threads, false);
        prop_assert_eq!(first.tree, other.tree);
        prop_assert_eq!(id, other_id);
    }
}
