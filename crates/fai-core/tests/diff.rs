//! Comparing versions through the public interface: files, renames and tensors.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use fai_core::Repository;
use fai_core::object::{Author, Commit, CommitId, Hash, Id, Kind, Object, RepoPath, Time, Tree};
use fai_core::repo::{
    AddOptions, ChangedFile, CommitRequest, Comparison, Error, Event, InitOptions, Progress, Silent, TensorChanges,
    Version,
};
use fai_core::storage::pack_path;
use tempfile::TempDir;

/// A repository in a folder of its own.
struct Fixture {
    folder: TempDir,
    repository: Repository,
}

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (repository, _) = Repository::init(folder.path(), InitOptions::default()).unwrap();
        Self { folder, repository }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Removes a file, and its folder when that is empty then.
    fn remove(&self, name: &str) {
        let path = self.folder.path().join(name);
        fs::remove_file(&path).unwrap();
        let _ = fs::remove_dir(path.parent().unwrap());
    }

    fn set_executable(&self, name: &str, executable: bool) {
        let mode = if executable { 0o755 } else { 0o644 };
        fs::set_permissions(self.folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn add(&self) {
        let report = self.repository.add(&[RepoPath::root()], AddOptions::default(), &Silent);
        assert!(report.unwrap().refused.is_empty());
    }

    fn commit(&self) -> Version {
        self.add();
        let request = CommitRequest {
            message: Some("a version".into()),
            author: Some(Author {
                name: "A".into(),
                email: "a@example.org".into(),
            }),
            time: Time {
                seconds: 1_700_000_000,
                offset_minutes: 0,
            },
            ..CommitRequest::default()
        };
        Version::Commit(self.repository.commit(&request).unwrap().id)
    }

    fn get<T: Object>(&self, id: T::Id) -> T {
        self.repository.store().get(id).unwrap()
    }

    /// Flips a bit of a stored record, so that it cannot be read any more.
    fn damage(&self, kind: Kind, hash: &Hash) {
        let store = self.repository.store();
        let location = store.locate(kind, hash).unwrap();
        let pack = pack_path(store.packs().folder(), &location.pack);
        let mut bytes = fs::read(&pack).unwrap();
        bytes[location.offset as usize + location.header.header_len()] ^= 1;
        fs::write(&pack, bytes).unwrap();
        assert!(store.with(kind, hash, |_, _| ()).is_err(), "the damage is seen");
    }

    fn compare(&self, old: Version, new: Version) -> Comparison {
        self.repository.compare(&old, &new, &[], &Silent).unwrap()
    }

    /// Differences as short lines: `+ added`, `- removed`, `~ modified`, `old > new`.
    fn lines(&self, old: Version, new: Version) -> Vec<String> {
        lines(&self.compare(old, new))
    }

    /// The tensor changes of a model between two versions, the first stored or both, and the second also on disk.
    fn tensors(&self, old: &[u8], new: &[u8]) -> TensorChanges {
        self.write("m.safetensors", old);
        let before = self.commit();
        self.write("m.safetensors", new);
        let on_disk = only(&self.compare(before, Version::Worktree).modified).tensors.clone();
        let backwards = only(&self.compare(Version::Worktree, before).modified).tensors.clone();
        let after = self.commit();
        let stored = only(&self.compare(before, after).modified).tensors.clone();
        assert_eq!(on_disk, stored, "the worktree compares as what is stored does");
        let (on_disk, backwards) = (on_disk.unwrap(), backwards.unwrap());
        let mut changed = [on_disk.changed.clone(), backwards.changed];
        changed.iter_mut().for_each(|names| names.sort());
        assert_eq!(changed[0], changed[1]);
        assert_eq!(on_disk.added.len(), backwards.removed.len());
        on_disk
    }
}

fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

fn only(files: &[ChangedFile]) -> &ChangedFile {
    let [file] = files else {
        panic!("one file expected: {files:?}")
    };
    file
}

fn lines(comparison: &Comparison) -> Vec<String> {
    let line = |file: &ChangedFile| match (file.change.name(), &file.old_path) {
        ("added", None) => format!("+ {}", file.path),
        ("removed", None) => format!("- {}", file.path),
        ("modified", None) => format!("~ {}", file.path),
        ("renamed", Some(old)) => format!("{old} > {}", file.path),
        other => panic!("{other:?}"),
    };
    comparison.files().map(line).collect()
}

/// Bytes that do not compress and do not repeat; another `seed` gives others.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A tensor of a test model: name, dtype, shape, bytes.
type Part<'a> = (&'a str, &'a str, &'a [usize], &'a [u8]);

/// A safetensors file whose tensors lie in the given order.
fn model(parts: &[Part<'_>], note: &str) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    if !note.is_empty() {
        header.insert("__metadata__".into(), serde_json::json!({ "note": note }));
    }
    let (mut data, mut at) = (Vec::new(), 0);
    for (name, dtype, shape, bytes) in parts {
        let end = at + bytes.len();
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, end] });
        header.insert((*name).into(), entry);
        data.extend_from_slice(bytes);
        at = end;
    }
    let mut text = serde_json::to_vec(&header).unwrap();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend(text);
    file.extend(data);
    safetensors::SafeTensors::deserialize(&file).expect("test models are valid");
    file
}

