//! Hugging Face safetensors: a length, a JSON object that names tensors, then their bytes.

use super::table::{MAX_ENTRIES, disjoint, keep, shortened, shown, unique_names};
use super::{Block, DType, Format, Layout, LayoutError, MAX_HEADER, MAX_RANK, MAX_TENSORS, Plain, ReadAt, Tensor};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

const FORMAT: Format = Format::Safetensors;

/// Bytes of the header's length.
const PREFIX: u64 = 8;

/// The one key of the header that is no tensor.
const METADATA: &str = "__metadata__";

/// Finds the tensors of a safetensors file; `Ok(None)` when it is none.
pub(super) fn parse(source: &dyn ReadAt) -> Result<Option<Layout>, LayoutError> {
    Ok(parse_whole(source)?.map(|(layout, _)| layout))
}

/// All entries of `__metadata__` of a safetensors file, also those that a [`Layout`] does not keep; none when it has none.
///
/// # Errors
/// When it is not a safetensors file that [`super::detect`] accepts, or reading failed.
pub fn whole_metadata(source: &dyn ReadAt) -> Result<BTreeMap<String, String>, LayoutError> {
    let whole = parse_whole(source)?;
    whole
        .map(|(_, metadata)| metadata)
        .ok_or_else(|| LayoutError::malformed(FORMAT, "the file is no safetensors file".to_owned()))
}

/// The layout of a file, and what its `__metadata__` says.
type Whole = (Layout, BTreeMap<String, String>);

fn parse_whole(source: &dyn ReadAt) -> Result<Option<Whole>, LayoutError> {
    let Some(header_len) = sniff(source)? else {
        return Ok(None);
    };
    let data = match PREFIX.checked_add(header_len) {
        Some(data) if data <= source.len() => data..source.len(),
        _ => return Err(LayoutError::out_of_bounds(FORMAT, "the header")),
    };
    if header_len > MAX_HEADER {
        let what = format!("a header of {header_len} bytes");
        return Err(LayoutError::too_large(FORMAT, what));
    }
    let mut json = vec![0u8; header_len as usize];
    read(source, &mut json, PREFIX)?;

    let mut table = Table::default();
    let mut deserializer = serde_json::Deserializer::from_slice(&json);
    let parsed = (&mut table).deserialize(&mut deserializer);
    let parsed = parsed.and_then(|()| deserializer.end());
    if let Some(what) = table.too_large {
        return Err(LayoutError::too_large(FORMAT, what));
    }
    if let Err(error) = parsed {
        // The error may quote a string of the header in full.
        let error = error.to_string();
        let what = format!("the header is no table of tensors: {}", shortened(&error));
        return Err(LayoutError::malformed(FORMAT, what));
    }

    let tensors = table.tensors.into_iter();
    let tensors = tensors
        .map(|(name, entry)| tensor(name, entry, &data))
        .collect::<Result<Vec<_>, _>>()?;
    unique_names(FORMAT, &tensors)?;
    // The reference reader also refuses gaps and bytes after the last tensor. Files with both exist, and for
    // finding tensors they do no harm: such bytes belong to no tensor.
    disjoint(FORMAT, &tensors)?;
    let mut metadata = BTreeMap::new();
    for (key, value) in &table.metadata {
        keep(&mut metadata, key, value);
    }
    let layout = Layout {
        format: FORMAT,
        tensors,
        metadata,
    };
    Ok(Some((layout, table.metadata)))
}

/// The header's claimed length if the file starts like a safetensors file. There is no magic number: the sign
/// is a brace after a length that is at least `{}` and not beyond all reason, as it would be in text.
fn sniff(source: &dyn ReadAt) -> Result<Option<u64>, LayoutError> {
    let mut start = [0u8; PREFIX as usize + 1];
    if source.len() < PREFIX + 2 {
        return Ok(None);
    }
    read(source, &mut start, 0)?;
    let [len @ .., brace] = start;
    let len = u64::from_le_bytes(len);
    let plausible = brace == b'{' && (2..1 << 32).contains(&len);
    Ok(plausible.then_some(len))
}

fn read(source: &dyn ReadAt, buffer: &mut [u8], offset: u64) -> Result<(), LayoutError> {
    let result = source.read_exact_at(buffer, offset);
    result.map_err(|source| LayoutError::Io { format: FORMAT, source })
}

