//! Folders for decoders that read files: in memory where that is possible, one for each thread, gone with it.

use std::fs;
use std::path::Path;

use fai_core::Repository;
use fai_core::object::{Author, RepoPath, Time};
use fai_core::repo::{AddOptions, CommitRequest, InitOptions, Silent};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a temporary folder")
}

/// Runs `work` in an empty folder.
pub fn with_folder<T>(work: impl FnOnce(&Path) -> T) -> T {
    let folder = folder();
    work(folder.path())
}

/// Runs `work` on a path where it finds `bytes`.
pub fn with_file<T>(bytes: &[u8], work: impl FnOnce(&Path) -> T) -> T {
    thread_local!(static FOLDER: TempDir = folder());
    FOLDER.with(|folder| {
        let path = folder.path().join("file");
        fs::write(&path, bytes).expect("a temporary file");
        work(&path)
    })
}

/// Runs `work` on a small repository, which it leaves as it is but for its `HEAD` and its ignore files.
pub fn with_repository<T>(work: impl FnOnce(&Repository) -> T) -> T {
    thread_local!(static REPOSITORY: (Repository, TempDir) = repository());
    REPOSITORY.with(|(repository, _)| work(repository))
}

fn repository() -> (Repository, TempDir) {
    let folder = folder();
    let (repository, _) = Repository::init(folder.path(), InitOptions::default()).expect("a repository");
    let repository = repository.with_threads(1);
    fs::create_dir(folder.path().join("models")).expect("a folder");
    for number in 0..3i64 {
        for name in ["notes.txt", "models/a.bin"] {
            fs::write(folder.path().join(name), format!("version {number}\n")).expect("a file");
        }
        repository
            .add(&[RepoPath::root()], AddOptions::default(), &Silent)
            .expect("files are added");
        let request = CommitRequest {
            message: Some("one more".into()),
            author: Some(Author {
                name: "Ada".into(),
                email: String::new(),
            }),
            time: Time {
                seconds: number,
                offset_minutes: 0,
            },
            ..CommitRequest::default()
        };
        repository.commit(&request).expect("a commit");
    }
    fs::write(folder.path().join("models/untracked.tmp"), "new").expect("a file");
    fs::write(folder.path().join("untracked"), "new").expect("a file");
    (repository, folder)
}