#[test]
fn files_are_added_removed_and_modified() {
    let fixture = Fixture::new();
    fixture.write("same.txt", "same");
    fixture.write("deep/er/same.txt", "same too");
    fixture.write("deep/changed.txt", "one");
    fixture.write("gone.txt", "gone soon");
    let one = fixture.commit();
    fixture.write("deep/changed.txt", "another");
    fixture.write("new/file.txt", "a new file");
    fixture.remove("gone.txt");
    let other = fixture.commit();

    let comparison = fixture.compare(one, other);
    assert_eq!(
        lines(&comparison),
        ["+ new/file.txt", "- gone.txt", "~ deep/changed.txt"]
    );
    assert_eq!((comparison.bytes_added(), comparison.bytes_removed()), (10, 9));
    assert_eq!(comparison.size_delta(), 10 - 9 + 7 - 3);
    let modified = only(&comparison.modified);
    assert_eq!(modified.old.unwrap().size, 3);
    assert_eq!(modified.new.unwrap().size, 7);
    assert!(!modified.same_content() && modified.tensors.is_none());

    assert_eq!(fixture.compare(other, one).size_delta(), -5);
    assert_eq!(
        fixture.lines(other, one),
        ["+ gone.txt", "- new/file.txt", "~ deep/changed.txt"]
    );
    assert!(fixture.compare(one, one).is_empty());
}

#[test]
fn folders_that_are_the_same_are_not_read() {
    let fixture = Fixture::new();
    fixture.write("same/a", "a");
    fixture.write("b", "b");
    let one = fixture.commit();
    fixture.write("b", "other b");
    let other = fixture.commit();
    let (Version::Commit(commit), Version::Commit(newer)) = (one, other) else {
        unreachable!()
    };
    let root: Tree = fixture.get(fixture.get::<Commit>(commit).tree);
    fixture.damage(Kind::Tree, &root.get("same").unwrap().hash);
    assert!(
        fixture.repository.list(Some(newer), &path("same")).is_err(),
        "it is damaged"
    );
    assert_eq!(fixture.lines(one, other), ["~ b"]);
}

