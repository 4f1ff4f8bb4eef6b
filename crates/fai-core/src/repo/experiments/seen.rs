//! What a commit brings for the search: paths and models that its first parent does not have, and which commit those were
//! last seen in that it takes away. Only folders that differ are read.

use std::collections::HashMap;
use std::io::Read;

use super::super::describe::{architecture, describe_layout};
use super::super::{Error, Repository};
use crate::database::{Database, FileRecord, ModelRow, RowId, TensorRecord, Words, Writer};
use crate::object::{Commit, FileId, Manifest, RepoPath, Tree, TreeEntry};
use crate::tensor::examine;

/// The longest `config.json` that is read.
const MAX_CONFIG: u64 = 1 << 20;

/// Paths that one commit brings at the most; what more it has is not found by name.
const MAX_PATHS: usize = 200_000;

/// Names of tensors that one model brings at the most.
const MAX_TENSORS: usize = 100_000;

/// Files that are remembered at the most.
const MAX_KNOWN: usize = 100_000;

/// Names of files that are looked into when they came from elsewhere. The content decides what a model is; but of a hundred
/// thousand pictures none has to be opened to find out.
const ENDINGS: [&str; 9] = ["safetensors", "gguf", "onnx", "pt", "pth", "bin", "ckpt", "npy", "npz"];

/// Names and architectures that are longer are cut.
const MAX_WORDS: usize = 500;

/// A model that a commit brings.
pub(super) struct SeenModel {
    pub row: ModelRow,
    pub words: String,
    pub tensors: Vec<String>,
    /// A file that nobody described so far, as those that came from peers.
    pub fresh: Option<(FileRecord, Vec<TensorRecord>)>,
}

/// What a commit brings and takes away.
#[derive(Default)]
pub(super) struct Seen {
    pub brought: Vec<String>,
    pub models: Vec<SeenModel>,
    /// Paths that its first parent is the last to have.
    pub taken: Vec<String>,
}

impl Seen {
    /// About how much there is to enter.
    pub fn paths(&self) -> usize {
        let tensors: usize = self.models.iter().map(|model| model.tensors.len() + 1).sum();
        self.brought.len() + self.taken.len() + tensors
    }
}

/// What was found out on the way, for the next commits.
#[derive(Default)]
pub(super) struct Knowledge {
    architectures: HashMap<FileId, String>,
    models: HashMap<FileId, Option<Model>>,
}

#[derive(Clone)]
struct Model {
    format: String,
    parameters: u64,
    own_architecture: String,
    names: [u8; 32],
}

impl Repository {
    /// Compares a commit with its first parent, if that is here.
    pub(super) fn seen(&self, commit: &Commit, parent: Option<&Commit>, known: &mut Knowledge) -> Result<Seen, Error> {
        let mut seen = Seen::default();
        let before = parent.map(|parent| parent.tree);
        if before == Some(commit.tree) {
            return Ok(seen);
        }
        let mut folders = vec![(RepoPath::root(), before, Some(commit.tree))];
        while let Some((folder, before, after)) = folders.pop() {
            let read = |id| -> Result<Tree, Error> { self.store().get(id) };
            let before = before.map(read).transpose()?.unwrap_or_default();
            let after = after.map(read).transpose()?.unwrap_or_default();
            let config = |tree: &Tree| tree.get("config.json").and_then(TreeEntry::file_id);
            let other_config = config(&before) != config(&after);
            for entry in after.entries() {
                let old = before.get(&entry.name);
                let same = old.is_some_and(|old| old.hash == entry.hash);
                let path = folder.join(&entry.name);
                match (entry.tree_id(), entry.file_id()) {
                    (Some(id), _) if !same => folders.push((path, old.and_then(TreeEntry::tree_id), Some(id))),
                    (None, Some(file)) if !same || other_config => {
                        if !same && seen.brought.len() < MAX_PATHS {
                            seen.brought.push(path.to_string());
                        }
                        seen.models.extend(self.seen_model(&path, file, config(&after), known)?);
                    }
                    _ => {}
                }
            }
            for entry in before.entries() {
                let new = after.get(&entry.name);
                match entry.tree_id() {
                    Some(id) if new.and_then(TreeEntry::tree_id).is_none() => {
                        folders.push((folder.join(&entry.name), Some(id), None));
                    }
                    None if new.is_none() && seen.taken.len() < MAX_PATHS => {
                        seen.taken.push(folder.join(&entry.name).to_string());
                    }
                    _ => {}
                }
            }
        }
        Ok(seen)
    }

