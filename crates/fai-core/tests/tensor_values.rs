//! How far the tensors of stored models moved: what is read for it, and that neither threads nor chunks nor where a
//! file lies change a bit.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;

use fai_core::Repository;
use fai_core::object::{Author, Id, Kind, RepoPath, Time};
use fai_core::repo::{AddOptions, CommitRequest, Depth, InitOptions, Level, Moved, Silent, TensorChanges, Version};
use fai_core::storage::pack_path;
use fai_testkit::{DType, Tensor, noise, normal};
use tempfile::TempDir;

const MODEL: &str = "m.safetensors";

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

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    fn commit(&self) -> Version {
        let report = self.repository.add(&[RepoPath::root()], AddOptions::default(), &Silent);
        assert!(report.unwrap().refused.is_empty());
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
            ..Default::default()
        };
        Version::Commit(self.repository.commit(&request).unwrap().id)
    }

    fn compare(&self, old: Version, new: Version) -> TensorChanges {
        let compared = self
            .repository
            .compare_to(Depth::Values, &old, &new, &[], &Silent)
            .unwrap();
        compared.modified[0].tensors.clone().unwrap()
    }

    /// Between two contents of a file, stored both, with one thread and with five, and with either of them on disk.
    fn changes(&self, name: &str, old: &[u8], new: &[u8]) -> TensorChanges {
        self.write(name, old);
        let before = self.commit();
        self.write(name, new);
        let on_disk = self.compare(before, Version::Worktree);
        let after = self.commit();
        let stored = self.compare(before, after);
        self.write(name, old);
        let from_disk = self.compare(Version::Worktree, after);
        for other in [&on_disk, &from_disk] {
            assert_eq!(bits(&stored), bits(other));
            assert_eq!(&stored, other);
        }
        for threads in [1, 5] {
            let repository = Repository::open(self.folder.path()).unwrap().with_threads(threads);
            let compared = repository
                .compare_to(Depth::Values, &before, &after, &[], &Silent)
                .unwrap();
            assert_eq!(
                bits(compared.modified[0].tensors.as_ref().unwrap()),
                bits(&stored),
                "{threads} threads"
            );
        }
        stored
    }

    /// Makes the chunks of a model that `which` picks by place unreadable.
    fn damage(&self, version: Version, which: impl Fn(usize, u64) -> bool) -> usize {
        let Version::Commit(commit) = version else { panic!() };
        let path = RepoPath::parse(MODEL).unwrap();
        let file = self.repository.file_in(commit, &path, "it").unwrap().file;
        let store = self.repository.store();
        let mut damaged = 0;
        for (index, chunk) in self.repository.chunks(file).unwrap().chunks.iter().enumerate() {
            if which(index, chunk.offset) {
                let location = store.locate(Kind::Chunk, chunk.id.hash()).unwrap();
                let pack = pack_path(store.packs().folder(), &location.pack);
                let mut bytes = fs::read(&pack).unwrap();
                bytes[location.offset as usize + location.header.header_len()] ^= 1;
                fs::write(&pack, bytes).unwrap();
                damaged += 1;
            }
        }
        damaged
    }
}

/// Every number of the distances, to the bit.
fn bits(changes: &TensorChanges) -> Vec<(String, String)> {
    let line = |moved: &Moved| (moved.name.clone(), format!("{:?}", moved.distance));
    changes.moved.iter().map(line).collect()
}

fn f32s(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::of(name, DType::F32, shape, values)
}

fn file(tensors: &[Tensor]) -> Vec<u8> {
    fai_testkit::safetensors::write(tensors)
}

/// A safetensors file of any dtypes: name, dtype, shape, bytes.
fn raw(parts: &[(&str, &str, &[usize], &[u8])]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in parts {
        let at = data.len();
        data.extend_from_slice(bytes);
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, data.len()] });
        header.insert((*name).into(), entry);
    }
    let text = serde_json::to_vec(&header).unwrap();
    [&(text.len() as u64).to_le_bytes()[..], &text, &data].concat()
}