/// Turns an entry of the header into a tensor whose bytes lie inside `data`, a range of the file.
fn tensor(name: String, entry: Entry<'_>, data: &Range<u64>) -> Result<Tensor, LayoutError> {
    let shape = entry.shape.0;
    if shape.len() > MAX_RANK {
        let what = format!("tensor {} with more than {MAX_RANK} dimensions", shown(&name));
        return Err(LayoutError::too_large(FORMAT, what));
    }
    let refuse = |why: &str| LayoutError::malformed(FORMAT, format!("tensor {} {why}", shown(&name)));
    let dtype = dtype(&entry.dtype).ok_or_else(|| refuse(&format!("has unknown type {}", shown(&entry.dtype))))?;
    let (begin, end) = entry.data_offsets;
    let range = match (data.start.checked_add(begin), data.start.checked_add(end)) {
        _ if begin > end => return Err(refuse("ends before it begins")),
        (Some(begin), Some(end)) if end <= data.end => begin..end,
        _ => return Err(LayoutError::out_of_bounds(FORMAT, format!("tensor {}", shown(&name)))),
    };
    let count = super::element_count(&shape).ok_or_else(|| refuse("has more elements than 64 bits count"))?;
    if let DType::Block(block) = dtype
        && !count.is_multiple_of(u64::from(block.elements))
    {
        return Err(refuse("does not end at a whole byte"));
    }
    if dtype.byte_len(count) != Some(range.end - range.start) {
        return Err(refuse("has a shape that does not match its bytes"));
    }
    Ok(Tensor {
        name,
        dtype,
        shape,
        range,
        contiguous: true,
    })
}

fn dtype(name: &str) -> Option<DType> {
    let packed = |name, elements, bytes| DType::Block(Block { name, elements, bytes });
    Some(match name {
        "BOOL" => DType::Plain(Plain::Bool),
        "U8" => DType::Plain(Plain::U8),
        "I8" => DType::Plain(Plain::I8),
        "F8_E4M3" => DType::Plain(Plain::F8E4M3),
        "F8_E4M3FNUZ" => DType::Plain(Plain::F8E4M3Fnuz),
        "F8_E5M2" => DType::Plain(Plain::F8E5M2),
        "F8_E5M2FNUZ" => DType::Plain(Plain::F8E5M2Fnuz),
        "F8_E8M0" => DType::Plain(Plain::F8E8M0),
        "U16" => DType::Plain(Plain::U16),
        "I16" => DType::Plain(Plain::I16),
        "F16" => DType::Plain(Plain::F16),
        "BF16" => DType::Plain(Plain::BF16),
        "U32" => DType::Plain(Plain::U32),
        "I32" => DType::Plain(Plain::I32),
        "F32" => DType::Plain(Plain::F32),
        "U64" => DType::Plain(Plain::U64),
        "I64" => DType::Plain(Plain::I64),
        "F64" => DType::Plain(Plain::F64),
        "C64" => DType::Plain(Plain::C64),
        "F4" => packed("F4", 2, 1),
        "F6_E2M3" => packed("F6_E2M3", 4, 3),
        "F6_E3M2" => packed("F6_E3M2", 4, 3),
        _ => return None,
    })
}

/// The header as it comes out of the JSON, before its numbers are checked.
#[derive(Default)]
struct Table<'a> {
    tensors: Vec<(String, Entry<'a>)>,
    metadata: BTreeMap<String, String>,
    /// The limit that stopped the reading; a JSON error alone could not tell it from broken JSON.
    too_large: Option<String>,
}

/// What the header says of one tensor. Unknown fields are ignored, as the reference reader does.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Shape,
    data_offsets: (u64, u64),
}

/// At most one dimension more than allowed is kept: enough to see that there are too many.
struct Shape(Vec<u64>);

impl<'de> DeserializeSeed<'de> for &mut Table<'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Table<'de> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of tensors")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let mut metadata = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == METADATA {
                if std::mem::replace(&mut metadata, true) {
                    return Err(M::Error::custom("metadata occurs twice"));
                }
                map.next_value_seed(Metadata(self))?;
            } else if self.tensors.len() < MAX_TENSORS {
                self.tensors.push((key, map.next_value()?));
            } else {
                self.too_large = Some(format!("a table of more than {MAX_TENSORS} tensors"));
                return Err(M::Error::custom("too many tensors"));
            }
        }
        Ok(())
    }
}

/// The value of `__metadata__`: strings by name.
struct Metadata<'t, 'a>(&'t mut Table<'a>);

impl<'de> DeserializeSeed<'de> for Metadata<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of strings")
    }

    // The reference reader takes `null` for no metadata.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            if self.0.metadata.insert(key, value).is_some() {
                return Err(M::Error::custom("a metadata entry occurs twice"));
            }
            if self.0.metadata.len() > MAX_ENTRIES {
                self.0.too_large = Some(format!("metadata of more than {MAX_ENTRIES} entries"));
                return Err(M::Error::custom("too many metadata entries"));
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Dimensions;

        impl<'de> Visitor<'de> for Dimensions {
            type Value = Shape;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an array of dimensions")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut sequence: S) -> Result<Shape, S::Error> {
                let mut shape = Vec::new();
                while shape.len() <= MAX_RANK {
                    match sequence.next_element()? {
                        Some(dimension) => shape.push(dimension),
                        None => return Ok(Shape(shape)),
                    }
                }
                while sequence.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Shape(shape))
            }
        }

        deserializer.deserialize_seq(Dimensions)
    }
}

