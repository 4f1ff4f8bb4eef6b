//! `fai demo`

mod peers;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fai_core::Repository;
use fai_core::object::{Author, ContentHash, Hash, RepoPath};
use fai_core::repo::{AddOptions, AddReport, CommitRequest, FsckOptions, InitOptions, Version};
use serde_json::{Value, json};

use super::diff;
use crate::context::Context;
use crate::ui::format::{percent, size};
use crate::ui::{Bar, Symbol};

/// See the main job done: a model and its fine-tune, added, committed, compared, checked out, verified
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fai demo --size 256\n\nWorks in a temporary folder and removes it again.")]
pub struct Args {
    /// Size of the generated model in megabytes
    #[arg(long, value_name = "MB", default_value_t = 96, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    size: u32,
}

const MODEL: &str = "model.safetensors";

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let out = &context.out;
        let folder = tempfile::Builder::new()
            .prefix("fai-demo-")
            .tempdir()
            .context("no temporary folder")?;
        let work = folder.path().join("work");
        let (repository, _) = Repository::init(&work, InitOptions::default())?;
        out.say(
            Symbol::Done,
            format!("Initialized FAI repository in {}", repository.directory().display()),
        )?;

        let model = work.join(MODEL);
        let bytes = u64::from(self.size) * 1_000_000;
        write_model(&model, bytes, None)?;
        let first = self.version(context, &repository, "Base model")?;
        let base = hash(&model)?;
        write_model(&model, bytes, Some(FINE_TUNED))?;
        let second = self.version(context, &repository, "Fine-tune the last layer")?;
        let tuned = hash(&model)?;

        let revisions = (repository.resolve("HEAD~1")?, repository.resolve("HEAD")?);
        let versions = (Version::Commit(revisions.0), Version::Commit(revisions.1));
        diff::print(context, &repository, &versions.0, &versions.1)?;

        let stats = repository.stats()?;
        let saved = format!(
            "Two versions of {} take {} instead of {}: {} saved",
            size(bytes),
            size(stats.stored_bytes),
            size(stats.logical_bytes),
            percent(stats.savings())
        );
        out.say(Symbol::Summary, saved)?;

        let started = Instant::now();
        for (commit, expected, name) in [(revisions.0, base, "base"), (revisions.1, tuned, "fine-tune")] {
            let place = folder.path().join(name);
            repository.export(commit, &RepoPath::root(), &place, false, &Bar::new(*out, "Writing"))?;
            ensure!(
                hash(&place.join(MODEL))? == expected,
                "the {name} came back with other bytes"
            );
        }
        let checked_out = rate(2 * bytes, started.elapsed());
        out.say(
            Symbol::Done,
            format!("Checked out both into empty folders, byte for byte the same ({checked_out})"),
        )?;
        let options = FsckOptions {
            full: true,
            rebuild: false,
            patience: std::time::Duration::ZERO,
        };
        let checked = repository.fsck(&options, &Bar::new(*out, "Verifying"))?;
        ensure!(checked.ok(), "fsck found problems: {:?}", checked.problems);
        out.say(Symbol::Done, "Verified every stored byte against its BLAKE3 hash")?;

        let clone = folder.path().join("clone");
        let cloned = peers::clone_over_loopback(folder.path(), &work, &clone)?;
        ensure!(hash(&clone.join(MODEL))? == tuned, "the clone has other bytes");
        let number = |field| cloned.get(field).and_then(Value::as_u64).unwrap_or_default();
        let seconds = cloned.get("seconds").and_then(Value::as_f64).unwrap_or_default();
        let took = Duration::from_secs_f64(seconds);
        let text = format!(
            "Served it, and cloned it with another key over loopback: {} commits, {} as {} on the wire ({})",
            number("commits"),
            size(number("bytes")),
            size(number("wire_bytes")),
            rate(number("bytes"), took)
        );
        out.say(Symbol::Network, text)?;
        out.document(&json!({
            "model_bytes": bytes,
            "versions": [document(&first), document(&second)],
            "logical_bytes": stats.logical_bytes,
            "stored_bytes": stats.stored_bytes,
            "savings": stats.savings(),
            "identical": true,
            "verified": true,
            "clone": cloned,
        }))
    }

    /// Adds and commits the model as it is now.
    fn version(&self, context: &Context, repository: &Repository, message: &str) -> Result<AddReport> {
        let started = Instant::now();
        let report = repository.add(
            &[RepoPath::root()],
            AddOptions::default(),
            &Bar::new(context.out, "Adding"),
        )?;
        let request = CommitRequest {
            message: Some(message.to_owned()),
            author: Some(Author {
                name: "FAI demo".into(),
                email: String::new(),
            }),
            time: context.now()?,
            ..CommitRequest::default()
        };
        let commit = repository.commit(&request)?;
        for file in &report.files {
            let (new, all) = (file.new_chunks, file.chunks);
            let rate = rate(file.size, started.elapsed());
            let text = format!(
                "Added {} ({}): {new} of {all} chunks new, {} stored ({rate}, durable)",
                file.path,
                file.file.short(),
                size(file.stored_bytes)
            );
            context.out.say(Symbol::Done, text)?;
        }
        context.out.say(
            Symbol::Done,
            format!("Created commit {} - {message:?}", commit.id.short()),
        )?;
        Ok(report)
    }
}

