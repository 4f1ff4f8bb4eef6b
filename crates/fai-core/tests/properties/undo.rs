//! Whatever commands did, undoing them in turn brings back refs, `HEAD`, staging and files exactly, and doing them again
//! goes forward in the same way.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fai_core::Repository;
use fai_core::object::{Author, CommitId, RepoPath, Time};
use fai_core::repo::{
    AddOptions, ApplyOptions, CheckoutOptions, CommitRequest, Direction, Error, InitOptions, ResetMode, ResetOptions,
    RestoreOptions, Silent, StashOptions, SwitchTo, UndoOptions,
};
use proptest::prelude::*;

use crate::cases;

const PATHS: [&str; 5] = ["a", "b", "d/a", "d/e/b", "f"];
const BRANCHES: [&str; 4] = ["main", "x", "y/z", "w"];

#[derive(Debug, Clone)]
enum Step {
    Add {
        path: usize,
        evict: bool,
    },
    AddAll,
    Remove {
        path: usize,
        cached: bool,
    },
    Rename {
        from: usize,
        to: usize,
        force: bool,
    },
    Commit {
        amend: bool,
    },
    Branch {
        name: usize,
        back: usize,
    },
    DeleteBranch(usize),
    RenameBranch(usize, usize),
    Tag {
        name: usize,
        back: usize,
    },
    DeleteTag(usize),
    Switch {
        name: usize,
        force: bool,
    },
    SwitchNew {
        name: usize,
        back: usize,
    },
    Detach {
        back: usize,
        force: bool,
    },
    Checkout {
        name: usize,
    },
    Reset {
        back: usize,
        mode: ResetMode,
    },
    Restore {
        path: usize,
        back: usize,
        staged: bool,
        worktree: bool,
    },
    Stash {
        path: Option<usize>,
        untracked: bool,
    },
    Unstash {
        number: usize,
        index: bool,
        drop: bool,
    },
    DropStash(usize),
}

/// What the user does to a file between two commands.
#[derive(Debug, Clone)]
enum Edit {
    Write { path: usize, content: u8, executable: bool },
    Delete(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (path, name, back) = (0..PATHS.len(), 0..BRANCHES.len(), 0..3usize);
    prop_oneof![
        2 => (path.clone(), prop::bool::weighted(0.3)).prop_map(|(path, evict)| Step::Add { path, evict }),
        3 => Just(Step::AddAll),
        1 => (path.clone(), any::<bool>()).prop_map(|(path, cached)| Step::Remove { path, cached }),
        1 => (path.clone(), path.clone(), any::<bool>()).prop_map(|(from, to, force)| Step::Rename { from, to, force }),
        3 => prop::bool::weighted(0.2).prop_map(|amend| Step::Commit { amend }),
        1 => (name.clone(), back.clone()).prop_map(|(name, back)| Step::Branch { name, back }),
        1 => name.clone().prop_map(Step::DeleteBranch),
        1 => (name.clone(), name.clone()).prop_map(|(old, new)| Step::RenameBranch(old, new)),
        1 => (name.clone(), back.clone()).prop_map(|(name, back)| Step::Tag { name, back }),
        1 => name.clone().prop_map(Step::DeleteTag),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, force)| Step::Switch { name, force }),
        2 => (name.clone(), back.clone()).prop_map(|(name, back)| Step::SwitchNew { name, back }),
        1 => (back.clone(), any::<bool>()).prop_map(|(back, force)| Step::Detach { back, force }),
        1 => name.prop_map(|name| Step::Checkout { name }),
        2 => (back.clone(), prop_oneof![Just(ResetMode::Soft), Just(ResetMode::Mixed), Just(ResetMode::Hard)])
            .prop_map(|(back, mode)| Step::Reset { back, mode }),
        2 => (prop::option::weighted(0.3, path.clone()), any::<bool>())
            .prop_map(|(path, untracked)| Step::Stash { path, untracked }),
        2 => (0..2usize, any::<bool>(), any::<bool>())
            .prop_map(|(number, index, drop)| Step::Unstash { number, index, drop }),
        1 => (0..2usize).prop_map(Step::DropStash),
        1 => (path, back, any::<bool>(), any::<bool>())
            .prop_map(|(path, back, staged, worktree)| Step::Restore { path, back, staged, worktree }),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => (0..PATHS.len(), 0..4u8, prop::bool::weighted(0.2))
            .prop_map(|(path, content, executable)| Edit::Write { path, content, executable }),
        1 => (0..PATHS.len()).prop_map(Edit::Delete),
    ]
}