#[test]
fn scopes_choose_files_and_folders() {
    let fixture = Fixture::new();
    let empty = {
        fixture.write("keep", "");
        fixture.commit()
    };
    for name in ["a/b/one", "a/b/two", "a/c", "ab/x", "z"] {
        fixture.write(name, name);
    }
    let full = fixture.commit();
    fixture.write("a/c", "changed on disk");
    let scoped = |new: Version, scopes: &[&str]| {
        let scopes: Vec<RepoPath> = scopes.iter().map(|scope| path(scope)).collect();
        lines(&fixture.repository.compare(&empty, &new, &scopes, &Silent).unwrap())
    };
    for new in [full, Version::Index, Version::Worktree] {
        assert_eq!(scoped(new, &["a"]), ["+ a/b/one", "+ a/b/two", "+ a/c"]);
        assert_eq!(scoped(new, &["a/b/two", "z"]), ["+ a/b/two", "+ z"]);
        assert_eq!(scoped(new, &["", "z"]).len(), 5);
        assert_eq!(scoped(new, &["z/below", "nowhere"]), [""; 0]);
    }
}

#[test]
fn files_and_folders_swap_places() {
    let fixture = Fixture::new();
    fixture.write("x", "a file");
    fixture.write("y/inside", "in a folder");
    let one = fixture.commit();
    fixture.remove("x");
    fixture.remove("y/inside");
    fixture.write("x/inside", "in a new folder");
    fixture.write("y", "a new file");
    let expected = ["+ x/inside", "+ y", "- x", "- y/inside"];
    let other = fixture.commit();
    assert_eq!(fixture.lines(one, other), expected);
    assert_eq!(fixture.lines(one, Version::Index), expected);
    assert_eq!(fixture.lines(one, Version::Worktree), expected);
    let scope = [path("x")];
    let comparison = fixture.repository.compare(&one, &other, &scope, &Silent).unwrap();
    assert_eq!(lines(&comparison), ["+ x/inside", "- x"]);
}

#[test]
fn an_executable_bit_alone_is_a_modification_of_the_same_content() {
    let fixture = Fixture::new();
    fixture.write("run.sh", "echo");
    let one = fixture.commit();
    fixture.set_executable("run.sh", true);
    let check = |new: Version| {
        let comparison = fixture.compare(one, new);
        assert_eq!(lines(&comparison), ["~ run.sh"]);
        let file = only(&comparison.modified);
        assert!(file.same_content());
        assert!(!file.old.unwrap().executable && file.new.unwrap().executable);
    };
    check(Version::Worktree);
    let other = fixture.commit();
    check(other);
    check(Version::Index);
}

#[test]
fn the_first_commit_and_the_last_file() {
    let fixture = Fixture::new();
    fixture.write("only", "file");
    assert!(
        fixture.compare(Version::Index, Version::Worktree).is_empty(),
        "it is not tracked"
    );
    fixture.add();
    assert!(fixture.compare(Version::Index, Version::Worktree).is_empty());
    let full = fixture.commit();
    fixture.remove("only");
    let empty = fixture.commit();
    assert_eq!(fixture.lines(full, empty), ["- only"]);
    assert_eq!(fixture.lines(empty, full), ["+ only"]);
    assert!(fixture.compare(empty, Version::Worktree).is_empty());
}

#[test]
fn the_worktree_counts_tracked_files_only() {
    let fixture = Fixture::new();
    fixture.write("kept", "kept");
    fixture.write("edited", "before");
    fixture.write("deleted", "deleted");
    fixture.write("replaced", "by a folder");
    let head = fixture.commit();
    fixture.write("edited", "afterwards");
    fixture.remove("deleted");
    fixture.remove("replaced");
    fixture.write("replaced/untracked", "new");
    fixture.write("untracked", "new");
    for old in [head, Version::Index] {
        let comparison = fixture.compare(old, Version::Worktree);
        assert_eq!(lines(&comparison), ["- deleted", "- replaced", "~ edited"]);
        let new = only(&comparison.modified).new.unwrap();
        assert_eq!((new.file, new.size), (None, 10));
        assert_eq!(
            fixture.lines(Version::Worktree, old),
            ["+ deleted", "+ replaced", "~ edited"]
        );
    }
    assert!(fixture.compare(head, Version::Index).is_empty());
}

