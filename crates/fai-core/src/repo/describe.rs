//! `info`: what a file is — format, tensors, dtypes, parameters, architecture.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::add::Known;
use super::content::FileReader;
use super::revision::NamedFile;
use super::worktree::open_regular;
use super::{Error, Repository};
use crate::database::TensorRecord;
use crate::object::{ContentHash, FileId, Manifest, RepoPath};
use crate::tensor::{FileSource, Layout, LayoutError, element_count, examine};

/// The longest `config.json` that is read.
const MAX_CONFIG: u64 = 1 << 20;

/// What is known about a file.
#[derive(Debug, Clone)]
pub struct Described {
    /// Its path, when it was named by one.
    pub path: Option<RepoPath>,
    /// Its id, when it is stored.
    pub file: Option<FileId>,
    /// BLAKE3 of its content, when it is stored.
    pub content: Option<ContentHash>,
    /// Its size in bytes.
    pub size: u64,
    /// Name of its tensor format.
    pub format: Option<String>,
    /// Number of parameters over all tensors.
    pub parameters: Option<u64>,
    /// For every dtype: number of tensors and of parameters.
    pub dtypes: BTreeMap<String, (u64, u64)>,
    /// Its tensors, in the order of its own table.
    pub tensors: Vec<TensorRecord>,
    /// The format's own descriptive entries, as a JSON object.
    pub metadata: String,
    /// The architecture, from a `config.json` beside it or the file itself.
    pub architecture: Option<String>,
    /// Why it is treated as plain bytes although it looked like a tensor format.
    pub refusal: Option<String>,
}

/// A file to describe.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A file of the worktree, as it is there now.
    Worktree(RepoPath),
    /// A stored file.
    Stored(NamedFile),
}

impl Repository {
    /// What `text` names: a file of the worktree if there is one, else as [`Repository::resolve_file`].
    ///
    /// # Errors
    /// As [`Repository::resolve_file`].
    pub fn subject(&self, text: &str, current: &Path) -> Result<Subject, Error> {
        if let Some(root) = &self.worktree
            && let Ok(path) = self.repo_path(current, Path::new(text))
            && path
                .below(root)
                .symlink_metadata()
                .is_ok_and(|metadata| metadata.is_file())
        {
            return Ok(Subject::Worktree(path));
        }
        Ok(Subject::Stored(self.resolve_file(text, current)?))
    }

    /// True when a file was read before, so that describing it needs nothing of its contents.
    ///
    /// # Errors
    /// When the database fails.
    pub fn is_described(&self, file: FileId) -> Result<bool, Error> {
        Ok(self.database().file(file)?.is_some())
    }

    /// The tensors of a stored file, as they were noted when it was added, or else as it says itself.
    pub(super) fn tensors_of(&self, reader: &FileReader<'_>) -> Result<Vec<TensorRecord>, Error> {
        match self.database().tensors(reader.id())? {
            unknown if unknown.is_empty() => Ok(describe_layout(examined(reader)?).tensors),
            known => Ok(known),
        }
    }