#[cfg(test)]
mod tests {
    use super::super::hostile::{Sparse, flips, truncations};
    use super::*;
    use ::safetensors::tensor::{Dtype, TensorView};
    use std::collections::HashMap;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 7);
        bytes
    }

    /// A file of three tensors and metadata, written by the reference implementation.
    fn valid() -> Vec<u8> {
        let data = [1u8; 64];
        let views = [
            ("w", Dtype::F32, vec![2, 4], 32),
            ("half", Dtype::BF16, vec![3], 6),
            ("odd", Dtype::U8, vec![5, 1], 5),
        ]
        .map(|(name, dtype, shape, len)| (name, TensorView::new(dtype, shape, &data[..len]).unwrap()));
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        ::safetensors::serialize(views, Some(metadata)).unwrap()
    }

    fn entry(name: &str, dtype: &str, shape: &str, begin: u64, end: u64) -> String {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    }

    fn tensors(header: &str, data: usize) -> Vec<Tensor> {
        parse(&file(header, data)).unwrap().unwrap().tensors
    }

    fn refusal(header: &str) -> LayoutError {
        parse(&file(header, 64)).unwrap_err()
    }

    #[track_caller]
    fn malformed(header: &str, reason: &str) {
        let error = refusal(header);
        assert!(matches!(error, LayoutError::Malformed { .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.to_string().len() < 300, "{error}");
    }

    #[test]
    fn agrees_with_the_reference_implementation() {
        let bytes = valid();
        let layout = parse(&bytes).unwrap().unwrap();
        let reference = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(layout.tensors.len(), reference.len());
        for tensor in &layout.tensors {
            let view = reference.tensor(&tensor.name).unwrap();
            let shape: Vec<u64> = view.shape().iter().map(|&dimension| dimension as u64).collect();
            assert_eq!(tensor.shape, shape);
            assert_eq!(tensor.dtype.name(), view.dtype().to_string().to_lowercase());
            let start = view.data().as_ptr() as u64 - bytes.as_ptr() as u64;
            assert_eq!(tensor.range, start..start + view.data().len() as u64);
        }
        assert_eq!(layout.metadata["format"], "pt");
    }

    #[test]
    fn knows_every_type_of_the_reference_implementation() {
        use Dtype::*;
        let all = [
            BOOL,
            F4,
            F6_E2M3,
            F6_E3M2,
            U8,
            I8,
            F8_E5M2,
            F8_E4M3,
            F8_E8M0,
            F8_E4M3FNUZ,
            F8_E5M2FNUZ,
            I16,
            U16,
            F16,
            BF16,
            I32,
            U32,
            F32,
            C64,
            F64,
            I64,
            U64,
        ];
        for dtype in all {
            let data = vec![0u8; dtype.bitsize()];
            let view = TensorView::new(dtype, vec![2, 4], &data).unwrap();
            let bytes = ::safetensors::serialize([("t", view)], None).unwrap();
            let layout = parse(&bytes).unwrap().unwrap();
            assert_eq!(layout.tensors[0].dtype.name(), dtype.to_string().to_lowercase());
            assert_eq!(layout.tensors[0].elements(), 8);
        }
    }

    #[test]
    fn keeps_the_order_of_the_table_and_allows_gaps_and_odd_offsets() {
        let header = format!(
            "{{{}, {}, {}}}  ",
            entry("z", "F16", "[2]", 9, 13),
            entry("a", "U8", "[]", 0, 1),
            entry("empty", "F32", "[0, 9223372036854775808, 4]", 10, 10)
        );
        let tensors = tensors(&header, 20);
        let names: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["z", "a", "empty"]);
        let data = 8 + header.len() as u64;
        assert_eq!(tensors[0].range, data + 9..data + 13);
        assert_eq!(tensors[1].elements(), 1);
    }

    #[test]
    fn files_without_tensors_are_fine() {
        assert!(tensors("{}", 0).is_empty());
        assert!(tensors(r#"{"__metadata__":null}"#, 3).is_empty());
        assert!(tensors(r#"{"__metadata__":{"a":"b"}}"#, 0).is_empty());
    }

    #[test]
    fn refuses_what_contradicts_itself() {
        let one = |dtype, shape, begin, end| format!("{{{}}}", entry("t", dtype, shape, begin, end));
        malformed(&one("F31", "[1]", 0, 4), r#"unknown type "F31""#);
        malformed(&one("F32", "[1]", 4, 0), "ends before it begins");
        malformed(&one("F32", "[2]", 0, 4), "does not match");
        malformed(&one("F32", "[4611686018427387905]", 0, 4), "does not match");
        malformed(&one("U8", "[9223372036854775808, 2]", 0, 4), "64 bits");
        malformed(&one("F4", "[3]", 0, 2), "whole byte");
        malformed(&one("U8", "[-1]", 0, 4), "no table");
        malformed(&one("U8", "[1.5]", 0, 4), "no table");
        malformed(r#"{"t":{"dtype":"U8","shape":[1]}}"#, "data_offsets");
        malformed(r#"{"__metadata__":{"a":1}}"#, "no table");
        malformed("{} x", "trailing");
        malformed("{ ", "no table");
        malformed(&format!(r#"{{"t":"{}"}}"#, "x".repeat(1000)), "xxx");
        let overlap = format!(
            "{{{},{}}}",
            entry("a", "U8", "[4]", 0, 4),
            entry("b", "U8", "[4]", 3, 7)
        );
        malformed(&overlap, "overlap");
    }

    #[test]
    fn refuses_repeated_keys_everywhere() {
        let a = entry("a", "U8", "[0]", 0, 0);
        malformed(&format!("{{{a},{a}}}"), r#""a" occurs twice"#);
        malformed(r#"{"__metadata__":{},"__metadata__":{}}"#, "occurs twice");
        malformed(r#"{"__metadata__":{"a":"","a":""}}"#, "occurs twice");
        let twice = r#"{"t":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
        malformed(twice, "duplicate field");
    }

    #[test]
    fn refuses_what_lies_outside_the_file() {
        for end in [65, u64::MAX] {
            let header = format!("{{{}}}", entry("t", "U8", &format!("[{end}]"), 0, end));
            let error = refusal(&header);
            assert_eq!(error.to_string(), r#"safetensors: tensor "t" lies outside the file"#);
        }
        let mut bytes = file("{}", 0);
        bytes[0] = 3;
        let error = parse(&bytes).unwrap_err();
        assert!(matches!(error, LayoutError::OutOfBounds { .. }), "{error:?}");
    }

    #[test]
    fn refuses_what_is_too_large() {
        let too_large = |error: LayoutError| assert!(matches!(error, LayoutError::TooLarge { .. }), "{error:?}");
        let shape = format!("[1{}]", ",1".repeat(100_000));
        too_large(refusal(&format!("{{{}}}", entry("t", "U8", &shape, 0, 1))));
        let entries: Vec<String> = (0..=MAX_ENTRIES).map(|index| format!(r#""{index}":"""#)).collect();
        too_large(refusal(&format!(r#"{{"__metadata__":{{{}}}}}"#, entries.join(","))));
        let row = entry("t", "U8", "[]", 0, 0);
        let rows = vec![row; MAX_TENSORS + 1].join(",");
        too_large(refusal(&format!("{{{rows}}}")));
        let head = file("{}", 0);
        for len in [100u64 << 20, (1 << 32) - 1] {
            let mut head = head.clone();
            head[..8].copy_from_slice(&len.to_le_bytes());
            assert!(matches!(parse(&head).unwrap_err(), LayoutError::OutOfBounds { .. }));
            too_large(parse(&Sparse { head, len: 1 << 40 }).unwrap_err());
        }
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let deep = "[".repeat(1 << 20);
        malformed(&format!(r#"{{"t":{deep}"#), "no table");
        malformed(&format!(r#"{{"t":{{"more":{deep}"#), "no table");
        malformed(&format!(r#"{{"__metadata__":{deep}"#), "no table");
        malformed(&format!(r#"{{"t":{{"shape":{deep}"#), "no table");
    }

    #[test]
    fn other_files_are_none() {
        for bytes in [&b""[..], b"{}", b"some text{ with a brace", b"\x01\0\0\0\0\0\0\0{}"] {
            assert!(parse(&bytes.to_vec()).unwrap().is_none());
        }
        let zeros = Sparse {
            head: Vec::new(),
            len: 1 << 40,
        };
        assert!(parse(&zeros).unwrap().is_none());
    }

    #[test]
    fn survives_hostile_files() {
        let valid = valid();
        truncations(parse, &valid);
        flips(parse, &valid, valid.len() - 43, 20_000);
        let huge = Sparse {
            head: valid,
            len: 1 << 40,
        };
        assert_eq!(parse(&huge).unwrap().unwrap().tensors.len(), 3);
        let mut head = (MAX_HEADER).to_le_bytes().to_vec();
        head.push(b'{');
        assert!(parse(&Sparse { head, len: 1 << 40 }).is_err());
    }
}