fn relative(old: &[f32], new: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let moved = square(&mut old.iter().zip(new).map(|(old, new)| f64::from(*new) - f64::from(*old)));
    (moved / square(&mut old.iter().map(|value| f64::from(*value)))).sqrt()
}

#[track_caller]
fn assert_close(found: Option<f64>, expected: f64) {
    let found = found.unwrap();
    assert!(
        (found - expected).abs() <= 1e-12 * expected.abs(),
        "{found} and not {expected}"
    );
}

#[test]
fn large_and_small_tensors_are_measured_as_a_slow_sum_does() {
    let fixture = Fixture::new();
    // Over three units and more chunks, one that shares its chunk, and a scalar.
    let count = (5 << 19) + 12_345;
    let old = [normal(1, count), normal(2, 1000), normal(3, 1), normal(4, 1000)];
    let mut new = old.clone();
    new[0].iter_mut().skip(100).step_by(3).for_each(|value| *value *= 1.5);
    new[1][7] = 9.0;
    new[2][0] += 1.0;
    let build = |values: &[Vec<f32>; 4]| {
        file(&[
            f32s("model.layers.10.mlp.weight", &[count], &values[0]),
            f32s("model.layers.9.norm.weight", &[10, 100], &values[1]),
            f32s("scale", &[], &values[2]),
            f32s("model.layers.9.norm.bias", &[1000], &values[3]),
        ])
    };
    let changes = fixture.changes(MODEL, &build(&old), &build(&new));
    assert_eq!(changes.changed.len(), 3);
    assert_eq!(
        (changes.unchanged, &*changes.same),
        (1, &["model.layers.9.norm.bias".to_owned()][..])
    );
    for (moved, index) in changes.moved.iter().zip([0, 1, 2]) {
        assert_close(moved.distance.relative(), relative(&old[index], &new[index]));
        let equal = old[index]
            .iter()
            .zip(&new[index])
            .filter(|(old, new)| old == new)
            .count();
        assert_eq!(
            (moved.distance.equal, moved.distance.elements),
            (equal as u64, old[index].len() as u64)
        );
    }
    assert_eq!(changes.moved[1].distance.largest, 9.0 - f64::from(old[1][7]));
    let groups = changes.groups(Level::Module);
    let named: Vec<(&str, u64, u64)> = groups
        .iter()
        .map(|group| (&*group.name, group.tensors, group.changed))
        .collect();
    assert_eq!(
        named,
        [
            ("model.layers.9.norm", 2, 1),
            ("model.layers.10.mlp", 1, 1),
            ("scale", 1, 1)
        ]
    );
    assert_eq!(groups[1].distance.relative(), changes.moved[0].distance.relative());
}

#[test]
fn the_same_chunks_of_a_changed_tensor_are_read_on_one_side() {
    let fixture = Fixture::new();
    let old = normal(1, 4 << 20);
    let mut new = old.clone();
    *new.last_mut().unwrap() += 1.0;
    let (build, untouched) = (
        |values: &[f32]| {
            file(&[
                f32s("w", &[4 << 20], values),
                f32s("same", &[1 << 20], &normal(2, 1 << 20)),
            ])
        },
        16 << 20,
    );
    let changes = fixture.changes(MODEL, &build(&old), &build(&new));
    assert_close(changes.moved[0].distance.relative(), relative(&old, &new));
    assert_eq!(changes.moved[0].distance.equal, (4 << 20) - 1);
    // A tensor whose chunks are the same is not read at all: damage there is not even noticed.
    fixture.write(MODEL, &build(&old));
    let one = fixture.commit();
    fixture.write(MODEL, &build(&new));
    let other = fixture.commit();
    assert_eq!(fixture.damage(other, |_, offset| offset > untouched), 4);
    assert_eq!(fixture.compare(one, other).unchanged, 1);
    // Inside a tensor that changed it is, as these bytes count for the tensor's length.
    assert_eq!(fixture.damage(other, |index, _| index == 2), 1);
    let compared = fixture.repository.compare_to(Depth::Values, &one, &other, &[], &Silent);
    assert!(compared.is_err());
}