    /// Describes a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn describe(&self, subject: &Subject) -> Result<Described, Error> {
        match subject {
            Subject::Worktree(path) => self.describe_worktree(path),
            Subject::Stored(named) => self.describe_stored(named),
        }
    }

    fn describe_worktree(&self, path: &RepoPath) -> Result<Described, Error> {
        let root = self.need_worktree("info")?;
        let absolute = path.below(root);
        let open = || FileSource::new(open_regular(&absolute)?);
        let source = open().map_err(Error::io("read", &absolute))?;
        let known = describe_layout(examine(&source).map_err(Error::io("read", &absolute))?);
        let size = crate::tensor::ReadAt::len(&source);
        let config = absolute.with_file_name("config.json");
        let mut text = Vec::new();
        let read = open_regular(&config).and_then(|file| file.take(MAX_CONFIG).read_to_end(&mut text));
        let architecture = read.ok().and_then(|_| architecture(&text));
        Ok(known.described(Some(path.clone()), None, size, architecture))
    }

    fn describe_stored(&self, named: &NamedFile) -> Result<Described, Error> {
        let manifest: Manifest = self.store.get(named.file)?;
        let known = match self.database().file(named.file)? {
            Some(record) => Known {
                format: record.format,
                parameters: record.parameters,
                tensors: self.database().tensors(named.file)?,
                metadata: record.metadata,
                refusal: record.refusal,
            },
            None => describe_layout(examined(&self.open_file(named.file)?)?),
        };
        let architecture = match &named.path {
            Some(path) => self.sibling_config(path, named)?.and_then(|text| architecture(&text)),
            None => None,
        };
        let mut described = known.described(named.path.clone(), Some(named.file), manifest.size, architecture);
        described.content = Some(manifest.content);
        Ok(described)
    }

    /// The `config.json` beside a stored file, in the same commit.
    fn sibling_config(&self, path: &RepoPath, named: &NamedFile) -> Result<Option<Vec<u8>>, Error> {
        let Some((folder, _)) = path.split_last() else {
            return Ok(None);
        };
        let config = folder.join("config.json");
        let file = match named.commit {
            Some(commit) => self
                .lookup(&self.tree_of(Some(commit))?, &config)?
                .and_then(|entry| entry.file_id()),
            None => self
                .expected(std::slice::from_ref(&config))?
                .0
                .get(&config)
                .map(|entry| entry.file),
        };
        let Some(file) = file else { return Ok(None) };
        if !self.store.holds(file)? {
            return Ok(None);
        }
        let mut text = Vec::new();
        let read = self.open_file(file)?.reader().take(MAX_CONFIG).read_to_end(&mut text);
        read.map_err(Error::io("read", config.as_str().as_ref()))?;
        Ok(Some(text))
    }

    /// The tensor table of a stored file, read from the file itself.
    ///
    /// # Errors
    /// When the file cannot be read; `Ok(None)` when it has no tensors.
    pub fn layout(&self, file: FileId) -> Result<Option<Layout>, Error> {
        Ok(examined(&self.open_file(file)?)?.unwrap_or_default())
    }

    /// The bytes of one tensor of a stored file, as they lie there (little-endian, row-major).
    ///
    /// # Errors
    /// When the file has no tensor of that name, or cannot be read.
    pub fn read_tensor(&self, file: FileId, name: &str) -> Result<(crate::tensor::Tensor, Vec<u8>), Error> {
        let reader = self.open_file(file)?;
        let missing = || Error::NoSuchTensor {
            path: file.to_string(),
            tensor: name.to_owned(),
        };
        let layout = examined(&reader)?.unwrap_or_default().ok_or_else(missing)?;
        let tensor = layout
            .tensors
            .into_iter()
            .find(|tensor| tensor.name == name)
            .ok_or_else(missing)?;
        // The layout was checked against the file's size, so this is no more than the file holds.
        let len = usize::try_from(tensor.range.end - tensor.range.start).map_err(|_| missing())?;
        let mut bytes = vec![0; len];
        let read = crate::tensor::ReadAt::read_exact_at(&reader, &mut bytes, tensor.range.start);
        read.map_err(Error::io("read", name.as_ref()))?;
        Ok((tensor, bytes))
    }
}

/// What a stored file is.
pub(super) fn examined(reader: &FileReader<'_>) -> Result<Result<Option<Layout>, LayoutError>, Error> {
    examine(reader).map_err(Error::io("read", reader.id().to_string().as_ref()))
}

/// What the database keeps of a layout.
pub(super) fn describe_layout(detected: Result<Option<Layout>, LayoutError>) -> Known {
    let empty = Known {
        metadata: "{}".to_owned(),
        ..Known::default()
    };
    let layout = match detected {
        Ok(Some(layout)) => layout,
        Ok(None) => return empty,
        Err(error) => {
            return Known {
                refusal: Some(error.to_string()),
                ..empty
            };
        }
    };
    let tensors = layout.tensors.iter().map(|tensor| TensorRecord {
        name: tensor.name.clone(),
        dtype: tensor.dtype.name(),
        shape: serde_json::to_string(&tensor.shape).unwrap_or_default(),
        start: tensor.range.start,
        end: tensor.range.end,
    });
    Known {
        format: Some(layout.format.name().to_owned()),
        parameters: Some(layout.parameters()),
        tensors: tensors.collect(),
        metadata: serde_json::to_string(&layout.metadata).unwrap_or_else(|_| "{}".to_owned()),
        refusal: None,
    }
}

impl Known {
    fn described(
        self,
        path: Option<RepoPath>,
        file: Option<FileId>,
        size: u64,
        architecture: Option<String>,
    ) -> Described {
        let mut dtypes: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for tensor in &self.tensors {
            let shape: Vec<u64> = serde_json::from_str(&tensor.shape).unwrap_or_default();
            let (count, parameters) = dtypes.entry(tensor.dtype.clone()).or_default();
            *count += 1;
            *parameters = parameters.saturating_add(element_count(&shape).unwrap_or(0));
        }
        let own: BTreeMap<String, String> = serde_json::from_str(&self.metadata).unwrap_or_default();
        Described {
            path,
            file,
            content: None,
            size,
            format: self.format,
            parameters: self.parameters,
            dtypes,
            tensors: self.tensors,
            metadata: self.metadata,
            architecture: architecture.or_else(|| own.get("general.architecture").cloned()),
            refusal: self.refusal,
        }
    }
}

/// `architectures[0]`, or else `model_type`, of a Hugging Face `config.json`.
pub(super) fn architecture(config: &[u8]) -> Option<String> {
    let config: serde_json::Value = serde_json::from_slice(config).ok()?;
    let named = config
        .get("architectures")
        .and_then(|list| list.get(0))
        .or_else(|| config.get("model_type"))?;
    named.as_str().map(|name| name.chars().take(200).collect())
}
