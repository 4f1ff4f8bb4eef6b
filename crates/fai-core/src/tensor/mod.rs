//! Where tensors lie inside model files: names, dtypes, shapes and byte ranges.
//!
//! A parser reads a file's structure through [`ReadAt`] and returns a [`Layout`]; it never loads weights and
//! never executes anything. Whatever a parser refuses is stored all the same, as plain bytes. How bytes are
//! cut and encoded is not here.

mod combine;
pub mod compare;
mod dtype;
mod element;
mod gguf;
mod gguf_types;
mod holes;
#[cfg(test)]
mod hostile;
mod names;
mod npy;
mod npz;
mod onnx;
mod pickle;
mod protobuf;
mod pytorch;
mod read;
mod refuse;
mod safetensors;
mod safetensors_header;
mod table;
mod values;
mod vectors;
mod zip;
#[cfg(test)]
mod zip_writer;

pub use combine::{Prepared, Recipe, Survey, UnknownRecipe, Versions, can_combine};
pub use dtype::{Block, DType, Plain, element_count};
pub use element::{Element, Region};
pub use read::{Cursor, FileSource, ReadAt, Stretch};
pub use safetensors::whole_metadata;
pub use safetensors_header::safetensors_header;
pub use values::Numbers;
pub(crate) use vectors::vectorised;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;

/// The longest structure (JSON header, pickle, protobuf graph) that a parser reads from one file.
///
/// The largest published models stay below 16 MiB by far; a longer header is a mistake or an attack.
pub const MAX_HEADER: u64 = 16 << 20;

/// The most tensors that one file's table may hold.
pub const MAX_TENSORS: usize = 250_000;

/// The most dimensions a tensor may have.
pub const MAX_RANK: usize = 32;

/// A file format that holds tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Hugging Face safetensors.
    Safetensors,
    /// GGML's GGUF, versions 2 and 3.
    Gguf,
    /// ONNX `ModelProto`.
    Onnx,
    /// The ZIP files that `torch.save` has written since PyTorch 1.6, TorchScript archives included.
    PyTorch,
    /// One NumPy array.
    Npy,
    /// A ZIP of NumPy arrays.
    Npz,
}

impl Format {
    /// All formats, in the order in which [`detect`] tries them: those with a magic number first, as the signs of
    /// safetensors and ONNX are weak.
    pub const ALL: [Self; 6] = [
        Format::Npy,
        Format::Gguf,
        Format::Npz,
        Format::PyTorch,
        Format::Safetensors,
        Format::Onnx,
    ];

    /// Reads a file as one of this format; `Ok(None)` when it is of another one.
    ///
    /// # Errors
    /// When the file looks like this format but breaks its rules or this reader's limits.
    pub fn parse(self, source: &dyn ReadAt) -> Result<Option<Layout>, LayoutError> {
        match self {
            Format::Safetensors => safetensors::parse(source),
            Format::Gguf => gguf::parse(source),
            Format::Onnx => onnx::parse(source),
            Format::PyTorch => pytorch::parse(source),
            Format::Npy => npy::parse(source),
            Format::Npz => npz::parse(source),
        }
    }

    /// The name that people, JSON and the database use.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::Gguf => "gguf",
            Format::Onnx => "onnx",
            Format::PyTorch => "pytorch",
            Format::Npy => "npy",
            Format::Npz => "npz",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name in the file; unique there.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions in the order the format's users write them (rows first); empty for a scalar.
    pub shape: Vec<u64>,
    /// Absolute byte range in the file.
    pub range: Range<u64>,
    /// True when the range holds the elements in row-major order and nothing else. False for strided views
    /// of a PyTorch storage, whose range is the part of the storage that they touch.
    pub contiguous: bool,
}

impl Tensor {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        element_count(&self.shape).unwrap_or(0)
    }
}

/// What a parser found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The file's format.
    pub format: Format,
    /// The tensors, in the order of the file's own table.
    pub tensors: Vec<Tensor>,
    /// Short descriptive entries that the format carries (`general.architecture`, `__metadata__`), values as text.
    pub metadata: BTreeMap<String, String>,
}

impl Layout {
    /// Number of elements over all tensors; views of one storage count once for each name.
    pub fn parameters(&self) -> u64 {
        self.tensors
            .iter()
            .fold(0u64, |sum, tensor| sum.saturating_add(tensor.elements()))
    }

    /// The disjoint regions that the tensors cover, sorted by offset: what chunking works on.
    ///
    /// Where tensors overlap (views of one storage), the one that starts first, and of those the longest, stands for all.
    pub fn regions(&self) -> Vec<Region> {
        let mut regions: Vec<Region> = self
            .tensors
            .iter()
            .filter(|tensor| !tensor.range.is_empty())
            .map(|tensor| Region {
                range: tensor.range.clone(),
                element: tensor.dtype.element(),
            })
            .collect();
        regions.sort_by_key(|region| (region.range.start, std::cmp::Reverse(region.range.end)));
        let mut end = 0;
        regions.retain(|region| {
            let keep = region.range.start >= end;
            if keep {
                end = region.range.end;
            }
            keep
        });
        regions
    }
}

/// Finds the tensors of a file; `Ok(None)` when it is of no format known here.
///
/// # Errors
/// When the file looked like a tensor format but breaks its rules or this reader's limits.
pub fn detect(source: &dyn ReadAt) -> Result<Option<Layout>, LayoutError> {
    for format in Format::ALL {
        if let Some(layout) = format.parse(source)? {
            return Ok(Some(layout));
        }
    }
    Ok(None)
}

/// The same for a file whose bytes may not be there or be damaged: then nothing is known about it, and the inner result is
/// about the file alone.
///
/// # Errors
/// When reading failed.
pub fn examine(source: &dyn ReadAt) -> io::Result<Result<Option<Layout>, LayoutError>> {
    match detect(source) {
        Err(LayoutError::Io { source, .. }) => Err(source),
        of_the_file => Ok(of_the_file),
    }
}

/// Why a file that looked like a tensor format is treated as plain bytes.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The file ends inside its own structure, or its structure points outside the file.
    #[error("{format}: {what} lies outside the file")]
    OutOfBounds {
        /// Format being read.
        format: Format,
        /// The part that does not fit.
        what: String,
    },
    /// The structure contradicts itself or the format's rules.
    #[error("{format}: {what}")]
    Malformed {
        /// Format being read.
        format: Format,
        /// What is wrong.
        what: String,
    },
    /// A limit of this reader: [`MAX_HEADER`], [`MAX_TENSORS`] or [`MAX_RANK`].
    #[error("{format}: {what} is beyond what this reader accepts")]
    TooLarge {
        /// Format being read.
        format: Format,
        /// What is too large.
        what: String,
    },
    /// Reading the file failed.
    #[error("{format}: reading failed")]
    Io {
        /// Format being read.
        format: Format,
        /// The cause.
        #[source]
        source: io::Error,
    },
}