fn document(report: &AddReport) -> Value {
    let file = |file: &fai_core::repo::AddedFile| {
        json!({
            "path": file.path.as_str(), "size": file.size, "chunks": file.chunks,
            "new_chunks": file.new_chunks, "stored_bytes": file.stored_bytes,
        })
    };
    report.files.iter().map(file).collect()
}

fn rate(bytes: u64, time: Duration) -> String {
    format!("{}/s", size((bytes as f64 / time.as_secs_f64().max(1e-6)) as u64))
}

fn hash(path: &Path) -> Result<ContentHash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path)?)?;
    Ok(ContentHash::from_hash(Hash::from_bytes(*hasher.finalize().as_bytes())))
}

/// Layers of the generated model; the last one is fine-tuned.
const LAYERS: u64 = 8;
const FINE_TUNED: u64 = LAYERS - 1;

/// Writes a bf16 safetensors model with near-Gaussian weights, `tuned` naming the layer that differs from the base.
/// The weights are the same on every machine.
fn write_model(path: &Path, bytes: u64, tuned: Option<u64>) -> Result<()> {
    let columns = 1024;
    let rows = (bytes / (2 * columns * LAYERS)).max(1);
    let len = 2 * columns * rows;
    let tensor = |layer: u64| {
        let offsets = [layer * len, (layer + 1) * len];
        let entry = json!({ "dtype": "BF16", "shape": [rows, columns], "data_offsets": offsets });
        (format!("model.layers.{layer}.mlp.weight"), entry)
    };
    let header: serde_json::Map<String, serde_json::Value> = (0..LAYERS).map(tensor).collect();
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for layer in 0..LAYERS {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (layer << 32));
        let step = if tuned == Some(layer) { 1.002 } else { 1.0 };
        for _ in 0..columns * rows {
            file.write_all(&bf16(random.gaussian() * 0.02 * step).to_le_bytes())?;
        }
    }
    Ok(file.flush()?)
}

/// The upper half of a binary32, rounded to nearest even.
fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// xorshift64 (Marsaglia 2003): enough for weights that only look trained.
struct Random(u64);

impl Random {
    /// Irwin-Hall: the sum of eight uniform bytes, centred and scaled to a deviation of one, is nearly Gaussian.
    fn gaussian(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let sum: u64 = (0..8).map(|index| (self.0 >> (8 * index)) & 0xff).sum();
        (sum as f32 - 1020.0) / 209.0
    }
}