/// Files of the worktree by path: content and executable bit.
type Files = BTreeMap<String, (Vec<u8>, bool)>;

/// All that an undo must bring back.
#[derive(Debug, Clone, PartialEq)]
struct World {
    head: String,
    refs: Vec<(String, String)>,
    staging: Vec<(String, Option<String>, i64, bool)>,
    evicted: Vec<String>,
    files: Files,
}

fn world(root: &Path) -> World {
    let database = rusqlite::Connection::open(root.join(".fai/db.sqlite")).unwrap();
    let refs = "SELECT name, hex(target) FROM refs ORDER BY name";
    let staging = "SELECT path, hex(file), size, executable FROM staging ORDER BY path";
    let evicted = "SELECT path FROM evicted ORDER BY path";
    World {
        head: fs::read_to_string(root.join(".fai/HEAD")).unwrap(),
        refs: rows(&database, refs, |row| Ok((row.get(0)?, row.get(1)?))),
        staging: rows(&database, staging, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        }),
        evicted: rows(&database, evicted, |row| row.get(0)),
        files: files(root),
    }
}

fn rows<T>(
    database: &rusqlite::Connection,
    sql: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    let mut statement = database.prepare(sql).unwrap();
    statement
        .query_map([], read)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn files(root: &Path) -> Files {
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

fn put(root: &Path, path: &str, content: &[u8], executable: bool) {
    let path = root.join(path);
    if path.is_dir() || fs::create_dir_all(path.parent().unwrap()).is_err() {
        return;
    }
    fs::write(&path, content).unwrap();
    let mode = if executable { 0o755 } else { 0o644 };
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
}

/// What a person does who takes back by hand what no command did.
fn make(root: &Path, wanted: &Files) {
    let now = files(root);
    for path in now.keys().filter(|path| !wanted.contains_key(*path)) {
        fs::remove_file(root.join(path)).unwrap();
    }
    for (path, (content, executable)) in wanted {
        if now.get(path) != Some(&(content.clone(), *executable)) {
            put(root, path, content, *executable);
        }
    }
}

fn author() -> Author {
    Author {
        name: "Ada".into(),
        email: String::new(),
    }
}

fn carry_out(repository: &Repository, step: &Step, time: Time) -> Result<(), Error> {
    let path = |index: usize| RepoPath::parse(PATHS[index]).unwrap();
    let back = |number: usize| -> Result<CommitId, Error> { repository.resolve(&format!("HEAD~{number}")) };
    match *step {
        Step::Add { path: index, evict } => {
            let options = AddOptions {
                evict,
                ..AddOptions::default()
            };
            repository.add(&[path(index)], options, &Silent).map(drop)
        }
        Step::AddAll => repository.add(&[], AddOptions::default(), &Silent).map(drop),
        Step::Remove { path: index, cached } => repository.remove(&[path(index)], true, cached, true).map(drop),
        Step::Rename { from, to, force } => repository.rename(&path(from), &path(to), force).map(drop),
        Step::Commit { amend } => {
            let request = CommitRequest {
                message: Some(format!("at {}", time.seconds)),
                author: Some(author()),
                time,
                amend,
                ..CommitRequest::default()
            };
            repository.commit(&request).map(drop)
        }
        Step::Branch { name, back: number } => repository.create_branch(BRANCHES[name], back(number)?, None, time),
        Step::DeleteBranch(name) => repository.delete_branch(BRANCHES[name], true, time).map(drop),
        Step::RenameBranch(old, new) => repository.rename_branch(BRANCHES[old], BRANCHES[new], time),
        Step::Tag { name, back: number } => repository.create_tag(BRANCHES[name], back(number)?, None, true, time),
        Step::DeleteTag(name) => repository.delete_tag(BRANCHES[name], time).map(drop),
        Step::Switch { name, force } => repository
            .switch(&SwitchTo::Branch(BRANCHES[name].into()), force, time, &Silent)
            .map(drop),
        Step::SwitchNew { name, back: number } => {
            let to = SwitchTo::New {
                name: BRANCHES[name].into(),
                start: Some(back(number)?),
                upstream: None,
            };
            repository.switch(&to, false, time, &Silent).map(drop)
        }
        Step::Detach { back: number, force } => repository
            .switch(&SwitchTo::Commit(back(number)?), force, time, &Silent)
            .map(drop),
        Step::Checkout { name } => {
            let options = CheckoutOptions {
                force: true,
                detach: false,
                time,
            };
            repository.checkout(BRANCHES[name], options, &Silent).map(drop)
        }
        Step::Reset { back: number, mode } => {
            let options = ResetOptions {
                mode,
                give_up: false,
                time,
            };
            repository.reset(back(number)?, options, &Silent).map(drop)
        }
        Step::Restore {
            path: index,
            back: number,
            staged,
            worktree,
        } => {
            let options = RestoreOptions {
                source: (number > 0).then(|| back(number)).transpose()?,
                staged,
                worktree,
                force: true,
                give_up: false,
            };
            repository.restore(&[path(index)], options, &Silent).map(drop)
        }
        Step::Stash { path: index, untracked } => {
            let options = StashOptions {
                message: None,
                untracked,
                author: author(),
                time,
            };
            let paths: Vec<RepoPath> = index.map(path).into_iter().collect();
            repository.stash_push(&paths, &options, &Silent).map(drop)
        }
        Step::Unstash { number, index, drop } => {
            let stash = repository.stash_named(&number.to_string())?;
            let options = ApplyOptions { index, drop, time };
            repository.stash_apply(&stash, options, &Silent).map(|_| ())
        }
        Step::DropStash(number) => repository.stash_drop(&repository.stash_named(&number.to_string())?, time),
    }
}

fn newest(repository: &Repository) -> i64 {
    repository
        .command_log(1)
        .unwrap()
        .first()
        .map_or(0, |logged| logged.row.id)
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn undoing_everything_goes_back_exactly_and_redoing_forward(
        steps in prop::collection::vec((prop::collection::vec(edit(), 0..4), step()), 1..14),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        Repository::init(&root, InitOptions::default()).unwrap();
        let mut done: Vec<(World, World, &Step)> = Vec::new();
        for (number, (edits, step)) in steps.iter().enumerate() {
            for edit in edits {
                match *edit {
                    Edit::Write { path, content, executable } => {
                        put(&root, PATHS[path], &[b'0' + content; 3], executable);
                    }
                    Edit::Delete(path) => drop(fs::remove_file(root.join(PATHS[path]))),
                }
            }
            let before = world(&root);
            let repository = Repository::open(&root).unwrap().with_threads(2);
            let time = Time { seconds: 1_700_000_000 + number as i64, offset_minutes: 0 };
            let count = newest(&repository);
            repository.begin(time, &format!("step {number}")).unwrap();
            let result = carry_out(&repository, step, time);
            let after = world(&root);
            if newest(&repository) == count {
                prop_assert_eq!(&before, &after, "{:?} did something and left no trace ({:?})", step, result);
            } else {
                done.push((before, after, step));
            }
        }
        let repository = Repository::open(&root).unwrap().with_threads(2);
        let options = |direction| UndoOptions {
            direction,
            time: Time { seconds: 1_800_000_000, offset_minutes: 0 },
            force: false,
        };
        for (before, after, step) in done.iter().rev() {
            make(&root, &after.files);
            let undone = repository.undo(options(Direction::Undo), &Silent);
            prop_assert!(undone.is_ok(), "{step:?}: {undone:?}");
            let now = world(&root);
            prop_assert_eq!(&now, before, "undoing {:?}", step);
        }
        prop_assert!(matches!(repository.undo(options(Direction::Undo), &Silent), Err(Error::NothingToUndo(_))));
        for (before, after, step) in &done {
            make(&root, &before.files);
            let redone = repository.undo(options(Direction::Redo), &Silent);
            prop_assert!(redone.is_ok(), "{step:?}: {redone:?}");
            let now = world(&root);
            prop_assert_eq!(&now, after, "doing {:?} again", step);
        }
        prop_assert!(matches!(repository.undo(options(Direction::Redo), &Silent), Err(Error::NothingToUndo(_))));
    }
}
