//! Short constructors of [`LayoutError`], so that the parsers' checks stay readable. Rules of formats are not here.

use super::{Format, LayoutError};
use std::io;

impl LayoutError {
    /// The structure contradicts itself: `what` says how.
    pub(super) fn malformed(format: Format, what: impl Into<String>) -> Self {
        let what = what.into();
        Self::Malformed { format, what }
    }

    /// `what` does not fit into the file.
    pub(super) fn out_of_bounds(format: Format, what: impl Into<String>) -> Self {
        let what = what.into();
        Self::OutOfBounds { format, what }
    }

    /// `what` is beyond a limit of the reader.
    pub(super) fn too_large(format: Format, what: impl Into<String>) -> Self {
        let what = what.into();
        Self::TooLarge { format, what }
    }

    /// Reading `what` failed with `error`; a source that ends too early is out of bounds.
    pub(super) fn reading(format: Format, what: &str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::out_of_bounds(format, what),
            _ => Self::Io { format, source: error },
        }
    }
}
