//! Which tensors of a file changed between two versions of it, and how far they moved. Which belong together is in
//! `pairs`, reading and measuring in `measure`, layers in `groups`.

mod groups;
mod measure;
mod pairs;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

pub use self::groups::{Group, Level, group_of, natural, place};
use self::pairs::{are_alike, by_name, comparable, dimensions};
use super::describe::{describe_layout, examined};
use super::diff::{ChangedFile, Side};
use super::same_bytes::{Content, same};
use super::{Error, Event, Progress, Repository};
use crate::database::TensorRecord;
use crate::object::RepoPath;
use crate::tensor::compare::Distance;
use crate::tensor::{Format, Layout, LayoutError, examine};

/// What changed among the tensors of a file. Names stand in the order of the new file's table, those of removed tensors
/// in the order of the old one's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TensorChanges {
    /// Tensors that are only in the new version.
    pub added: Vec<String>,
    /// Tensors that are only in the old version.
    pub removed: Vec<String>,
    /// Tensors of another shape.
    pub reshaped: Vec<Reshaped>,
    /// Tensors of another dtype; those of another shape too stand in both lists.
    pub retyped: Vec<Retyped>,
    /// Tensors of the same shape and dtype with other bytes.
    pub changed: Vec<String>,
    /// Number of tensors that are the same: name, dtype, shape and bytes, wherever in the file they lie.
    pub unchanged: u64,
    /// True when it was asked for how far tensors moved: only then the lists that follow are filled.
    pub measured: bool,
    /// How far tensors moved: those that changed, those of another dtype, and the common rows of
    /// those that have more or fewer rows. In the order of the new file's table.
    pub moved: Vec<Moved>,
    /// Names of the tensors that are the same.
    pub same: Vec<String>,
    /// Entries of the file's own metadata that differ, by key; always filled.
    pub metadata: Vec<MetadataChange>,
}

/// How far a tensor moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// Its name.
    pub name: String,
    /// Its dtype's short name in the old version.
    pub old_dtype: String,
    /// Its dtype's short name in the new version.
    pub dtype: String,
    /// Its dimensions in the new version.
    pub shape: Vec<u64>,
    /// When only the first so many rows were compared, because there are more in one version: how many.
    pub rows: Option<u64>,
    /// False for packed dtypes, whose values are not looked at: then elements are bytes.
    pub by_value: bool,
    /// How far.
    pub distance: Distance,
}

/// An entry of a file's metadata that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataChange {
    /// Its key.
    pub key: String,
    /// What it was; `None` when it is new.
    pub old: Option<String>,
    /// What it is; `None` when it is gone.
    pub new: Option<String>,
}

/// How closely tensors are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Not at all.
    Files,
    /// Which changed: reading stops at the first difference.
    #[default]
    Names,
    /// How far they moved: what differs is read in full.
    Values,
}

/// A tensor whose shape changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reshaped {
    /// Its name.
    pub name: String,
    /// Its dimensions in the old version.
    pub old: Vec<u64>,
    /// Its dimensions in the new version.
    pub new: Vec<u64>,
}

/// A tensor whose dtype changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retyped {
    /// Its name.
    pub name: String,
    /// Its dtype's short name in the old version.
    pub old: String,
    /// Its dtype's short name in the new version.
    pub new: String,
}

/// The tensors of a file, and its bytes.
struct Model<'a> {
    tensors: Vec<TensorRecord>,
    /// Those whose elements do not lie one after another in their order.
    strided: HashSet<String>,
    metadata: BTreeMap<String, String>,
    content: Content<'a>,
}

impl Repository {
    /// Fills in the tensor changes of files whose content differs.
    pub(super) fn compare_tensors(
        &self,
        files: Vec<&mut ChangedFile>,
        depth: Depth,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let size = |file: &ChangedFile| file.new.map_or(0, |side| side.size);
        let bytes = files.iter().fold(0u64, |sum, file| sum.saturating_add(size(file)));
        if !files.is_empty() {
            let files = files.len() as u64;
            progress.on(Event::Total { files, bytes });
        }
        for file in files {
            progress.on(Event::File(file.path.as_str()));
            let left = AtomicU64::new(size(file));
            if let (Some(old), Some(new)) = (file.old, file.new) {
                let old_path = file.old_path.as_ref().unwrap_or(&file.path);
                let done = |bytes: u64| {
                    let take = |left: u64| Some(left.saturating_sub(bytes));
                    let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
                    progress.on(Event::Bytes(bytes.min(before.unwrap_or(0))));
                };
                file.tensors = self.tensor_changes((&old, old_path), (&new, &file.path), depth, &done)?;
            }
            progress.on(Event::Bytes(left.into_inner()));
            progress.on(Event::FileDone);
        }
        Ok(())
    }

