//! NumPy's `.npy`: one array behind a header that is a Python dict literal. Archives of them (`.npz`) are not
//! here; they use [`parse_header`].

use super::{Block, DType, Format, Layout, LayoutError, MAX_RANK, Plain, ReadAt, Tensor, element_count};
use std::collections::BTreeMap;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Magic, two bytes of version and the shorter of the two widths of the header's length.
const PREFIX_V1: u64 = 10;
const PREFIX_V2: u64 = 12;

/// NumPy itself refuses more than 10 000 characters unless told otherwise; only structured types need that many.
const MAX_DICT: u64 = 64 << 10;

/// The name of the one array in a `.npy`, which the format leaves unnamed.
const NAME: &str = "array";

/// What a `.npy` header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Element type.
    pub dtype: DType,
    /// Dimensions, rows first; empty for a scalar. At most [`MAX_RANK`].
    pub shape: Vec<u64>,
    /// True when the first index varies fastest in memory.
    pub fortran_order: bool,
    /// Bytes from the magic to the first element.
    pub len: u64,
}

impl Header {
    /// Bytes that the elements take, or `None` when that overflows.
    pub(super) fn data_len(&self) -> Option<u64> {
        self.dtype.byte_len(element_count(&self.shape)?)
    }

    /// True when the elements lie in row-major order; up to one dimension both orders are the same.
    pub(super) fn row_major(&self) -> bool {
        !self.fortran_order || self.shape.len() < 2
    }
}

/// Finds the array of a `.npy` file; `Ok(None)` when it is none.
pub(super) fn parse(source: &dyn ReadAt) -> Result<Option<Layout>, LayoutError> {
    let format = Format::Npy;
    let Some(header) = parse_header(source, 0, source.len(), format)? else {
        return Ok(None);
    };
    // Bytes after the array are fine: several `numpy.save` calls may write into one file.
    let end = header
        .data_len()
        .and_then(|len| len.checked_add(header.len))
        .filter(|&end| end <= source.len())
        .ok_or_else(|| LayoutError::out_of_bounds(format, "the array's data"))?;
    let tensor = Tensor {
        name: NAME.to_owned(),
        dtype: header.dtype,
        range: header.len..end,
        contiguous: header.row_major(),
        shape: header.shape,
    };
    Ok(Some(Layout {
        format,
        tensors: vec![tensor],
        metadata: BTreeMap::new(),
    }))
}

/// Reads the header of an array that starts at offset `at` and takes at most `limit` bytes, data included.
/// `format` is the one that errors name. `Ok(None)` when the magic is missing. Whether the data fits is the
/// caller's to check.
///
/// # Errors
/// When there is a magic but no header that this reader accepts.
pub(super) fn parse_header(
    source: &dyn ReadAt,
    at: u64,
    limit: u64,
    format: Format,
) -> Result<Option<Header>, LayoutError> {
    let limit = limit.min(source.len().saturating_sub(at));
    let read = |buffer: &mut [u8], offset: u64| -> Result<(), LayoutError> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > limit) {
            return Err(LayoutError::out_of_bounds(format, "the array's header"));
        }
        source
            .read_exact_at(buffer, at.saturating_add(offset))
            .map_err(|source| LayoutError::Io { format, source })
    };

    let mut magic = [0u8; MAGIC.len()];
    if limit < magic.len() as u64 {
        return Ok(None);
    }
    read(&mut magic, 0)?;
    if magic != MAGIC {
        return Ok(None);
    }
    let mut version = [0u8; 2];
    read(&mut version, 6)?;
    let (prefix, dict_len) = match version {
        [1, 0] => {
            let mut len = [0u8; 2];
            read(&mut len, 8)?;
            (PREFIX_V1, u64::from(u16::from_le_bytes(len)))
        }
        // Version 3 differs from 2 only in allowing UTF-8 field names, which plain types do not have.
        [2 | 3, 0] => {
            let mut len = [0u8; 4];
            read(&mut len, 8)?;
            (PREFIX_V2, u64::from(u32::from_le_bytes(len)))
        }
        [major, minor] => {
            let what = format!("version {major}.{minor} of npy is unknown");
            return Err(LayoutError::malformed(format, what));
        }
    };
    if dict_len > limit - prefix {
        return Err(LayoutError::out_of_bounds(format, "the array's header"));
    }
    if dict_len > MAX_DICT {
        let what = format!("an array header of {dict_len} bytes");
        return Err(LayoutError::too_large(format, what));
    }
    let mut dict = vec![0u8; dict_len as usize];
    read(&mut dict, prefix)?;
    let (dtype, shape, fortran_order) = Literal { rest: &dict, format }.dict()?;
    Ok(Some(Header {
        dtype,
        shape,
        fortran_order,
        len: prefix + dict_len,
    }))
}

