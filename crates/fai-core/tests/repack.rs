//! Repacking: fewer packs and shorter chains with the same content, whatever happens on the way. And collections where
//! chunks stand on others.

// Helpers of integration tests are outside clippy's "in tests" exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{FULL, Fixture, REBUILD, everything, noise};
use fai_core::object::{Hash, Id, Kind};
use fai_core::repo::{Error, Event, GcOptions, Progress, RepackOptions, RepackReport, Repository, Silent};

const USUAL: RepackOptions = RepackOptions {
    max: false,
    dry_run: false,
    patience: Duration::from_millis(100),
};

const NOW: GcOptions = GcOptions {
    now: 1_800_000_000,
    age: None,
    dry_run: false,
    patience: Duration::from_millis(100),
};

fn repack(fixture: &Fixture, options: RepackOptions) -> RepackReport {
    fixture.open().repack(&options, &Silent).unwrap()
}

#[track_caller]
fn assert_sound(fixture: &Fixture) {
    assert_eq!(fixture.fsck(FULL).problems, []);
}

/// The one number that a query gives.
fn number(fixture: &Fixture, sql: &str) -> i64 {
    let connection = rusqlite::Connection::open(fixture.database()).unwrap();
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Deltas, and those among them that stand on deltas.
fn deltas(fixture: &Fixture) -> (i64, i64) {
    let chains = "SELECT count(*) FROM records r JOIN records b ON b.hash = r.base WHERE b.base IS NOT NULL";
    let all = "SELECT count(*) FROM records WHERE base IS NOT NULL";
    (number(fixture, all), number(fixture, chains))
}

/// In so many of a hundred places all versions but the first have the same weights: enough for each to be a little closer
/// to the one before than to the first, so that chains arise, and not so much that a shorter chain would cost a lot.
const ALIKE: usize = 40;

/// A model of bf16 weights, of which version `version` differs a little from version 0.
fn model(version: u64) -> Vec<u8> {
    const COUNT: usize = 60_000;
    let header = format!(
        r#"{{"w":{{"dtype":"BF16","shape":[{COUNT}],"data_offsets":[0,{}]}}}}"#,
        2 * COUNT
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    let (weights, common, own) = (noise(5, 2 * COUNT), noise(99, COUNT), noise(100 + version, COUNT));
    for (index, pair) in weights.chunks(2).enumerate() {
        let change = if index % 100 < ALIKE { common[index] } else { own[index] };
        let nudge = u16::from(version > 0 && change < 60) * u16::from(change % 3 + 1);
        let weight = 0x3c00 | (u16::from(pair[0]) << 1 & 0x1ff) | (u16::from(pair[1] & 1) << 15);
        bytes.extend_from_slice(&weight.wrapping_add(nudge).to_le_bytes());
    }
    bytes
}

/// Versions of a model, each on top of the one before, and of a text.
fn family() -> Fixture {
    let mut fixture = Fixture::new();
    for version in 0..4 {
        fixture.write("model.safetensors", &model(version));
        fixture.write("notes.txt", format!("version {version} ").repeat(3000).as_bytes());
        fixture.commit("one more");
    }
    assert_eq!(deltas(&fixture), (3, 2));
    fixture
}

/// Version 0 of that model with changes of its own, as a fine-tune has them.
fn tuned(number: u64) -> Vec<u8> {
    let mut bytes = model(0);
    let begin = bytes.len() - 120_000;
    let own = noise(1000 + number, 60_000);
    for (pair, change) in bytes[begin..].chunks_mut(2).zip(own) {
        let nudge = u16::from(change < 60) * u16::from(change % 7 + 1);
        let weight = u16::from_le_bytes([pair[0], pair[1]]).wrapping_add(nudge);
        pair.copy_from_slice(&weight.to_le_bytes());
    }
    bytes
}

/// Fine-tunes that came before what they were made from: the first one stands alone and everything hangs on it.
fn disorder() -> Fixture {
    let mut fixture = Fixture::new();
    for number in 1..4 {
        fixture.write(&format!("tuned-{number}.safetensors"), &tuned(number));
        fixture.commit("a fine-tune");
    }
    fixture.write("base.safetensors", &model(0));
    fixture.commit("the base");
    fixture
}

/// The bytes that all chunks take.
fn payloads(fixture: &Fixture) -> i64 {
    number(fixture, "SELECT sum(encoded_len) FROM records WHERE kind = 1")
}

/// The base of the largest chunk of the file at `path`, and its id.
fn standing(fixture: &Fixture, path: &str) -> (Option<Hash>, Hash) {
    let repository = fixture.open();
    let listed = repository.list(None, &fai_core::object::RepoPath::parse(path).unwrap());
    let chunks = repository.chunks(listed.unwrap()[0].file).unwrap().chunks;
    let id = chunks.iter().max_by_key(|chunk| chunk.size).unwrap().id;
    let located = repository.store().locate(Kind::Chunk, id.hash()).unwrap();
    (located.header.base, *id.hash())
}

#[test]
fn what_came_before_its_base_stands_on_it_in_the_end() {
    let fixture = disorder();
    let (above, base) = standing(&fixture, "base.safetensors");
    assert!(above.is_some(), "the base came last");
    let (files, bytes) = (everything(&fixture.open()), payloads(&fixture));
    let plan = repack(&fixture, RepackOptions { dry_run: true, ..USUAL });
    let done = repack(&fixture, USUAL);
    assert!(done.rebased + done.shortened >= 3, "{done:?}");
    assert!(
        payloads(&fixture) < bytes - bytes / 20,
        "{} of {bytes}",
        payloads(&fixture)
    );
    assert!(done.written_bytes - done.removed_bytes.min(done.written_bytes) <= plan.needed_bytes);
    assert_eq!(standing(&fixture, "base.safetensors"), (None, base));
    for number in 1..4 {
        let (on, _) = standing(&fixture, &format!("tuned-{number}.safetensors"));
        assert_eq!(on, Some(base), "fine-tune {number}");
    }
    assert_eq!(deltas(&fixture), (3, 0));
    assert_eq!(everything(&fixture.open()), files);
    assert_sound(&fixture);
    assert_eq!(repack(&fixture, USUAL).chosen, 0, "there is nothing left to do");
    assert_eq!(fixture.fsck(REBUILD).problems, []);
    assert_eq!(everything(&fixture.open()), files);
}

#[test]
fn a_single_file_without_a_base_finds_one() {
    let mut fixture = Fixture::new();
    fixture.write("base.safetensors", &model(0));
    fixture.commit("the base");
    let base = standing(&fixture, "base.safetensors").1;
    for number in 1..9 {
        fixture.write(&format!("tuned-{number}.safetensors"), &tuned(number));
        if number == 5 {
            // As if the base had not been known.
            fixture.sql("UPDATE newest_tensors SET name = name || '?'");
        }
        fixture.commit("a fine-tune");
    }
    assert_eq!(standing(&fixture, "tuned-5.safetensors").0, None);
    let files = everything(&fixture.open());
    let done = repack(&fixture, USUAL);
    assert!(done.rebased > 0, "{done:?}");
    assert_eq!(standing(&fixture, "tuned-5.safetensors").0, Some(base));
    assert_eq!(everything(&fixture.open()), files);
    assert_sound(&fixture);
    assert_eq!(repack(&fixture, USUAL).chosen, 0);
}

#[test]
fn small_packs_come_together_and_chains_get_shorter() {
    let fixture = family();
    let before = everything(&fixture.open());
    let packs = fixture.packs().len();
    assert!(packs >= 8);
    let dry = repack(&fixture, RepackOptions { dry_run: true, ..USUAL });
    assert_eq!((dry.chosen, dry.packs_written), (packs as u64, 0));
    assert_eq!(fixture.packs().len(), packs);
    let reader = fixture.open();
    let done = repack(&fixture, USUAL);
    assert_eq!(
        (done.packs_removed, done.packs_written, done.shortened),
        (packs as u64, 1, 2)
    );
    assert!(done.written_bytes <= done.needed_bytes + done.needed_bytes / 20);
    assert_eq!(fixture.packs().len(), 1);
    assert_eq!(deltas(&fixture), (3, 0));
    assert_eq!(everything(&fixture.open()), before);
    assert_eq!(everything(&reader), before, "one that was open before");
    assert_sound(&fixture);
    // There is nothing left to do.
    let again = repack(&fixture, USUAL);
    assert_eq!((again.chosen, again.packs_written), (0, 0));
    assert_eq!(fixture.fsck(REBUILD).problems, []);
    assert_eq!(everything(&fixture.open()), before);
}

#[test]
fn the_most_is_more_than_the_usual() {
    let mut fixture = Fixture::new();
    let text: Vec<u8> = (0..40_000u64)
        .flat_map(|n| format!("{} steps, ", n * n % 9973).into_bytes())
        .collect();
    fixture.write("log.txt", &text);
    fixture.commit("a log");
    let before = everything(&fixture.open());
    let done = repack(&fixture, RepackOptions { max: true, ..USUAL });
    assert!(
        done.recompressed > 0 && done.written_bytes < done.removed_bytes,
        "{done:?}"
    );
    assert_eq!(everything(&fixture.open()), before);
    assert_sound(&fixture);
}

#[test]
fn of_two_at_once_the_second_is_refused() {
    let fixture = family();
    let lock = fs::File::create(fixture.root().join(".fai/repack.lock")).unwrap();
    lock.lock().unwrap();
    let error = fixture.open().repack(&USUAL, &Silent).unwrap_err();
    assert!(matches!(error, Error::BeingCollected(_)), "{error}");
    drop(lock);
    // Writers are waited for, but not for ever.
    let repository = fixture.open();
    let quarantine = repository.quarantine().unwrap();
    let error = repository.repack(&USUAL, &Silent).unwrap_err();
    assert!(matches!(error, Error::BeingWritten(_)), "{error}");
    drop(quarantine);
    assert!(repository.repack(&USUAL, &Silent).is_ok());
}

#[test]
fn a_pack_with_a_damaged_record_stays_and_others_are_repacked() {
    let fixture = family();
    let before = fixture.packs().len() as u64;
    let (pack, at) = fixture.pack_with(&model(0)[..20]);
    // The header of the model is in a pack with its first weights: what stands on these cannot be checked either.
    let mut bytes = fs::read(&pack).unwrap();
    bytes[at + 2] ^= 1;
    fs::write(&pack, &bytes).unwrap();
    let done = repack(&fixture, USUAL);
    assert_eq!(done.kept.len(), 1, "{done:?}");
    assert_eq!(done.packs_removed, before - 1);
    assert!(pack.exists());
    assert_eq!(fixture.fsck(FULL).problems.len(), 1);
}

#[test]
fn a_base_stays_as_long_as_something_stands_on_it() {
    let mut fixture = family();
    let newest = model(3);
    // Only the last version is kept, in a history of its own.
    fixture.sql("DELETE FROM refs; DELETE FROM operations");
    fixture.commit("only the last one");
    let chunks = number(&fixture, "SELECT count(*) FROM records WHERE kind = 1");
    let report = fixture.open().gc(&NOW, &Silent).unwrap();
    assert!(report.removed > 0);
    assert_eq!(deltas(&fixture), (3, 2), "the chain below the last version is needed");
    assert!(
        number(&fixture, "SELECT count(*) FROM records WHERE kind = 1") < chunks,
        "older texts are not"
    );
    assert_sound(&fixture);
    assert_eq!(fixture.errors_when_read(), 0);
    // With a shorter chain what lies between goes.
    assert_eq!(repack(&fixture, USUAL).shortened, 2);
    assert!(fixture.open().gc(&NOW, &Silent).unwrap().removed >= 2);
    assert_eq!(deltas(&fixture), (1, 0));
    assert_sound(&fixture);
    assert!(fs::read(fixture.root().join("model.safetensors")).unwrap() == newest);
    assert_eq!(fixture.errors_when_read(), 0);
}

#[test]
fn chains_go_from_their_loose_end() {
    let mut fixture = family();
    fixture.sql("DELETE FROM refs; DELETE FROM operations; DELETE FROM staging");
    fs::remove_file(fixture.root().join("model.safetensors")).unwrap();
    fixture.commit("only text");
    assert!(fixture.open().gc(&NOW, &Silent).unwrap().removed > 4);
    assert_eq!(deltas(&fixture), (0, 0));
    assert_sound(&fixture);
    fixture.write("model.safetensors", &model(2));
    fixture.commit("again");
    assert_eq!(fixture.errors_when_read(), 0);
    assert_sound(&fixture);
}

#[test]
fn what_an_interrupted_transfer_brought_keeps_what_it_stands_on() {
    use fai_core::chunking::Span;
    use fai_core::storage::BaseHint;
    use fai_core::tensor::Element;
    let mut fixture = family();
    let base = fixture.open().resolve("HEAD~3").unwrap();
    let repository = fixture.open();
    let file = repository
        .list(Some(base), &fai_core::object::RepoPath::root())
        .unwrap()[0]
        .file;
    let mut chunk = None;
    let reader = repository.open_file(file).unwrap();
    reader
        .for_each_chunk(&mut |_, extent| {
            chunk = Some(extent.hash);
            Ok::<_, Error>(())
        })
        .unwrap();
    let chunk = chunk.unwrap();
    drop(reader);
    let model = model(9);
    let body = model[model.len() - 120_000..].to_vec();
    let quarantine = repository.quarantine().unwrap();
    let spans = vec![Span::Steps {
        range: 0..body.len() as u64,
        element: Element::Bf16,
    }];
    let hint = BaseHint {
        chunk,
        element: Element::Bf16,
        first: 0,
    };
    let feed = |feeder: &mut fai_core::storage::Feeder<'_>| {
        let content = feeder.chunks(&body, spans, &mut |_, _, _| Some(hint))?;
        Ok(feeder.end_file(content)?)
    };
    quarantine.store().write(1, &|_| (), feed).unwrap();
    drop(quarantine);
    let quarantined = || {
        let path = fixture.root().join(".fai/quarantine/0/db.sqlite");
        let connection = rusqlite::Connection::open(path).unwrap();
        let count = "SELECT count(*) FROM records WHERE base IS NOT NULL";
        connection.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(quarantined(), 1);
    // Nothing in the repository leads to the base any more.
    fixture.sql("DELETE FROM refs; DELETE FROM operations; DELETE FROM staging");
    fs::remove_file(fixture.root().join("model.safetensors")).unwrap();
    fixture.commit("only text");
    let report = repository.gc(&NOW, &Silent).unwrap();
    assert!(report.removed > 0 && report.waiting == 1, "{report:?}");
    let quarantine = repository.quarantine().unwrap();
    let of_body = Kind::Chunk.hash(&body);
    let same = |bytes: &[u8], _: &_| bytes == body;
    assert!(quarantine.store().with(Kind::Chunk, &of_body, same).unwrap());
    quarantine.remove().unwrap();
    assert_eq!(repository.gc(&NOW, &Silent).unwrap().removed, 1);
    assert_sound(&fixture);
}

/// Names the repository that the child process repacks, and the step at which it dies.
const SWITCH: &str = "FAI_TEST_CRASHING_REPACK";

/// Dies at the step of that number.
struct Dying(AtomicUsize);

impl Progress for Dying {
    fn on(&self, event: Event<'_>) {
        if matches!(event, Event::File(_)) && self.0.fetch_sub(1, Ordering::Relaxed) == 0 {
            std::process::abort();
        }
    }
}

#[test]
fn crashing_repack() {
    let Ok(what) = std::env::var(SWITCH) else { return };
    let (step, root) = what.split_once(' ').unwrap();
    let repository = Repository::open(Path::new(root)).unwrap().with_threads(2);
    repository
        .repack(&USUAL, &Dying(AtomicUsize::new(step.parse().unwrap())))
        .unwrap();
}

#[test]
fn a_kill_at_any_step_loses_nothing() {
    kill_at_every_step(family);
}

#[test]
fn a_kill_while_a_base_and_what_stood_on_it_change_places_loses_nothing() {
    kill_at_every_step(disorder);
}

fn kill_at_every_step(family: impl Fn() -> Fixture) {
    let mut step = 0;
    loop {
        let fixture = family();
        let before = everything(&fixture.open());
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["crashing_repack", "--exact"])
            .env(SWITCH, format!("{step} {}", fixture.root().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.code().is_none_or(|code| code == 0), "step {step}: {status}");
        let mut report = fixture.fsck(FULL);
        report.problems.retain(|problem| problem.kind != "unindexed_pack");
        assert_eq!(report.problems, [], "killed at step {step}");
        assert_eq!(everything(&fixture.open()), before, "killed at step {step}");
        match step % 3 {
            // Two generations lie beside each other, and the index is made anew from both.
            0 => assert_eq!(fixture.fsck(REBUILD).problems, [], "killed at step {step}"),
            1 => drop(fixture.open().gc(&NOW, &Silent).unwrap()),
            _ => {}
        }
        assert_eq!(everything(&fixture.open()), before, "killed at step {step}");
        repack(&fixture, USUAL);
        assert_sound(&fixture);
        assert_eq!(everything(&fixture.open()), before, "killed at step {step}");
        assert_eq!(
            (fixture.packs().len(), deltas(&fixture)),
            (1, (3, 0)),
            "killed at step {step}"
        );
        if status.code().is_some() {
            break;
        }
        step += 1;
    }
    assert!(step >= 5, "only {step} steps");
}