#[test]
fn dtypes_are_compared_by_value() {
    let fixture = Fixture::new();
    let values = normal(1, 70_000);
    let wide = file(&[f32s("w", &[70, 1000], &values), f32s("same", &[3], &[1.0, 2.0, 3.0])]);
    let narrow = file(&[
        Tensor::of("w", DType::Bf16, &[70, 1000], &values),
        f32s("same", &[3], &[1.0, 2.0, 3.0]),
    ]);
    let changes = fixture.changes(MODEL, &wide, &narrow);
    assert_eq!(
        (changes.retyped.len(), changes.changed.len(), changes.unchanged),
        (1, 0, 1)
    );
    let moved = &changes.moved[0];
    assert_eq!((&*moved.old_dtype, &*moved.dtype), ("f32", "bf16"));
    let rounding = moved.distance.relative().unwrap();
    assert!((1e-4..2f64.powi(-8)).contains(&rounding), "{rounding}");
    assert!(moved.distance.cosine().unwrap() > 0.99999);
}

#[test]
fn a_grown_vocabulary_is_compared_by_its_common_rows() {
    let fixture = Fixture::new();
    let old = normal(1, 32_000 * 16);
    let mut new = [old.clone(), normal(2, 500 * 16)].concat();
    let build = |values: &[f32]| file(&[f32s("embed.weight", &[values.len() / 16, 16], values)]);
    let changes = fixture.changes(MODEL, &build(&old), &build(&new));
    let [moved] = &*changes.moved else {
        panic!("{changes:?}")
    };
    assert_eq!(
        (moved.rows, changes.reshaped.len(), changes.changed.len()),
        (Some(32_000), 1, 0)
    );
    assert!(moved.distance.is_none());
    assert_eq!(moved.distance.elements, 32_000 * 16);
    new[17] += 0.5;
    let fixture = Fixture::new();
    let changes = fixture.changes(MODEL, &build(&old), &build(&new));
    assert_close(changes.moved[0].distance.relative(), relative(&old, &new[..old.len()]));
    // Rows of another length have nothing in common, nor has a scalar with a vector.
    let fixture = Fixture::new();
    let bytes = noise(3, 4096);
    let before = raw(&[
        ("a", "F32", &[32, 32], &bytes),
        ("b", "F32", &[1024], &bytes),
        ("c", "F32", &[], &bytes[..4]),
        ("d", "F32", &[0, 3], &[]),
    ]);
    let after = raw(&[
        ("a", "F32", &[64, 16], &bytes),
        ("b", "F32", &[1, 1024], &bytes),
        ("c", "F32", &[2], &bytes[..8]),
        ("d", "F32", &[2, 3], &bytes[..24]),
    ]);
    let changes = fixture.changes(MODEL, &before, &after);
    assert_eq!((changes.reshaped.len(), changes.moved.len()), (4, 0));
}

#[test]
fn packed_and_strided_tensors_are_not_taken_for_numbers() {
    let fixture = Fixture::new();
    let (old, mut new) = (noise(1, 1000), noise(1, 1000));
    new[500] ^= 1;
    let changes = fixture.changes(
        MODEL,
        &raw(&[("w", "F4", &[2000], &old), ("empty", "F32", &[0], &[])]),
        &raw(&[("w", "F4", &[2000], &new), ("empty", "F32", &[0], &[])]),
    );
    let moved = &changes.moved[0];
    assert!(!moved.by_value);
    assert_eq!((moved.distance.elements, moved.distance.equal), (1000, 999));
    assert_eq!((moved.distance.relative(), moved.distance.cosine()), (None, None));
    assert_eq!(changes.unchanged, 1);
    // The same numbers in the order of columns: other bytes, and nothing that could be subtracted.
    let array = |fortran: &str| {
        let dict = format!("{{'descr': '<f4', 'fortran_order': {fortran}, 'shape': (20, 10), }}");
        let header = format!("{dict:<117}\n");
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(
            normal(if fortran == "True" { 1 } else { 2 }, 200)
                .iter()
                .flat_map(|value| value.to_le_bytes()),
        );
        bytes
    };
    let fixture = Fixture::new();
    let changes = fixture.changes("a.npy", &array("False"), &array("True"));
    assert_eq!((changes.changed.len(), changes.moved.len()), (1, 0));
}