/// A reader of the one Python literal that NumPy writes. Anything else that Python would accept is refused.
struct Literal<'a> {
    rest: &'a [u8],
    format: Format,
}

impl<'a> Literal<'a> {
    fn refuse<T>(&self, what: &str) -> Result<T, LayoutError> {
        Err(LayoutError::malformed(
            self.format,
            format!("the array's header {what}"),
        ))
    }

    /// The dict with exactly the keys `descr`, `fortran_order` and `shape`, then only white space.
    fn dict(mut self) -> Result<(DType, Vec<u64>, bool), LayoutError> {
        let (mut descr, mut shape, mut fortran_order) = (None, None, None);
        if !self.take(b'{') {
            return self.refuse("is no dict");
        }
        while !self.take(b'}') {
            let key = self.string()?;
            if !self.take(b':') {
                return self.refuse("has a key without a value");
            }
            let repeated = match key {
                b"descr" => descr.replace(self.descr()?).is_some(),
                b"fortran_order" => fortran_order.replace(self.boolean()?).is_some(),
                b"shape" => shape.replace(self.shape()?).is_some(),
                _ => return self.refuse("has an unknown key"),
            };
            if repeated {
                return self.refuse("repeats a key");
            }
            if !self.take(b',') && self.peek() != Some(b'}') {
                return self.refuse("lacks a comma or its closing brace");
            }
        }
        if self.peek().is_some() {
            return self.refuse("goes on after its dict");
        }
        match (descr, shape, fortran_order) {
            (Some(dtype), Some(shape), Some(fortran_order)) => Ok((dtype, shape, fortran_order)),
            _ => self.refuse("lacks one of descr, fortran_order and shape"),
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    /// Steps over `byte` if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        found
    }

    fn string(&mut self) -> Result<&'a [u8], LayoutError> {
        let quote = match self.peek() {
            Some(quote @ (b'\'' | b'"')) => quote,
            _ => return self.refuse("has something other than a string where one belongs"),
        };
        let body = self.rest.get(1..).unwrap_or_default();
        let end = body.iter().position(|&byte| byte == quote);
        let Some((text, rest)) = end.and_then(|end| body.split_at_checked(end)) else {
            return self.refuse("has a string without an end");
        };
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, LayoutError> {
        self.peek();
        for (word, value) in [(b"True".as_slice(), true), (b"False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        self.refuse("has a fortran_order that is neither True nor False")
    }

    fn shape(&mut self) -> Result<Vec<u64>, LayoutError> {
        let mut shape = Vec::new();
        if !self.take(b'(') {
            return self.refuse("has a shape that is no tuple");
        }
        while !self.take(b')') {
            if shape.len() == MAX_RANK {
                let what = format!("an array of more than {MAX_RANK} dimensions");
                return Err(LayoutError::too_large(self.format, what));
            }
            shape.push(self.integer()?);
            let comma = self.take(b',');
            // `(3)` is a number in Python, `(3,)` a tuple.
            if !comma && (shape.len() == 1 || self.peek() != Some(b')')) {
                return self.refuse("has a shape that is no tuple");
            }
        }
        Ok(shape)
    }

    fn integer(&mut self) -> Result<u64, LayoutError> {
        self.peek();
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at_checked(count).unwrap_or_default();
        let value = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        // Python 2 wrote long integers as `3L`.
        self.rest = rest.strip_prefix(b"L").unwrap_or(rest);
        value.map_or_else(|| self.refuse("has a dimension that is no 64-bit number"), Ok)
    }

    fn descr(&mut self) -> Result<DType, LayoutError> {
        if self.peek() == Some(b'[') {
            return self.refuse("describes a structured type");
        }
        let descr = self.string()?;
        if let Some(dtype) = dtype(descr) {
            return Ok(dtype);
        }
        let what = match descr.first() {
            Some(b'>') => "describes big-endian data: ",
            _ => "has the unsupported type ",
        };
        // The text is the file's: shortened and escaped, it cannot flood or confuse a message.
        let descr = descr.get(..16).unwrap_or(descr).escape_ascii().to_string();
        self.refuse(&format!("{what}{descr}"))
    }
}

/// The type that a NumPy type string stands for.
fn dtype(descr: &[u8]) -> Option<DType> {
    let name = match descr {
        [b'<' | b'|' | b'=', name @ ..] => name,
        _ => return None,
    };
    let opaque = |name, bytes| {
        let elements = 1;
        DType::Block(Block { name, elements, bytes })
    };
    Some(match name {
        b"b1" => DType::Plain(Plain::Bool),
        b"u1" => DType::Plain(Plain::U8),
        b"i1" => DType::Plain(Plain::I8),
        b"u2" => DType::Plain(Plain::U16),
        b"i2" => DType::Plain(Plain::I16),
        b"u4" => DType::Plain(Plain::U32),
        b"i4" => DType::Plain(Plain::I32),
        b"u8" => DType::Plain(Plain::U64),
        b"i8" => DType::Plain(Plain::I64),
        b"f2" => DType::Plain(Plain::F16),
        b"f4" => DType::Plain(Plain::F32),
        b"f8" => DType::Plain(Plain::F64),
        b"c8" => DType::Plain(Plain::C64),
        b"c16" => DType::Plain(Plain::C128),
        // NumPy has no names for the types of extension packages: bfloat16, fp8 and int4 all become "void" of
        // their width, so which one it was is unknown.
        b"V1" => opaque("V1", 1),
        b"V2" => opaque("V2", 2),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::hostile::{Sparse, flips, truncations};
    use super::*;

    fn file(version: u8, dict: &str, data: usize) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((dict.len() as u16).to_le_bytes()),
            _ => bytes.extend((dict.len() as u32).to_le_bytes()),
        }
        bytes.extend(dict.as_bytes());
        bytes.resize(bytes.len() + data, 7);
        bytes
    }

    /// The file as NumPy 1.x and 2.x write it, padding included.
    fn valid() -> Vec<u8> {
        let dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }";
        file(1, &format!("{dict:<117}\n"), 48)
    }

    fn only(bytes: Vec<u8>) -> Tensor {
        let mut layout = parse(&bytes).unwrap().unwrap();
        assert_eq!(layout.format, Format::Npy);
        assert_eq!(layout.tensors.len(), 1);
        layout.tensors.remove(0)
    }

    fn refusal(dict: &str) -> String {
        parse(&file(1, dict, 64)).unwrap_err().to_string()
    }

    #[test]
    fn reads_what_numpy_writes() {
        let tensor = only(valid());
        assert_eq!(tensor.dtype, DType::Plain(Plain::F32));
        assert_eq!(tensor.shape, [3, 4]);
        assert_eq!(tensor.range, 128..176);
        assert!(tensor.contiguous);
    }

    #[test]
    fn reads_versions_key_orders_and_python_2_numbers() {
        for version in [1, 2, 3] {
            let dict = "{\"shape\":(2L,),'fortran_order':True,'descr':'|u1'}\n";
            let tensor = only(file(version, dict, 3));
            assert_eq!(tensor.shape, [2]);
            let start = if version == 1 { 10 } else { 12 } + dict.len() as u64;
            assert_eq!(tensor.range, start..start + 2);
            assert!(tensor.contiguous, "one dimension has only one order");
        }
    }

    #[test]
    fn fortran_order_is_not_contiguous_but_covers_everything() {
        let tensor = only(file(1, "{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3)}", 48));
        assert!(!tensor.contiguous);
        assert_eq!(tensor.range.end - tensor.range.start, 48);
    }

    #[test]
    fn scalars_empty_arrays_and_opaque_types() {
        let scalar = only(file(1, "{'descr': '<c16', 'fortran_order': False, 'shape': ()}", 16));
        assert_eq!(scalar.shape, [0u64; 0]);
        assert_eq!(scalar.elements(), 1);
        let empty = only(file(1, "{'descr': '=i8', 'fortran_order': False, 'shape': (0, 5)}", 0));
        assert!(empty.range.is_empty());
        let bf16 = only(file(1, "{'descr': '|V2', 'fortran_order': False, 'shape': (3,)}", 6));
        assert_eq!(bf16.dtype.name(), "v2");
        assert_eq!(bf16.range.end - bf16.range.start, 6);
    }

    #[test]
    fn refuses_with_the_reason() {
        let with = |descr: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (1,)}}");
        assert!(refusal(&with("'>f4'")).contains("big-endian data: >f4"));
        assert!(refusal(&with("[('a', '<f4')]")).contains("structured"));
        assert!(refusal(&with("'|O'")).contains("unsupported type |O"));
        let with = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}");
        for shape in ["(3)", "[3]", "(,)", "(-1,)", "(3 4)", "(18446744073709551616,)", "(3,"] {
            assert!(refusal(&with(shape)).contains("the array's header"), "{shape}");
        }
        for shape in ["(9223372036854775808, 2)", "(9223372036854775808,)", "(17,)"] {
            assert!(refusal(&with(shape)).contains("outside the file"), "{shape}");
        }
        assert!(refusal(&with(&format!("({})", "1, ".repeat(33)))).contains("beyond"));
    }

    #[test]
    fn refuses_dicts_numpy_would_not_write() {
        let full = "'descr': '<f4', 'fortran_order': False, 'shape': (1,)";
        assert!(refusal(&format!("{{{full}, 'descr': '<f4'}}")).contains("repeats"));
        assert!(refusal(&format!("{{{full}, 'more': 1}}")).contains("unknown key"));
        assert!(refusal(&format!("{{{full}}} 1")).contains("goes on"));
        assert!(refusal(&format!("{{{full}")).contains("closing"));
        assert!(refusal("{'descr': '<f4', 'shape': (1,)}").contains("lacks one of"));
        assert!(refusal("[]").contains("no dict"));
        assert!(refusal("").contains("no dict"));
        assert!(refusal(&"{".repeat(60_000)).contains("string"));
    }

    #[test]
    fn other_files_are_none() {
        assert!(parse(&Vec::new()).unwrap().is_none());
        assert!(parse(&b"\x93NUMPZ\x01\x00".to_vec()).unwrap().is_none());
    }

    #[test]
    fn an_array_inside_another_file_keeps_to_its_limit() {
        let array = valid();
        let mut bytes = vec![0u8; 5];
        bytes.extend(&array);
        let header = parse_header(&bytes, 5, array.len() as u64, Format::Npz);
        let header = header.unwrap().unwrap();
        assert_eq!(header.len, 128);
        assert_eq!(header.data_len(), Some(48));
        let error = parse_header(&bytes, 5, 100, Format::Npz).unwrap_err();
        assert_eq!(error.to_string(), "npz: the array's header lies outside the file");
        assert!(parse_header(&bytes, u64::MAX, 100, Format::Npz).unwrap().is_none());
    }

    #[test]
    fn survives_hostile_files() {
        truncations(parse, &valid());
        flips(parse, &valid(), 128, 20_000);
        let mut head = file(2, "", 0);
        head[8..12].copy_from_slice(&(100u32 << 20).to_le_bytes());
        assert!(matches!(parse(&head).unwrap_err(), LayoutError::OutOfBounds { .. }));
        let huge = Sparse { head, len: 1 << 40 };
        assert!(matches!(parse(&huge).unwrap_err(), LayoutError::TooLarge { .. }));
        let huge = Sparse {
            head: valid(),
            len: 1 << 40,
        };
        assert!(parse(&huge).unwrap().is_some());
    }
}