    /// `None` unless both have tensors.
    fn tensor_changes(
        &self,
        old: (&Side, &RepoPath),
        new: (&Side, &RepoPath),
        depth: Depth,
        done: &(dyn Fn(u64) + Sync),
    ) -> Result<Option<TensorChanges>, Error> {
        let Some(old) = self.model(old.0, old.1)? else {
            return Ok(None);
        };
        let Some(new) = self.model(new.0, new.1)? else {
            return Ok(None);
        };
        let (mut changes, both) = by_name(&old.tensors, &new.tensors);
        changes.measured = depth == Depth::Values;
        changes.metadata = metadata_changes(&old.metadata, &new.metadata);
        let (measured, mut plain): (Vec<_>, Vec<_>) = both
            .into_iter()
            .map(|both| (both, comparable(&both, &old, &new).filter(|_| depth == Depth::Values)))
            .partition(|(_, comparable)| comparable.is_some());
        let pairs: Vec<_> = measured
            .iter()
            .filter_map(|(_, found)| found.as_ref())
            .map(|found| found.pair)
            .collect();
        let distances = measure::measure(&pairs, &old.content, &new.content, self.threads, done)?;

        let mut different = HashSet::new();
        for (((before, tensor), found), distance) in measured.iter().zip(distances) {
            let alike = are_alike(&(before, tensor));
            if alike && distance.is_none() {
                changes.same.push(tensor.name.clone());
                continue;
            }
            if alike {
                different.insert(tensor.name.as_str());
            }
            changes.moved.push(Moved {
                name: tensor.name.clone(),
                old_dtype: before.dtype.clone(),
                dtype: tensor.dtype.clone(),
                shape: dimensions(tensor),
                rows: found.as_ref().and_then(|found| found.rows),
                by_value: found.as_ref().is_some_and(|found| found.pair.old.is_some()),
                distance,
            });
        }
        // Neighbours share chunks: in the order of the file each is read once.
        plain.retain(|(both, _)| are_alike(both));
        plain.sort_by_key(|((_, new), _)| new.start);
        for ((one, other), _) in plain {
            let (one_len, len) = (one.end.saturating_sub(one.start), other.end.saturating_sub(other.start));
            // Views of one storage may be of one shape and touch more or less of it.
            if one_len == len && same(&old.content, one.start, &new.content, other.start, len)? {
                changes.same.push(other.name.clone());
            } else {
                different.insert(other.name.as_str());
            }
            done(len);
        }
        changes.unchanged = changes.same.len() as u64;
        if depth != Depth::Values {
            changes.same.clear();
        }
        let names = new.tensors.iter().map(|tensor| &tensor.name);
        changes.changed = names
            .filter(|name| different.contains(name.as_str()))
            .cloned()
            .collect();
        Ok(Some(changes))
    }

    /// The tensors of a file and its bytes; `None` when it is of no tensor format or only looks like one.
    fn model(&self, side: &Side, path: &RepoPath) -> Result<Option<Model<'_>>, Error> {
        let Some(file) = side.file else {
            let content = self.disk_content(path)?;
            let detected = examine(content.bytes()).map_err(Error::io("read", path.as_str().as_ref()))?;
            return Ok(Model::detected(detected, content));
        };
        let recorded = self.database().file(file)?;
        let (format, metadata) = match recorded {
            None => (None, String::new()),
            Some(record) if record.format.is_none() => return Ok(None),
            Some(record) => (record.format, record.metadata),
        };
        // In these an array may lie in another order, which is not recorded.
        let may_be_strided = [Format::PyTorch, Format::Npy, Format::Npz].map(|format| Some(format.name()));
        if format.is_none() || may_be_strided.contains(&format.as_deref()) {
            let detected = examined(&self.open_file(file)?)?;
            return Ok(Model::detected(detected, self.stored_content(file, path)?));
        }
        Ok(Some(Model {
            tensors: self.database().tensors(file)?,
            strided: HashSet::new(),
            metadata: serde_json::from_str(&metadata).unwrap_or_default(),
            content: self.stored_content(file, path)?,
        }))
    }
}

impl<'a> Model<'a> {
    fn detected(detected: Result<Option<Layout>, LayoutError>, content: Content<'a>) -> Option<Self> {
        let strided = match &detected {
            Ok(Some(layout)) => layout.tensors.iter().filter(|tensor| !tensor.contiguous),
            _ => return None,
        };
        let strided = strided.map(|tensor| tensor.name.clone()).collect();
        let known = describe_layout(detected);
        Some(Self {
            tensors: known.tensors,
            strided,
            metadata: serde_json::from_str(&known.metadata).unwrap_or_default(),
            content,
        })
    }
}

fn metadata_changes(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<MetadataChange> {
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differing = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    let change = |key: &String| MetadataChange {
        key: key.clone(),
        old: old.get(key).cloned(),
        new: new.get(key).cloned(),
    };
    differing.map(change).collect()
}