#[test]
fn metadata_is_compared_by_key() {
    let fixture = Fixture::new();
    let build = |metadata: serde_json::Value| {
        let header = serde_json::json!({ "__metadata__": metadata, "w": { "dtype": "U8", "shape": [1], "data_offsets": [0, 1] } });
        let text = header.to_string();
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &[7]].concat()
    };
    let changes = fixture.changes(
        MODEL,
        &build(serde_json::json!({"format": "pt", "gone": "1", "same": "x"})),
        &build(serde_json::json!({"format": "np", "fresh": "2", "same": "x"})),
    );
    let found: Vec<_> = changes
        .metadata
        .iter()
        .map(|entry| (&*entry.key, entry.old.as_deref(), entry.new.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("format", Some("pt"), Some("np")),
            ("fresh", None, Some("2")),
            ("gone", Some("1"), None)
        ]
    );
}

#[test]
fn a_hundred_thousand_tensors_are_compared() {
    let fixture = Fixture::new();
    let names: Vec<String> = (0..100_000).map(|index| format!("l.{index}.w")).collect();
    let build = |seed: u8| {
        let byte = |index: usize| if index % 1000 == 7 { seed } else { index as u8 };
        let bytes: Vec<[u8; 2]> = (0..names.len()).map(|index| [byte(index), 0x3f]).collect();
        let parts: Vec<(&str, &str, &[usize], &[u8])> = names
            .iter()
            .zip(&bytes)
            .map(|(name, bytes)| (name.as_str(), "BF16", &[][..], &bytes[..]))
            .collect();
        raw(&parts)
    };
    fixture.write(MODEL, &build(201));
    let one = fixture.commit();
    fixture.write(MODEL, &build(202));
    let other = fixture.commit();
    let changes = fixture.compare(one, other);
    assert_eq!(
        (changes.changed.len(), changes.moved.len(), changes.unchanged),
        (100, 100, 99_900)
    );
    assert_eq!(changes.groups(Level::Layer).len(), 100_000);
}

#[test]
fn files_that_lie_are_no_models() {
    let good = file(&[f32s("w", &[300], &normal(1, 300))]);
    let overlapping = {
        let header = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
        [&(header.len() as u64).to_le_bytes()[..], header, &[0; 12]].concat()
    };
    for bad in [&good[..good.len() - 1], &overlapping] {
        for (old, new) in [(&good[..], bad), (bad, &good[..])] {
            let fixture = Fixture::new();
            fixture.write(MODEL, old);
            let before = fixture.commit();
            fixture.write(MODEL, new);
            let on_disk = fixture
                .repository
                .compare_to(Depth::Values, &before, &Version::Worktree, &[], &Silent);
            assert_eq!(on_disk.unwrap().modified[0].tensors, None);
            let after = fixture.commit();
            let stored = fixture
                .repository
                .compare_to(Depth::Values, &before, &after, &[], &Silent);
            assert_eq!(stored.unwrap().modified[0].tensors, None);
        }
    }
}

#[test]
fn a_damaged_chunk_is_an_error_and_no_number() {
    let fixture = Fixture::new();
    let build = |seed| file(&[f32s("w", &[1 << 20], &normal(seed, 1 << 20))]);
    fixture.write(MODEL, &build(1));
    let one = fixture.commit();
    fixture.write(MODEL, &build(2));
    let other = fixture.commit();
    assert_eq!(fixture.damage(other, |index, _| index == 2), 1);
    let compared = fixture.repository.compare_to(Depth::Values, &one, &other, &[], &Silent);
    assert!(compared.is_err());
}