#[test]
fn staged_changes_stand_between_head_and_worktree() {
    let fixture = Fixture::new();
    fixture.write("a", "one");
    let head = fixture.commit();
    fixture.write("a", "two!!");
    fixture.write("b", "new");
    fixture.add();
    assert_eq!(fixture.lines(head, Version::Index), ["+ b", "~ a"]);
    assert_eq!(fixture.lines(head, Version::Worktree), ["+ b", "~ a"]);
    assert!(fixture.compare(Version::Index, Version::Worktree).is_empty());
    fixture.write("a", "three");
    assert_eq!(fixture.lines(Version::Index, Version::Worktree), ["~ a"]);

    // Back to what is committed, though something else is staged: the content decides.
    fixture.write("a", "one");
    assert_eq!(fixture.lines(head, Version::Worktree), ["+ b"]);
    assert_eq!(fixture.lines(Version::Worktree, head), ["- b"]);
    assert_eq!(fixture.lines(Version::Index, Version::Worktree), ["~ a"]);
}

#[test]
fn exact_renames_prefer_the_same_name_and_use_each_file_once() {
    let fixture = Fixture::new();
    fixture.write("a/first.txt", "content");
    fixture.write("b/second.txt", "content");
    fixture.write("keep", "kept");
    let one = fixture.commit();
    fixture.remove("a/first.txt");
    fixture.remove("b/second.txt");
    // In order of paths `c/...` would take `a/first.txt`.
    for name in ["c/second.txt", "d/third.txt", "e/fourth.txt"] {
        fixture.write(name, "content");
    }
    let other = fixture.commit();
    let comparison = fixture.compare(one, other);
    assert_eq!(
        lines(&comparison),
        [
            "+ e/fourth.txt",
            "b/second.txt > c/second.txt",
            "a/first.txt > d/third.txt"
        ]
    );
    let renamed = &comparison.renamed[0];
    assert!(renamed.same_content());
    assert_eq!(renamed.similarity, Some(100));
    // A copy leaves its source where it is: nothing was renamed.
    fixture.write("copy", "kept");
    let copied = fixture.commit();
    assert_eq!(fixture.lines(other, copied), ["+ copy"]);
}

#[test]
fn similar_files_are_renamed() {
    let fixture = Fixture::new();
    let old = noise(1, 4 << 20);
    fixture.write("weights.bin", &old);
    fixture.write("short.txt", "shorter than four kilobytes\n".repeat(20));
    let one = fixture.commit();
    fixture.remove("weights.bin");
    fixture.remove("short.txt");
    let mut new = old.clone();
    new[..256 << 10].copy_from_slice(&noise(2, 256 << 10));
    fixture.write("models/renamed.bin", &new);
    fixture.write("models/unrelated.bin", noise(3, 4 << 20));
    fixture.write("shorter.txt", "shorter than four kilobytes\n".repeat(20) + ".");
    let other = fixture.commit();
    for new in [other, Version::Index, Version::Worktree] {
        let comparison = fixture.compare(one, new);
        assert_eq!(
            lines(&comparison),
            [
                "+ models/unrelated.bin",
                "+ shorter.txt",
                "- short.txt",
                "weights.bin > models/renamed.bin"
            ]
        );
        let renamed = only(&comparison.renamed);
        let share = renamed.similarity.unwrap();
        assert!((80..=94).contains(&share), "{share} % stayed, 93 % of the bytes did");
        assert!(!renamed.same_content());
    }
}

#[test]
fn the_most_similar_file_is_the_source() {
    let fixture = Fixture::new();
    let base = noise(4, 4 << 20);
    let with = |seed: u64, len: usize| {
        let mut bytes = base.clone();
        bytes[..len].copy_from_slice(&noise(seed, len));
        bytes
    };
    fixture.write("far", with(5, 1 << 20));
    fixture.write("near", with(6, 128 << 10));
    let one = fixture.commit();
    fixture.remove("far");
    fixture.remove("near");
    fixture.write("now", &base);
    let other = fixture.commit();
    assert_eq!(fixture.lines(one, other), ["- far", "near > now"]);
}

