//! The ZIP archives of `torch.save` and TorchScript: a pickle that describes tensors, and one member for each
//! storage. Files of PyTorch before 1.6 are one pickle stream and not read here.

mod view;
mod walk;

use super::names::Names;
use super::pickle::Pickle;
use super::zip::{self, Entry};
use super::{Format, Layout, LayoutError, MAX_HEADER, MAX_TENSORS, ReadAt, Tensor};
use std::collections::{BTreeMap, HashMap};
use view::View;

const FORMAT: Format = Format::PyTorch;

/// The longest of the small members whose text is metadata.
const MAX_NOTE: u64 = 64;

/// The name of a tensor that was saved alone and has no path.
const UNNAMED: &str = "tensor";

/// Finds the tensors of a PyTorch archive; `Ok(None)` when the file is none.
pub(super) fn parse(source: &dyn ReadAt) -> Result<Option<Layout>, LayoutError> {
    // Every member lies in one directory, named after the file that was saved.
    let Some(first) = zip::first_name(source, FORMAT)? else {
        return Ok(None);
    };
    let Some((prefix, _)) = first.split_once('/').filter(|_| !first.ends_with(".npy")) else {
        return Ok(None);
    };
    let entries = zip::entries(source, FORMAT)?;
    let mut archive = Archive {
        source,
        prefix,
        entries: entries.iter().map(|entry| (entry.name.as_str(), entry)).collect(),
        names: Names::new(FORMAT),
        tensors: Vec::new(),
    };
    if archive.entry("data.pkl").is_none() {
        return Ok(None);
    }

    let byte_order = archive.note("byteorder")?;
    if byte_order.as_ref().is_some_and(|order| order != "little") {
        return Err(LayoutError::malformed(FORMAT, "the storages are not little-endian"));
    }
    archive.read("data.pkl", "data", "")?;
    // TorchScript's constants have storages of their own.
    archive.read("constants.pkl", "constants", "constants")?;

    let mut metadata = BTreeMap::new();
    metadata.extend(byte_order.map(|order| ("byteorder".to_owned(), order)));
    metadata.extend(archive.note("version")?.map(|version| ("version".to_owned(), version)));
    let code = format!("{prefix}/code/");
    if entries.iter().any(|entry| entry.name.starts_with(&code)) {
        metadata.insert("torchscript".to_owned(), "true".to_owned());
    }
    Ok(Some(Layout {
        format: FORMAT,
        tensors: archive.tensors,
        metadata,
    }))
}

/// An archive while its tensors are being collected.
struct Archive<'a> {
    source: &'a dyn ReadAt,
    prefix: &'a str,
    entries: HashMap<&'a str, &'a Entry>,
    names: Names,
    tensors: Vec<Tensor>,
}

impl<'a> Archive<'a> {
    fn entry(&self, path: &str) -> Option<&'a Entry> {
        let name = format!("{}/{path}", self.prefix);
        self.entries.get(name.as_str()).copied()
    }

    /// The text of a small member, if it is there and stored.
    fn note(&self, path: &str) -> Result<Option<String>, LayoutError> {
        let entry = self.entry(path).filter(|entry| entry.stored && entry.len() <= MAX_NOTE);
        let bytes = entry
            .map(|entry| entry.read(self.source, MAX_NOTE, FORMAT))
            .transpose()?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// Adds the tensors that the pickle at `path` describes, whose storages lie in `storages/`.
    fn read(&mut self, path: &str, storages: &str, base: &str) -> Result<(), LayoutError> {
        let Some(entry) = self.entry(path) else {
            return Ok(());
        };
        let bytes = entry.read(self.source, MAX_HEADER, FORMAT)?;
        let pickle = Pickle::parse(&bytes)?;
        walk::tensors(
            &pickle,
            base,
            &mut |name, rebuild| match View::new(&pickle, &rebuild)? {
                Some(view) => self.add(if name.is_empty() { UNNAMED } else { name }, storages, &view),
                None => Ok(()),
            },
        )
    }

    fn add(&mut self, name: &str, storages: &str, view: &View<'_>) -> Result<(), LayoutError> {
        let storage = format!("{storages}/{}", view.key);
        let outside = || LayoutError::out_of_bounds(FORMAT, format!("tensor {name:?} in storage {storage:?}"));
        let entry = self.entry(&storage).ok_or_else(outside)?;
        if !entry.stored {
            return Ok(());
        }
        let mut range = view.range().ok_or_else(outside)?;
        if range.is_empty() {
            // PyTorch keeps the offset of empty tensors, which may lie anywhere.
            range = 0..0;
        }
        if range.end > entry.len() {
            return Err(outside());
        }
        if self.tensors.len() >= MAX_TENSORS {
            let what = format!("a file of more than {MAX_TENSORS} tensors");
            return Err(LayoutError::too_large(FORMAT, what));
        }
        self.tensors.push(Tensor {
            name: self.names.claim(name)?,
            dtype: view.dtype,
            shape: view.shape.clone(),
            range: entry.range.start + range.start..entry.range.start + range.end,
            contiguous: view.is_contiguous(),
        });
        Ok(())
    }
}
