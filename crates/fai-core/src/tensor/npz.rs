//! NumPy's `.npz`: a ZIP archive with one `.npy` member for each array. Members that are compressed hold no
//! plain elements and are left out.

use super::names::{MAX_NAME, Names};
use super::npy;
use super::{Format, Layout, LayoutError, ReadAt, Tensor, zip};
use std::collections::BTreeMap;

const FORMAT: Format = Format::Npz;
const SUFFIX: &str = ".npy";

/// Finds the arrays of a `.npz` file; `Ok(None)` when it is none.
pub(super) fn parse(source: &dyn ReadAt) -> Result<Option<Layout>, LayoutError> {
    let first = zip::first_name(source, FORMAT)?;
    if !first.is_some_and(|name| name.ends_with(SUFFIX)) {
        return Ok(None);
    }
    let mut names = Names::new(FORMAT);
    let mut tensors = Vec::new();
    for entry in zip::entries(source, FORMAT)? {
        let Some(name) = entry.name.strip_suffix(SUFFIX).filter(|_| entry.stored) else {
            continue;
        };
        if name.len() > MAX_NAME {
            let what = format!("an array name of {} bytes", name.len());
            return Err(LayoutError::too_large(FORMAT, what));
        }
        let header = match npy::parse_header(source, entry.range.start, entry.len(), FORMAT) {
            Ok(Some(header)) => header,
            // Arrays of objects, of structures or of text stand beside plain ones.
            Ok(None) | Err(LayoutError::Malformed { .. }) => continue,
            Err(error) => return Err(error),
        };
        let len = header.data_len().and_then(|len| len.checked_add(header.len));
        let end = len
            .filter(|&len| len <= entry.len())
            .and_then(|len| len.checked_add(entry.range.start))
            .ok_or_else(|| LayoutError::out_of_bounds(FORMAT, format!("the data of array {name:?}")))?;
        tensors.push(Tensor {
            name: names.claim(name)?,
            dtype: header.dtype,
            range: entry.range.start + header.len..end,
            contiguous: header.row_major(),
            shape: header.shape,
        });
    }
    Ok(Some(Layout {
        format: FORMAT,
        tensors,
        metadata: BTreeMap::new(),
    }))
}
