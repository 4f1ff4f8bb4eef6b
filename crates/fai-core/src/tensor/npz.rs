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

#[cfg(test)]
mod tests {
    use super::super::hostile::{Sparse, flips, truncations};
    use super::super::zip_writer::{DEFLATED, STORED, Writer, archive};
    use super::super::{DType, Plain, detect};
    use super::*;

    fn array(descr: &str, fortran: &str, shape: &str, data: usize) -> Vec<u8> {
        let dict = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\0".to_vec();
        bytes.extend((dict.len() as u16).to_le_bytes());
        bytes.extend(dict.as_bytes());
        bytes.extend((0..data).map(|index| index as u8));
        bytes
    }

    fn valid() -> Vec<u8> {
        archive(&[
            ("weight.npy", &array("<f4", "False", "(3, 2)", 24)),
            ("columns.npy", &array("<f8", "True", "(2, 2)", 32)),
            ("step.npy", &array("<i8", "False", "()", 8)),
        ])
    }

    #[test]
    fn arrays_are_found_where_they_lie() {
        let bytes = valid();
        let layout = detect(&bytes).unwrap().unwrap();
        assert_eq!(layout.format, Format::Npz);
        let found: Vec<_> = layout
            .tensors
            .iter()
            .map(|tensor| {
                let data = &bytes[tensor.range.start as usize..tensor.range.end as usize];
                assert!(data.iter().enumerate().all(|(index, &byte)| byte == index as u8));
                (
                    tensor.name.as_str(),
                    tensor.dtype,
                    tensor.shape.clone(),
                    data.len(),
                    tensor.contiguous,
                )
            })
            .collect();
        let expected = [
            ("weight", DType::Plain(Plain::F32), vec![3, 2], 24, true),
            ("columns", DType::Plain(Plain::F64), vec![2, 2], 32, false),
            ("step", DType::Plain(Plain::I64), vec![], 8, true),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn members_without_plain_elements_are_left_out() {
        let mut writer = Writer::default();
        writer.add("objects.npy", STORED, &array("|O", "False", "(3,)", 24));
        writer.add("packed.npy", DEFLATED, &array("<f4", "False", "(1,)", 4));
        writer.add("plain.npy", STORED, &array("<f4", "False", "(1,)", 4));
        writer.add("nothing.npy", STORED, b"");
        writer.add("notes.txt", STORED, b"\x93NUMPY");
        let layout = parse(&writer.finish()).unwrap().unwrap();
        let names: Vec<_> = layout.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["plain"]);
    }

    #[test]
    fn arrays_longer_than_their_member_are_refused() {
        for shape in ["(7,)", "(9223372036854775808,)", "(4294967296, 4294967296)"] {
            let bytes = archive(&[("a.npy", &array("<f4", "False", shape, 24)), ("b.npy", &[0; 64])]);
            let error = parse(&bytes).unwrap_err();
            assert!(matches!(error, LayoutError::OutOfBounds { .. }), "{shape}: {error}");
        }
    }

    #[test]
    fn other_archives_are_not_npz() {
        for bytes in [archive(&[("readme.txt", b"")]), archive(&[]), Vec::new()] {
            assert_eq!(parse(&bytes).unwrap(), None);
        }
        let zeros = Sparse {
            head: Vec::new(),
            len: 1 << 40,
        };
        assert_eq!(parse(&zeros).unwrap(), None);
    }

    #[test]
    fn damaged_files_are_refused_or_harmless() {
        let bytes = valid();
        truncations(parse, &bytes);
        flips(parse, &bytes, bytes.len(), 20_000);
    }
}
