//! One stored file, written somewhere: whole and true, or not at all; and nothing is left beside it.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use fai_core::Repository;
use fai_core::chunking::plan;
use fai_core::object::{ContentHash, FileId, Id, Kind, Manifest, Object};
use fai_core::repo::{Error, InitOptions, SaveOptions, Silent};
use fai_core::storage::Feeder;

const FREE: SaveOptions = SaveOptions {
    force: false,
    executable: false,
};

fn repository(folder: &Path) -> Repository {
    Repository::init(&folder.join("repository"), InitOptions::default())
        .unwrap()
        .0
}

fn store(repository: &Repository, content: &[u8]) -> FileId {
    let source = content.to_vec();
    let feed = |feeder: &mut Feeder<'_>| {
        let hash = feeder.chunks(&source, plan(source.len() as u64, &[]), &mut |_, _, _| None)?;
        Ok(feeder.end_file(hash)?)
    };
    let ((), files) = repository.store().write(1, &|_| (), feed).unwrap();
    files[0].file
}

fn names(folder: &Path) -> Vec<String> {
    let listing = fs::read_dir(folder).unwrap();
    listing
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_file_is_written_with_its_holes_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path());
    let mut content = vec![0; 3_000_000];
    content.extend_from_slice(b"the end");
    content.resize(5_000_000, 0);
    let file = store(&repository, &content);
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    // What a killed process left makes way.
    fs::write(
        out.join(format!(".fai-fetch-{}.part", file.short())),
        vec![1; 9_000_000],
    )
    .unwrap();
    let options = SaveOptions {
        executable: true,
        ..FREE
    };
    repository
        .store()
        .save(file, &out.join("model"), options, &Silent)
        .unwrap();
    assert!(fs::read(out.join("model")).unwrap() == content);
    assert_eq!(names(&out), ["model"]);
    let metadata = fs::metadata(out.join("model")).unwrap();
    assert!(metadata.permissions().mode() & 0o100 != 0 && metadata.blocks() * 512 < 3_000_000);
}

#[test]
fn what_is_there_stays_unless_it_may_go() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path());
    let file = store(&repository, b"new");
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("model"), b"old").unwrap();
    let refused = repository.store().save(file, &out.join("model"), FREE, &Silent);
    assert!(matches!(refused, Err(Error::Exists(_))), "{refused:?}");
    assert_eq!(
        (fs::read(out.join("model")).unwrap(), names(&out)),
        (b"old".to_vec(), vec!["model".into()])
    );
    let options = SaveOptions { force: true, ..FREE };
    repository
        .store()
        .save(file, &out.join("model"), options, &Silent)
        .unwrap();
    assert_eq!(fs::read(out.join("model")).unwrap(), b"new");
}

#[test]
fn a_manifest_that_lists_other_chunks_than_its_content_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path());
    let honest: Manifest = repository.store().get(store(&repository, b"what it is")).unwrap();
    let lie = Manifest {
        content: ContentHash::from_hash(Kind::Chunk.hash(b"what it says")),
        ..honest
    };
    let put = |feeder: &mut Feeder<'_>| Ok(feeder.object(Kind::Manifest, lie.encode())?);
    let (id, _) = repository.store().write(1, &|_| (), put).unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let refused = repository
        .store()
        .save(FileId::from_hash(id), &out.join("model"), FREE, &Silent);
    assert!(matches!(refused, Err(Error::FalseFile(_))), "{refused:?}");
    assert!(names(&out).is_empty());
}
