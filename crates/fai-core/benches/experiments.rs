//! What questions about a long history take: entering 100,000 commits, then asking for experiments and words.
//!
//! `cargo bench -p fai-core --bench experiments [-- COMMITS]` prints a line for each question. Every commit has four params
//! and three metrics; every tenth changes a file of its own, every thousandth a model of 300 tensors.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench that fails must stop, and it prints what it found"
)]

use std::collections::BTreeMap;
use std::time::Instant;

use fai_core::Repository;
use fai_core::database::{Database, FileRecord, Found, TensorRecord};
use fai_core::object::{Author, Commit, CommitId, ContentHash, FileId, Id, Kind, Object, Time, Tree, TreeEntry, Value};
use fai_core::repo::{Among, ExperimentQuery, Filter, InitOptions, Preference, SearchQuery};

fn main() {
    let count = std::env::args()
        .skip(1)
        .find_map(|text| text.parse().ok())
        .unwrap_or(100_000u64);
    let folder = tempfile::tempdir().unwrap();
    let (repository, _) = Repository::init(folder.path(), InitOptions::default()).unwrap();
    let database = Database::open(&repository.directory().join("db.sqlite")).unwrap();
    let tip = history(&repository, &database, count);
    let moved = |writer: &fai_core::database::Writer<'_>| writer.move_ref("refs/heads/main", None, Some(tip));
    assert!(database.transaction(moved).unwrap());

    let all = |filter: &str, sort: Option<(String, bool)>| {
        let filter = match filter {
            "" => Filter::default(),
            text => Filter::parse(text).unwrap(),
        };
        let query = ExperimentQuery {
            among: Among::All,
            filter,
            sort,
            limit: 20,
        };
        repository.experiments(&query).unwrap().len()
    };
    let before = size(&repository);
    measure("enter all commits", || all("", None));
    println!(
        "{:<40} {:>9} KB",
        "the tables take",
        (size(&repository) - before) / 1000
    );
    measure("exp -n 20", || all("", None));
    measure("exp --sort -accuracy -n 20", || {
        all("", Some(("accuracy".into(), true)))
    });
    measure("exp --filter 'lr<1e-3 and optimizer=adamw'", || {
        all("lr<1e-3 and optimizer=adamw", None)
    });
    measure("best accuracy", || {
        let best = repository.best_experiment(&Among::All, &Filter::default(), "accuracy", Preference::Max);
        usize::from(best.unwrap().is_some())
    });
    for text in [
        "layers.12.mlp",
        "adamw",
        "step 4711",
        "checkpoint",
        "notes-4710",
        "llama",
    ] {
        measure(&format!("search {text}"), || {
            let query = SearchQuery {
                text: text.to_owned(),
                kinds: Found::ALL.to_vec(),
                parameters: None,
                limit: 20,
            };
            repository.search(&query).unwrap().hits.len()
        });
    }
}

fn size(repository: &Repository) -> u64 {
    let len = |name: &str| {
        repository
            .directory()
            .join(name)
            .metadata()
            .map_or(0, |metadata| metadata.len())
    };
    len("db.sqlite") + len("db.sqlite-wal")
}

fn measure(what: &str, work: impl FnOnce() -> usize) {
    let started = Instant::now();
    let found = work();
    println!(
        "{what:<40} {:>9.1} ms   {found} found",
        started.elapsed().as_secs_f64() * 1000.0
    );
}

/// A line of commits; gives the last.
fn history(repository: &Repository, database: &Database, count: u64) -> CommitId {
    let (tip, _) = repository
        .store()
        .write(2, &|_| (), |feeder| {
            let (mut parent, mut model) = (None, file(0));
            let mut tree = None;
            for number in 0..count {
                if number % 1000 == 0 {
                    model = file(number);
                    describe(database, model);
                }
                if tree.is_none() || number % 10 == 0 {
                    let entries = vec![
                        TreeEntry::file("model.safetensors", model, 1000, false),
                        TreeEntry::file(format!("notes-{number}.txt"), file(number + 1_000_000), 10, false),
                    ];
                    let fresh = Tree::new(entries).unwrap();
                    feeder.object(Kind::Tree, fresh.encode())?;
                    tree = Some(fresh.id());
                }
                let commit = commit(number, tree.unwrap(), parent);
                feeder.object(Kind::Commit, commit.encode())?;
                parent = Some(commit.id());
            }
            Ok(parent.unwrap())
        })
        .unwrap();
    tip
}

fn file(number: u64) -> FileId {
    FileId::of(&number.to_le_bytes())
}

fn describe(database: &Database, file: FileId) {
    let tensor = |index: usize| TensorRecord {
        name: format!("model.layers.{}.mlp.part_{}.weight", index / 10, index % 10),
        dtype: "bf16".into(),
        shape: "[10,10]".into(),
        start: index as u64 * 200,
        end: index as u64 * 200 + 200,
    };
    let tensors: Vec<TensorRecord> = (0..300).map(tensor).collect();
    let record = FileRecord {
        file,
        content: ContentHash::from_hash(*file.hash()),
        size: 60_000,
        format: Some("safetensors".into()),
        parameters: Some(30_000),
        tensors: 300,
        metadata: "{\"general.architecture\": \"llama\"}".into(),
        refusal: None,
    };
    database
        .transaction(|writer| writer.insert_file(&record, &tensors))
        .unwrap();
}

fn commit(number: u64, tree: fai_core::object::TreeId, parent: Option<CommitId>) -> Commit {
    let share = (number * 7919 % 10_007) as f64 / 10_007.0;
    let map = |pairs: Vec<(&str, Value)>| {
        Value::Map(
            pairs
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    };
    let optimizer = if number.is_multiple_of(50) { "adamw" } else { "sgd" };
    let params = map(vec![
        ("lr", Value::Float(share * 1e-2)),
        ("optimizer", Value::Text(optimizer.into())),
        ("seed", Value::Int(number as i64)),
        ("batch", Value::Int(32)),
    ]);
    let metrics = map(vec![
        ("accuracy", Value::Float(share)),
        ("loss", Value::Float(1.0 - share)),
        ("step", Value::Int(number as i64 * 100)),
    ]);
    Commit {
        tree,
        parents: parent.into_iter().collect(),
        author: Author {
            name: "Ada".into(),
            email: "ada@example.org".into(),
        },
        time: Time {
            seconds: 1_700_000_000 + number as i64 * 60,
            offset_minutes: 0,
        },
        message: format!("Checkpoint at step {number}"),
        metadata: BTreeMap::from([("params".to_owned(), params), ("metrics".to_owned(), metrics)]),
        signature: None,
    }
}
