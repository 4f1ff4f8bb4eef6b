//! Objects that are well-formed but do not fit each other, as a peer could send them: nothing false is written out.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use fai_core::Repository;
use fai_core::chunking::plan;
use fai_core::object::{Author, Commit, CommitId, Id, Kind, Object, RepoPath, Time, Tree, TreeEntry};
use fai_core::repo::{InitOptions, Silent};

/// Stores a file of `content`, a tree that says `claimed` of its size, and a commit.
fn commit_with_size(repository: &Repository, content: &[u8], claimed: u64) -> CommitId {
    let source = content.to_vec();
    let feed = |feeder: &mut fai_core::storage::Feeder<'_>| {
        let hash = feeder.chunks(&source, plan(source.len() as u64, &[]), &mut |_, _, _| None)?;
        Ok(feeder.end_file(hash)?)
    };
    let ((), files) = repository.store().write(1, &|_| (), feed).unwrap();
    let tree = Tree::new(vec![TreeEntry::file("model.bin", files[0].file, claimed, false)]).unwrap();
    let commit = Commit {
        tree: tree.id(),
        parents: Vec::new(),
        author: Author {
            name: "Mallory".into(),
            email: String::new(),
        },
        time: Time {
            seconds: 0,
            offset_minutes: 0,
        },
        message: "A lie".into(),
        metadata: Default::default(),
        signature: None,
    };
    let (id, _) = repository
        .store()
        .write(1, &|_| (), |feeder| {
            feeder.object(Kind::Tree, tree.encode())?;
            Ok(feeder.object(Kind::Commit, commit.encode())?)
        })
        .unwrap();
    CommitId::from_hash(id)
}

#[test]
fn a_tree_that_misstates_a_size_is_not_written_out() {
    let folder = tempfile::tempdir().unwrap();
    let (repository, _) = Repository::init(&folder.path().join("repository"), InitOptions::default()).unwrap();
    for (claimed, honest) in [(5, true), (0, false), (4, false), (6, false), (1 << 20, false)] {
        let commit = commit_with_size(&repository, b"bytes", claimed);
        let target = folder.path().join(format!("out-{claimed}"));
        let exported = repository.export(commit, &RepoPath::root(), &target, false, &Silent);
        assert_eq!(exported.is_ok(), honest, "a claimed size of {claimed}");
        let written = fs::read(target.join("model.bin")).ok();
        assert_eq!(
            written,
            honest.then(|| b"bytes".to_vec()),
            "a claimed size of {claimed}"
        );
    }
}