#[test]
fn less_than_half_in_common_is_no_rename() {
    let fixture = Fixture::new();
    let base = noise(7, 4 << 20);
    fixture.write("old", &base);
    let one = fixture.commit();
    fixture.remove("old");
    let mut third = base[..(4 << 20) / 3].to_vec();
    third.extend(noise(8, (4 << 20) * 2 / 3));
    fixture.write("third", third);
    // All of it is in the old file, and it is less than half of that.
    fixture.write("short", &base[..1 << 20]);
    let other = fixture.commit();
    assert_eq!(fixture.lines(one, other), ["+ short", "+ third", "- old"]);
}

#[test]
fn a_changed_tensor_is_named_and_no_other() {
    let fixture = Fixture::new();
    let tensors: Vec<Vec<u8>> = (0..40).map(|seed| noise(seed, 4096)).collect();
    let large = noise(99, 3 << 20);
    let names: Vec<String> = (0..40).map(|index| format!("layer.{index}.weight")).collect();
    let build = |tensors: &[Vec<u8>], large: &[u8]| {
        let small = names.iter().zip(tensors);
        let mut parts: Vec<Part<'_>> = small
            .map(|(name, bytes)| (name.as_str(), "F32", &[32, 32][..], &bytes[..]))
            .collect();
        parts.insert(20, ("embedding", "BF16", &[1536, 1024], large));
        model(&parts, "")
    };
    // Small neighbours share a chunk, so its hash alone accuses all of them.
    let mut changed = tensors.clone();
    changed[7][4000] ^= 1;
    let changes = fixture.tensors(&build(&tensors, &large), &build(&changed, &large));
    assert_eq!(
        changes,
        TensorChanges {
            changed: vec!["layer.7.weight".into()],
            unchanged: 40,
            ..TensorChanges::default()
        }
    );
    // The last byte of a tensor that has chunks of its own.
    let mut other = large.clone();
    *other.last_mut().unwrap() ^= 1;
    let changes = fixture.tensors(&build(&tensors, &large), &build(&tensors, &other));
    assert_eq!((changes.changed, changes.unchanged), (vec!["embedding".to_owned()], 40));
}