    /// The model in a file, if there is one.
    fn seen_model(
        &self,
        path: &RepoPath,
        file: FileId,
        config: Option<FileId>,
        known: &mut Knowledge,
    ) -> Result<Option<SeenModel>, Error> {
        let (mut tensors, mut fresh) = (Vec::new(), None);
        if known.models.len() > MAX_KNOWN {
            known.models.clear();
        }
        // An entry cannot be held while the rest of `known` is asked.
        #[allow(clippy::map_entry)]
        if !known.models.contains_key(&file) {
            let described = match self.database().file(file)? {
                Some(record) => Some((record, self.database().tensors(file)?)),
                None if may_be_model(path) => {
                    fresh = self.described_now(file)?;
                    fresh.clone()
                }
                None => None,
            };
            let model = described.and_then(|(record, records)| {
                tensors = records
                    .into_iter()
                    .take(MAX_TENSORS)
                    .map(|tensor| tensor.name)
                    .collect();
                model(&record, &tensors)
            });
            known.models.insert(file, model);
        }
        let Some(model) = known.models.get(&file).cloned().flatten() else {
            return Ok(None);
        };
        let architecture = match config {
            Some(config) => self.architecture_in(config, known)?,
            None => String::new(),
        };
        let architecture = match architecture.is_empty() {
            true => model.own_architecture,
            false => architecture,
        };
        let words = format!("{architecture} {} {}", parts(&architecture), model.format);
        Ok(Some(SeenModel {
            row: ModelRow {
                path: path.to_string(),
                format: model.format,
                architecture,
                parameters: model.parameters,
                names: model.names,
                experiment: RowId(0),
            },
            words,
            tensors,
            fresh,
        }))
    }

    /// Describes a file that nobody described so far. `None` when its contents are not here.
    fn described_now(&self, file: FileId) -> Result<Option<(FileRecord, Vec<TensorRecord>)>, Error> {
        if !self.store().holds(file)? {
            return Ok(None);
        }
        let Ok(detected) = examine(&self.open_file(file)?) else {
            return Ok(None);
        };
        let manifest: Manifest = self.store().get(file)?;
        let found = describe_layout(detected);
        let record = found.record(file, manifest.content, manifest.size);
        Ok(Some((record, found.tensors)))
    }

    fn architecture_in(&self, config: FileId, known: &mut Knowledge) -> Result<String, Error> {
        if let Some(found) = known.architectures.get(&config) {
            return Ok(found.clone());
        }
        let mut text = Vec::new();
        if self.store().holds(config)? {
            // One that cannot be read names nothing; `fsck` says so.
            let _ = self.open_file(config)?.reader().take(MAX_CONFIG).read_to_end(&mut text);
        }
        let found: String = architecture(&text).unwrap_or_default();
        known.architectures.insert(config, found.clone());
        Ok(found)
    }
}

fn may_be_model(path: &RepoPath) -> bool {
    let ending = path.as_str().rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

fn model(record: &FileRecord, tensors: &[String]) -> Option<Model> {
    let own: std::collections::BTreeMap<String, String> = serde_json::from_str(&record.metadata).unwrap_or_default();
    let own = own.get("general.architecture").map(String::as_str).unwrap_or_default();
    let mut names: Vec<&String> = tensors.iter().collect();
    names.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for name in names {
        hasher.update(name.as_bytes()).update(&[0]);
    }
    Some(Model {
        format: record.format.clone()?,
        parameters: record.parameters.unwrap_or(0),
        own_architecture: own.chars().take(MAX_WORDS).collect(),
        names: *hasher.finalize().as_bytes(),
    })
}

/// `LlamaForCausalLM` as `Llama For Causal LM`.
fn parts(name: &str) -> String {
    let mut text = String::new();
    let mut before = ' ';
    for sign in name.chars() {
        if sign.is_uppercase() && before.is_lowercase() {
            text.push(' ');
        }
        text.push(sign);
        before = sign;
    }
    text
}

/// Enters what commit `id` brings, and that `parent` was the last to have what it takes away.
pub(super) fn enter(
    writer: &Writer<'_>,
    seen: &Seen,
    id: RowId,
    parent: Option<RowId>,
    words: &mut Words,
) -> Result<(), Error> {
    for path in &seen.brought {
        writer.see_path(path, id, words)?;
    }
    if let Some(parent) = parent {
        for path in &seen.taken {
            writer.see_path(path, parent, words)?;
        }
    }
    for model in &seen.models {
        if let Some((record, tensors)) = &model.fresh {
            writer.insert_file(record, tensors)?;
        }
        if !model.tensors.is_empty() && !writer.knows_tensor_set(&model.row.names)? {
            for name in &model.tensors {
                let name: String = name.chars().take(MAX_WORDS).collect();
                writer.see_tensor(&name, &model.row.names, words)?;
            }
        }
        let row = ModelRow {
            experiment: id,
            ..model.row.clone()
        };
        writer.see_model(&row, &model.words, words)?;
    }
    Ok(())
}

/// Forgets everything that was entered.
pub(in crate::repo) fn forget(database: &Database) -> Result<(), Error> {
    database.transaction(|writer| {
        writer.clear_search()?;
        Ok(writer.clear_experiments()?)
    })
}
