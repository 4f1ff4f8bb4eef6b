//! Which tensors of a file changed between two versions of it. How far the values moved is not here.

use std::collections::{HashMap, HashSet};

use super::describe::describe_layout;
use super::diff::{ChangedFile, Side};
use super::same_bytes::{Content, same};
use super::{Error, Event, Progress, Repository};
use crate::database::TensorRecord;
use crate::object::RepoPath;
use crate::tensor::detect;

/// What changed among the tensors of a file. Names stand in the order of the new file's table, those of removed tensors
/// in the order of the old one's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

impl Repository {
    /// Fills in the tensor changes of files whose content differs.
    pub(super) fn compare_tensors(&self, files: Vec<&mut ChangedFile>, progress: &dyn Progress) -> Result<(), Error> {
        let size = |file: &ChangedFile| file.new.map_or(0, |side| side.size);
        let bytes = files.iter().fold(0u64, |sum, file| sum.saturating_add(size(file)));
        if !files.is_empty() {
            let files = files.len() as u64;
            progress.on(Event::Total { files, bytes });
        }
        for file in files {
            progress.on(Event::File(file.path.as_str()));
            let mut left = size(file);
            if let (Some(old), Some(new)) = (file.old, file.new) {
                let old_path = file.old_path.as_ref().unwrap_or(&file.path);
                let mut done = |bytes: u64| {
                    let bytes = bytes.min(left);
                    left -= bytes;
                    progress.on(Event::Bytes(bytes));
                };
                file.tensors = self.tensor_changes((&old, old_path), (&new, &file.path), &mut done)?;
            }
            progress.on(Event::Bytes(left));
            progress.on(Event::FileDone);
        }
        Ok(())
    }

    /// `None` unless both have tensors.
    fn tensor_changes(
        &self,
        old: (&Side, &RepoPath),
        new: (&Side, &RepoPath),
        done: &mut dyn FnMut(u64),
    ) -> Result<Option<TensorChanges>, Error> {
        let Some((old_tensors, old)) = self.model(old.0, old.1)? else {
            return Ok(None);
        };
        let Some((new_tensors, new)) = self.model(new.0, new.1)? else {
            return Ok(None);
        };
        let (mut changes, mut pairs) = by_name(&old_tensors, &new_tensors);
        // Neighbours share chunks: in the order of the file each is read once.
        pairs.sort_by_key(|(_, new)| new.start);
        let mut different = HashSet::new();
        for (one, other) in pairs {
            let (one_len, len) = (one.end.saturating_sub(one.start), other.end.saturating_sub(other.start));
            // Views of one storage may be of one shape and touch more or less of it.
            if one_len == len && same(&old, one.start, &new, other.start, len)? {
                changes.unchanged += 1;
            } else {
                different.insert(other.name.as_str());
            }
            done(len);
        }
        let names = new_tensors.iter().map(|tensor| &tensor.name);
        changes.changed = names
            .filter(|name| different.contains(name.as_str()))
            .cloned()
            .collect();
        Ok(Some(changes))
    }

    /// The tensors of a file and its bytes; `None` when it is of no tensor format or only looks like one.
    fn model(&self, side: &Side, path: &RepoPath) -> Result<Option<(Vec<TensorRecord>, Content<'_>)>, Error> {
        let Some(file) = side.file else {
            let content = self.disk_content(path)?;
            let found = describe_layout(detect(content.bytes()));
            return Ok(found.format.map(|_| (found.tensors, content)));
        };
        let recorded = self.database().file(file)?;
        let tensors = match recorded.map(|record| record.format.is_some()) {
            Some(true) => self.database().tensors(file)?,
            Some(false) => return Ok(None),
            None => {
                let found = describe_layout(detect(&self.open_file(file)?));
                match found.format {
                    Some(_) => found.tensors,
                    None => return Ok(None),
                }
            }
        };
        Ok(Some((tensors, self.stored_content(file, path)?)))
    }
}

/// A tensor in the old and in the new version.
type Pair<'a> = (&'a TensorRecord, &'a TensorRecord);

/// What tables alone tell, and the tensors whose bytes must be compared.
fn by_name<'a>(old: &'a [TensorRecord], new: &'a [TensorRecord]) -> (TensorChanges, Vec<Pair<'a>>) {
    let mut changes = TensorChanges::default();
    let mut pairs = Vec::new();
    let mut unmatched: HashMap<&str, &TensorRecord> = old.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    for tensor in new {
        let Some(before) = unmatched.remove(tensor.name.as_str()) else {
            changes.added.push(tensor.name.clone());
            continue;
        };
        if before.shape != tensor.shape {
            let dimensions = |shape: &str| serde_json::from_str(shape).unwrap_or_default();
            changes.reshaped.push(Reshaped {
                name: tensor.name.clone(),
                old: dimensions(&before.shape),
                new: dimensions(&tensor.shape),
            });
        }
        if before.dtype != tensor.dtype {
            changes.retyped.push(Retyped {
                name: tensor.name.clone(),
                old: before.dtype.clone(),
                new: tensor.dtype.clone(),
            });
        }
        if before.shape == tensor.shape && before.dtype == tensor.dtype {
            pairs.push((before, tensor));
        }
    }
    let removed = old.iter().filter(|tensor| unmatched.contains_key(tensor.name.as_str()));
    changes.removed = removed.map(|tensor| tensor.name.clone()).collect();
    (changes, pairs)
}