#[test]
fn chunk_ids_decide_without_reading() {
    let fixture = Fixture::new();
    let (same, old, new) = (noise(1, 2 << 20), noise(2, 1 << 20), noise(3, 1 << 20));
    let build = |bytes: &[u8], note: &str| {
        let parts: [Part<'_>; 2] = [("other", "F32", &[1 << 18], bytes), ("same", "F32", &[1 << 19], &same)];
        model(&parts, note)
    };
    fixture.write("m.safetensors", build(&old, ""));
    let one = fixture.commit();
    fixture.write("m.safetensors", build(&new, "moved"));
    let other = fixture.commit();
    for version in [one, other] {
        let Version::Commit(commit) = version else {
            unreachable!()
        };
        let file = fixture
            .repository
            .file_in(commit, &path("m.safetensors"), "it")
            .unwrap();
        for chunk in fixture.repository.chunks(file.file).unwrap().chunks {
            if chunk.size == 1 << 20
                && fixture
                    .repository
                    .store()
                    .with(Kind::Chunk, chunk.id.hash(), |_, _| ())
                    .is_ok()
            {
                fixture.damage(Kind::Chunk, chunk.id.hash());
            }
        }
    }
    let comparison = fixture.compare(one, other);
    let tensors = only(&comparison.modified).tensors.as_ref().unwrap();
    assert_eq!((&*tensors.changed, tensors.unchanged), (&["other".to_owned()][..], 1));
}

#[test]
fn another_header_or_order_changes_no_tensor() {
    let fixture = Fixture::new();
    let (a, b, c) = (noise(1, 2 << 20), noise(2, 1000), noise(3, 100 << 10));
    let parts: [Part<'_>; 4] = [
        ("a", "F32", &[1 << 19], &a),
        ("b", "F32", &[250], &b),
        ("c", "F16", &[50 << 10], &c),
        ("none", "F32", &[0], &[]),
    ];
    let before = model(&parts, "");
    let changes = fixture.tensors(&before, &model(&parts, "a longer header moves everything"));
    assert_eq!((changes.unchanged, changes.changed.len()), (4, 0));
    let shuffled = [parts[1], parts[3], parts[2], parts[0]];
    let changes = fixture.tensors(&before, &model(&shuffled, "and in another order"));
    let notes = changes.metadata.len();
    assert_eq!(
        TensorChanges {
            metadata: Vec::new(),
            ..changes
        },
        TensorChanges {
            unchanged: 4,
            ..TensorChanges::default()
        }
    );
    assert_eq!(notes, 1);
}

#[test]
fn tensors_are_added_removed_reshaped_and_retyped() {
    let fixture = Fixture::new();
    let bytes = noise(1, 4096);
    let before: [Part<'_>; 5] = [
        ("same", "F32", &[1024], &bytes),
        ("dropped", "F32", &[2, 512], &bytes),
        ("reshaped", "F32", &[32, 32], &bytes),
        ("retyped", "F32", &[1024], &bytes),
        ("both", "F32", &[1024], &bytes),
    ];
    let after: [Part<'_>; 5] = [
        ("same", "F32", &[1024], &bytes),
        ("fresh", "F32", &[2, 512], &bytes),
        ("reshaped", "F32", &[16, 64], &bytes),
        ("retyped", "I32", &[1024], &bytes),
        ("both", "F16", &[2048], &bytes),
    ];
    let changes = fixture.tensors(&model(&before, ""), &model(&after, ""));
    assert_eq!(changes.added, ["fresh"]);
    assert_eq!(changes.removed, ["dropped"]);
    assert_eq!(changes.unchanged, 1);
    assert!(changes.changed.is_empty());
    let reshaped: Vec<_> = changes
        .reshaped
        .iter()
        .map(|tensor| (&*tensor.name, &*tensor.old, &*tensor.new))
        .collect();
    assert_eq!(
        reshaped,
        [("reshaped", &[32, 32][..], &[16, 64][..]), ("both", &[1024], &[2048])]
    );
    let retyped: Vec<_> = changes
        .retyped
        .iter()
        .map(|tensor| (&*tensor.name, &*tensor.old, &*tensor.new))
        .collect();
    assert_eq!(retyped, [("retyped", "f32", "i32"), ("both", "f32", "f16")]);
}

#[test]
fn a_renamed_model_is_compared_by_tensor_too() {
    let fixture = Fixture::new();
    let (body, old, new) = (noise(1, 2 << 20), noise(2, 1024), noise(3, 1024));
    let build = |head: &[u8]| model(&[("body", "F32", &[1 << 19], &body), ("head", "F32", &[256], head)], "");
    fixture.write("old.safetensors", build(&old));
    let one = fixture.commit();
    fixture.remove("old.safetensors");
    fixture.write("new.safetensors", build(&new));
    let other = fixture.commit();
    let comparison = fixture.compare(one, other);
    assert_eq!(lines(&comparison), ["old.safetensors > new.safetensors"]);
    let tensors = only(&comparison.renamed).tensors.as_ref().unwrap();
    assert_eq!((&*tensors.changed, tensors.unchanged), (&["head".to_owned()][..], 1));
    let without = fixture.repository.compare_files(&one, &other, &[], &Silent).unwrap();
    assert_eq!(lines(&without), lines(&comparison));
    assert_eq!(only(&without.renamed).tensors, None);
}

#[test]
fn a_model_that_becomes_something_else_has_no_tensor_changes() {
    let fixture = Fixture::new();
    fixture.write("m.safetensors", model(&[("a", "U8", &[3], b"abc")], ""));
    let one = fixture.commit();
    fixture.write("m.safetensors", "no model");
    assert_eq!(only(&fixture.compare(one, Version::Worktree).modified).tensors, None);
    let other = fixture.commit();
    assert_eq!(only(&fixture.compare(one, other).modified).tensors, None);
    assert_eq!(only(&fixture.compare(other, one).modified).tensors, None);
}

#[test]
fn progress_adds_up_to_what_was_announced() {
    #[derive(Default)]
    struct Sums(AtomicU64, AtomicU64);
    impl Progress for Sums {
        fn on(&self, event: Event<'_>) {
            match event {
                Event::Total { bytes, .. } => self.0.fetch_add(bytes, Ordering::Relaxed),
                Event::Bytes(bytes) => self.1.fetch_add(bytes, Ordering::Relaxed),
                _ => 0,
            };
        }
    }
    let fixture = Fixture::new();
    let build = |seed| model(&[("a", "U8", &[5000], &noise(seed, 5000))], "");
    fixture.write("m.safetensors", build(1));
    fixture.write("text", "one");
    let one = fixture.commit();
    fixture.write("m.safetensors", build(2));
    fixture.write("text", "two");
    let other = fixture.commit();
    let sums = Sums::default();
    fixture.repository.compare(&one, &other, &[], &sums).unwrap();
    let announced = sums.0.into_inner();
    assert!(announced > 5000);
    assert_eq!(announced, sums.1.into_inner());
}

#[test]
fn either_side_of_a_file_can_be_read() {
    let fixture = Fixture::new();
    fixture.write("a/file", "committed");
    let head = fixture.commit();
    fixture.write("a/file", "staged");
    fixture.add();
    fixture.write("a/file", "on disk");
    let read = |version, limit| fixture.repository.read_side(&version, &path("a/file"), limit).unwrap();
    assert_eq!(read(head, 9).unwrap(), b"committed");
    assert_eq!(read(Version::Index, 100).unwrap(), b"staged");
    assert_eq!(read(Version::Worktree, u64::MAX).unwrap(), b"on disk");
    for version in [head, Version::Index, Version::Worktree] {
        assert_eq!(read(version, 5), None, "it is longer");
        for wrong in ["nothing", "a", "a/file/below", ""] {
            let error = fixture.repository.read_side(&version, &path(wrong), 100).unwrap_err();
            assert!(
                matches!(error.kind(), "not_found" | "wrong_kind"),
                "{version:?} {wrong}: {error}"
            );
        }
    }
    let comparison = fixture.compare(head, Version::Worktree);
    let file = only(&comparison.modified);
    let content = |side| {
        fixture
            .repository
            .read_content(&side, &file.path, 100)
            .unwrap()
            .unwrap()
    };
    assert_eq!(content(file.old.unwrap()), b"committed");
    assert_eq!(content(file.new.unwrap()), b"on disk");
}

#[test]
fn a_bare_repository_has_commits_to_compare_and_no_worktree() {
    let folder = TempDir::new().unwrap();
    let (bare, _) = Repository::init(folder.path(), InitOptions { bare: true, id: None }).unwrap();
    let error = bare
        .compare(&Version::Index, &Version::Worktree, &[], &Silent)
        .unwrap_err();
    assert!(matches!(error, Error::Bare { .. }), "{error}");
    let error = bare.read_side(&Version::Worktree, &path("x"), 1).unwrap_err();
    assert!(matches!(error, Error::Bare { .. }), "{error}");
}

#[test]
fn a_commit_that_is_missing_is_named() {
    let fixture = Fixture::new();
    fixture.write("a", "a");
    let head = fixture.commit();
    let missing: CommitId = "0".repeat(64).parse().unwrap();
    let error = fixture
        .repository
        .compare(&head, &Version::Commit(missing), &[], &Silent)
        .unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
}
