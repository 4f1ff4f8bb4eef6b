//! GGML's GGUF, versions 2 and 3: typed metadata, a table of tensors, then their aligned bytes.

use super::gguf_types::dtype;
use super::table::{KEPT_BYTES, MAX_ENTRIES, disjoint, keep, shown, unique_names};
use super::{Cursor, DType, Format, Layout, LayoutError, MAX_HEADER, MAX_TENSORS, ReadAt, Tensor, element_count};
use std::collections::{BTreeMap, HashSet};
use std::io::{BufReader, Read};

const FORMAT: Format = Format::Gguf;
const MAGIC: [u8; 4] = *b"GGUF";

/// The most bytes before the tensors' data. More than other formats need, because a tokenizer's whole
/// vocabulary is among the metadata: one of 262 144 words takes 6.5 MB even without merge rules.
const MAX_STRUCTURE: u64 = MAX_HEADER * 4;

/// Names and keys: the format's limit for keys; GGML itself stops at 64 bytes for names.
const MAX_NAME: u64 = 64 << 10;

/// GGML's own limit.
const MAX_DIMENSIONS: u32 = 4;

/// Arrays inside arrays; no published file has any.
const MAX_NESTING: u32 = 4;

const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;

/// The number of the metadata type `string`.
const STRING: u32 = 8;
/// The number of the metadata type `array`.
const ARRAY: u32 = 9;
/// The number of the metadata type `uint32`.
const UINT32: u32 = 4;

/// Finds the tensors of a GGUF file; `Ok(None)` when it is none.
pub(super) fn parse(source: &dyn ReadAt) -> Result<Option<Layout>, LayoutError> {
    if source.len() < MAGIC.len() as u64 {
        return Ok(None);
    }
    let mut file = Walk::new(source);
    if file.array()? != MAGIC {
        return Ok(None);
    }
    match file.u32()? {
        2 | 3 => {}
        1 => return malformed("version 1 has 32-bit lengths and is not supported"),
        version if version & 0xffff == 0 => return malformed("big-endian files are not supported"),
        version => return malformed(format!("version {version} is unknown")),
    }
    let tensor_count = file.u64()?;
    let entry_count = file.u64()?;
    if tensor_count > MAX_TENSORS as u64 {
        return too_large(format!("a table of {tensor_count} tensors"));
    }
    if entry_count > MAX_ENTRIES as u64 {
        return too_large(format!("metadata of {entry_count} entries"));
    }

    let (metadata, alignment) = metadata(&mut file, entry_count)?;
    let mut tensors = Vec::new();
    for _ in 0..tensor_count {
        tensors.push(tensor(&mut file)?);
    }
    let data = file.position.checked_next_multiple_of(alignment);
    for tensor in &mut tensors {
        place(tensor, data, alignment, source.len())?;
    }
    unique_names(FORMAT, &tensors)?;
    disjoint(FORMAT, &tensors)?;
    Ok(Some(Layout {
        format: FORMAT,
        tensors,
        metadata,
    }))
}

/// Reads all metadata; returns what a layout keeps, and the alignment of the tensors' data.
fn metadata(file: &mut Walk<'_>, count: u64) -> Result<(BTreeMap<String, String>, u64), LayoutError> {
    let mut kept = BTreeMap::new();
    let mut alignment = DEFAULT_ALIGNMENT;
    let mut seen = HashSet::new();
    for _ in 0..count {
        let key = file.name()?;
        let kind = file.u32()?;
        if key == ALIGNMENT_KEY {
            if kind != UINT32 {
                return malformed(format!("{ALIGNMENT_KEY} is not of type uint32"));
            }
            let value = file.u32()?;
            if !value.is_power_of_two() {
                return malformed(format!("an alignment of {value} is no power of two"));
            }
            alignment = u64::from(value);
            keep(&mut kept, &key, &value.to_string());
        } else if let Some(value) = value(file, kind)? {
            keep(&mut kept, &key, &value);
        }
        if let Some(key) = seen.replace(key) {
            return malformed(format!("metadata key {} occurs twice", shown(&key)));
        }
    }
    Ok((kept, alignment))
}

/// Reads or skips a value of the type numbered `kind`; `None` for arrays and for strings that are long or no text.
fn value(file: &mut Walk<'_>, kind: u32) -> Result<Option<String>, LayoutError> {
    Ok(Some(match kind {
        0 => u8::from_le_bytes(file.array()?).to_string(),
        1 => i8::from_le_bytes(file.array()?).to_string(),
        2 => u16::from_le_bytes(file.array()?).to_string(),
        3 => i16::from_le_bytes(file.array()?).to_string(),
        UINT32 => file.u32()?.to_string(),
        5 => i32::from_le_bytes(file.array()?).to_string(),
        6 => f32::from_le_bytes(file.array()?).to_string(),
        7 => (file.array()? != [0u8]).to_string(),
        STRING => {
            let len = file.u64()?;
            if len >= KEPT_BYTES as u64 {
                file.skip(len)?;
                return Ok(None);
            }
            return Ok(String::from_utf8(file.bytes(len)?).ok());
        }
        ARRAY => {
            skip_array(file, MAX_NESTING)?;
            return Ok(None);
        }
        10 => file.u64()?.to_string(),
        11 => i64::from_le_bytes(file.array()?).to_string(),
        12 => f64::from_le_bytes(file.array()?).to_string(),
        _ => return malformed(format!("metadata type {kind} is unknown")),
    }))
}

/// Steps over an array whose type is still to be read. Nothing loops longer than the structure has bytes:
/// every element takes at least one.
fn skip_array(file: &mut Walk<'_>, nesting: u32) -> Result<(), LayoutError> {
    let kind = file.u32()?;
    let count = file.u64()?;
    let width = match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        UINT32 | 5 | 6 => 4,
        10..=12 => 8,
        STRING => {
            file.reserve(count.saturating_mul(8))?;
            for _ in 0..count {
                let len = file.u64()?;
                file.skip(len)?;
            }
            return Ok(());
        }
        ARRAY if nesting == 0 => return too_large("metadata that nests arrays so deep"),
        ARRAY => {
            file.reserve(count.saturating_mul(12))?;
            for _ in 0..count {
                skip_array(file, nesting - 1)?;
            }
            return Ok(());
        }
        _ => return malformed(format!("metadata type {kind} is unknown")),
    };
    file.skip(count.saturating_mul(width))
}

/// Reads a tensor's description. Its range is still relative to the data's start.
fn tensor(file: &mut Walk<'_>) -> Result<Tensor, LayoutError> {
    let name = file.name()?;
    let rank = file.u32()?;
    if rank > MAX_DIMENSIONS {
        return malformed(format!("tensor {} has {rank} dimensions", shown(&name)));
    }
    let mut shape = Vec::new();
    for _ in 0..rank {
        shape.push(file.u64()?);
    }
    // Blocks lie along the dimension that varies fastest, which the format writes first.
    let row = shape.first().copied().unwrap_or(1);
    shape.reverse();
    let code = file.u32()?;
    let Some(dtype) = dtype(code) else {
        return malformed(format!("tensor {} has unknown type {code}", shown(&name)));
    };
    if let DType::Block(block) = dtype
        && !row.is_multiple_of(u64::from(block.elements))
    {
        return malformed(format!("tensor {} has rows of no whole blocks", shown(&name)));
    }
    let begin = file.u64()?;
    let len = element_count(&shape).and_then(|count| dtype.byte_len(count));
    let Some(end) = len.and_then(|len| begin.checked_add(len)) else {
        return out_of_bounds(format!("tensor {}", shown(&name)));
    };
    Ok(Tensor {
        name,
        dtype,
        shape,
        range: begin..end,
        contiguous: true,
    })
}

/// Moves a tensor's range from the data's start, `data`, to the file's, and checks it.
fn place(tensor: &mut Tensor, data: Option<u64>, alignment: u64, file_len: u64) -> Result<(), LayoutError> {
    let range = &tensor.range;
    if !range.start.is_multiple_of(alignment) {
        return malformed(format!("tensor {} is not aligned", shown(&tensor.name)));
    }
    let begin = data.and_then(|data| data.checked_add(range.start));
    let end = data.and_then(|data| data.checked_add(range.end));
    match (begin, end) {
        (Some(begin), Some(end)) if end <= file_len => tensor.range = begin..end,
        _ => return out_of_bounds(format!("tensor {}", shown(&tensor.name))),
    }
    Ok(())
}

/// A walk through the structure, which never leaves the file nor the first [`MAX_STRUCTURE`] bytes.
struct Walk<'a> {
    reader: BufReader<Cursor<'a>>,
    position: u64,
    file_len: u64,
}

impl<'a> Walk<'a> {
    fn new(source: &'a dyn ReadAt) -> Self {
        Self {
            reader: BufReader::new(Cursor::new(source, 0)),
            position: 0,
            file_len: source.len(),
        }
    }

    /// Checks that `count` more bytes may be read.
    fn reserve(&self, count: u64) -> Result<(), LayoutError> {
        match self.position.checked_add(count) {
            Some(end) if end <= self.file_len && end <= MAX_STRUCTURE => Ok(()),
            Some(end) if end <= self.file_len => too_large(format!("a structure of over {MAX_STRUCTURE} bytes")),
            _ => out_of_bounds("the structure"),
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), LayoutError> {
        self.reserve(buffer.len() as u64)?;
        self.position += buffer.len() as u64;
        self.reader.read_exact(buffer).map_err(io)
    }

    fn skip(&mut self, count: u64) -> Result<(), LayoutError> {
        self.reserve(count)?;
        self.position += count;
        // Checked above to be far below the limit of the type.
        self.reader.seek_relative(count as i64).map_err(io)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LayoutError> {
        let mut bytes = [0u8; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, LayoutError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, LayoutError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn bytes(&mut self, count: u64) -> Result<Vec<u8>, LayoutError> {
        self.reserve(count)?;
        let mut bytes = vec![0u8; count as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// A metadata key or the name of a tensor.
    fn name(&mut self) -> Result<String, LayoutError> {
        let len = self.u64()?;
        if len > MAX_NAME {
            return too_large(format!("a name of {len} bytes"));
        }
        String::from_utf8(self.bytes(len)?).or_else(|_| malformed("a name is not UTF-8"))
    }
}

fn io(source: std::io::Error) -> LayoutError {
    LayoutError::Io { format: FORMAT, source }
}

fn malformed<T>(what: impl Into<String>) -> Result<T, LayoutError> {
    Err(LayoutError::malformed(FORMAT, what))
}

fn out_of_bounds<T>(what: impl Into<String>) -> Result<T, LayoutError> {
    Err(LayoutError::out_of_bounds(FORMAT, what))
}

fn too_large<T>(what: impl Into<String>) -> Result<T, LayoutError> {
    Err(LayoutError::too_large(FORMAT, what))
}

#[cfg(test)]
mod tests {
    use super::super::hostile::{Sparse, flips, truncations};
    use super::*;

    /// A file in the making: entries and tensor descriptions are appended in the order of the calls.
    struct File {
        version: u32,
        alignment: u64,
        entries: Vec<Vec<u8>>,
        tensors: Vec<Vec<u8>>,
        data: usize,
    }

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    fn array(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes(), &count.to_le_bytes()[..], elements].concat()
    }

    impl File {
        fn new() -> Self {
            File {
                version: 3,
                alignment: 32,
                entries: Vec::new(),
                tensors: Vec::new(),
                data: 0,
            }
        }

        fn entry(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
            self.entries.push([&text(key), &kind.to_le_bytes()[..], value].concat());
            self
        }

        fn tensor(mut self, name: &str, dimensions: &[u64], code: u32, offset: u64) -> Self {
            let mut tensor = text(name);
            tensor.extend((dimensions.len() as u32).to_le_bytes());
            tensor.extend(dimensions.iter().flat_map(|dimension| dimension.to_le_bytes()));
            tensor.extend(code.to_le_bytes());
            tensor.extend(offset.to_le_bytes());
            self.tensors.push(tensor);
            self
        }

        fn data(mut self, len: usize) -> Self {
            self.data = len;
            self
        }

        fn structure(&self) -> Vec<u8> {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(self.version.to_le_bytes());
            bytes.extend((self.tensors.len() as u64).to_le_bytes());
            bytes.extend((self.entries.len() as u64).to_le_bytes());
            bytes.extend(self.entries.concat());
            bytes.extend(self.tensors.concat());
            bytes
        }

        fn bytes(&self) -> Vec<u8> {
            let mut bytes = self.structure();
            let data = bytes.len().next_multiple_of(self.alignment as usize);
            bytes.resize(data + self.data, 0);
            bytes
        }

        fn layout(&self) -> Layout {
            parse(&self.bytes()).unwrap().unwrap()
        }

        #[track_caller]
        fn refused(&self, reason: &str) {
            let error = parse(&self.bytes()).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    fn valid() -> File {
        let words = [text("a"), text(""), text("long word")].concat();
        let nested = [array(0, 2, &[1, 2]), array(STRING, 1, &text("x"))].concat();
        File::new()
            .entry("general.architecture", STRING, &text("llama"))
            .entry("tokens", ARRAY, &array(STRING, 3, &words))
            .entry("scores", ARRAY, &array(6, 2, &[0; 8]))
            .entry("nested", ARRAY, &array(ARRAY, 2, &nested))
            .entry("template", STRING, &text(&"x".repeat(KEPT_BYTES)))
            .entry("scale", 6, &0.5f32.to_le_bytes())
            .entry("flag", 7, &[1])
            .entry("negative", 11, &(-7i64).to_le_bytes())
            .tensor("blocks", &[256, 2], 12, 0)
            .tensor("norm", &[3], 0, 288)
            .tensor("cube", &[4, 3, 2], 30, 320)
            .data(320 + 48)
    }

    #[test]
    fn reads_tensors_and_short_metadata() {
        for version in [2, 3] {
            let file = File { version, ..valid() };
            let layout = file.layout();
            let data = file.structure().len().next_multiple_of(32) as u64;
            let found: Vec<_> = layout
                .tensors
                .iter()
                .map(|tensor| {
                    (
                        tensor.name.as_str(),
                        tensor.dtype.name(),
                        &tensor.shape[..],
                        tensor.range.clone(),
                    )
                })
                .collect();
            let expected = [
                ("blocks", "q4_k".to_owned(), &[2, 256][..], data..data + 288),
                ("norm", "f32".to_owned(), &[3], data + 288..data + 300),
                ("cube", "bf16".to_owned(), &[2, 3, 4], data + 320..data + 368),
            ];
            assert_eq!(found, expected);
            let kept: Vec<_> = layout
                .metadata
                .iter()
                .map(|(key, value)| (&key[..], &value[..]))
                .collect();
            let expected = [
                ("flag", "true"),
                ("general.architecture", "llama"),
                ("negative", "-7"),
                ("scale", "0.5"),
            ];
            assert_eq!(kept, expected);
        }
    }

    #[test]
    fn obeys_the_alignment() {
        let mut file = File::new()
            .entry(ALIGNMENT_KEY, UINT32, &128u32.to_le_bytes())
            .tensor("a", &[1], 0, 0)
            .tensor("b", &[], 24, 128)
            .data(129);
        file.alignment = 128;
        let layout = file.layout();
        assert_eq!(layout.tensors[1].range.start % 128, 0);
        assert_eq!(layout.tensors[1].elements(), 1);
        let file = file.tensor("c", &[1], 0, 32);
        file.refused("not aligned");
        for alignment in [0u32, 33] {
            let entry = File::new().entry(ALIGNMENT_KEY, UINT32, &alignment.to_le_bytes());
            entry.refused("no power of two");
        }
        let wrong = File::new().entry(ALIGNMENT_KEY, 10, &32u64.to_le_bytes());
        wrong.refused("not of type uint32");
    }

    #[test]
    fn files_without_tensors_are_fine() {
        let layout = File::new().entry("general.name", STRING, &text("vocabulary")).layout();
        assert!(layout.tensors.is_empty());
        assert_eq!(layout.metadata["general.name"], "vocabulary");
    }

    #[test]
    fn names_the_version_it_refuses() {
        File { version: 1, ..valid() }.refused("version 1");
        let big_endian = 3u32.swap_bytes();
        File {
            version: big_endian,
            ..valid()
        }
        .refused("big-endian");
        File { version: 4, ..valid() }.refused("version 4 is unknown");
    }

    #[test]
    fn refuses_tensors_that_contradict_themselves() {
        let one = |dimensions: &[u64], code, offset| File::new().tensor("t", dimensions, code, offset).data(64);
        one(&[1], 4, 0).refused("unknown type 4");
        one(&[31], 2, 0).refused("no whole blocks");
        one(&[], 2, 0).refused("no whole blocks");
        one(&[1, 1, 1, 1, 1], 0, 0).refused("5 dimensions");
        one(&[17], 0, 0).refused("outside the file");
        one(&[1], 0, 64).refused("outside the file");
        one(&[1], 0, u64::MAX - 31).refused("outside the file");
        one(&[1 << 63], 24, 0).refused("outside the file");
        one(&[1 << 63, 2], 24, 0).refused("outside the file");
        one(&[1 << 62], 0, 0).refused("outside the file");
        let pair = |name, offset| one(&[9], 0, 0).tensor(name, &[1], 0, offset);
        pair("u", 32).refused("overlap");
        one(&[1], 0, 0).tensor("t", &[1], 0, 32).refused("occurs twice");
        let empty = one(&[0, 1 << 63, 4], 0, 32).layout();
        assert!(empty.tensors[0].range.is_empty());
    }

    #[test]
    fn refuses_metadata_that_contradicts_itself() {
        File::new().entry("a", 13, &[]).refused("type 13 is unknown");
        File::new().entry("a", ARRAY, &array(13, 0, &[])).refused("type 13");
        File::new()
            .entry("a", 0, &[1])
            .entry("a", 0, &[1])
            .refused("occurs twice");
        let mut deep = array(0, 0, &[]);
        for _ in 0..=MAX_NESTING {
            deep = array(ARRAY, 1, &deep);
        }
        File::new().entry("a", ARRAY, &deep).refused("nests");
        let mut not_text = valid().bytes();
        let at = not_text.windows(7).position(|window| window == b"general").unwrap();
        not_text[at] = 0xff;
        assert!(parse(&not_text).unwrap_err().to_string().contains("UTF-8"));
        // A value that is no text is no reason to refuse the file.
        let bytes = [&2u64.to_le_bytes()[..], &[0xff, 0xff]].concat();
        assert!(File::new().entry("a", STRING, &bytes).layout().metadata.is_empty());
    }

    /// Lengths that a file of a tebibyte could hold and lengths that none could; none may be believed.
    #[test]
    fn refuses_lengths_beyond_reason_quickly() {
        let len = 1 << 40;
        for claim in [MAX_STRUCTURE, 1 << 39, u64::MAX / 8, u64::MAX] {
            for kind in 0..=12 {
                let head = match kind {
                    STRING => File::new().entry("a", STRING, &claim.to_le_bytes()),
                    _ => File::new().entry("a", ARRAY, &array(kind, claim, &[])),
                };
                assert!(
                    parse(&Sparse {
                        head: head.bytes(),
                        len
                    })
                    .is_err(),
                    "{claim} of {kind}"
                );
            }
            for (at, what) in [(8, "tensors"), (16, "entries")] {
                let mut head = File::new().bytes();
                head[at..at + 8].copy_from_slice(&claim.to_le_bytes());
                let error = parse(&Sparse { head, len }).unwrap_err();
                assert!(error.to_string().contains(what), "{error}");
            }
            let mut head = File::new().entry("", 0, &[0]).bytes();
            head[24..32].copy_from_slice(&claim.to_le_bytes());
            let error = parse(&Sparse { head, len }).unwrap_err();
            assert!(error.to_string().contains("a name of"), "{error}");
        }
        // As many empty strings as fit, and as many empty entries as are allowed.
        let head = File::new().entry("a", ARRAY, &array(STRING, MAX_STRUCTURE / 8 - 16, &[]));
        assert!(
            parse(&Sparse {
                head: head.bytes(),
                len
            })
            .unwrap()
            .is_some()
        );
        let mut head = File::new().bytes();
        head[16..24].copy_from_slice(&(MAX_ENTRIES as u64).to_le_bytes());
        assert!(parse(&Sparse { head, len }).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn other_files_are_none() {
        for bytes in [&b""[..], b"GGU", b"GGML\x03\0\0\0"] {
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
        let file = valid();
        truncations(parse, &file.bytes());
        flips(parse, &file.bytes(), file.structure().len(), 20_000);
        let huge = Sparse {
            head: file.bytes(),
            len: 1 << 40,
        };
        assert_eq!(parse(&huge).unwrap().unwrap(), file.layout());
    }

    /// With 123 tensors the ninth byte is the brace by which safetensors files are known.
    #[test]
    fn detection_does_not_mistake_it_for_safetensors() {
        let mut file = File::new();
        for index in 0..u64::from(b'{') {
            file = file.tensor(&index.to_string(), &[0], 0, 0);
        }
        let layout = super::super::detect(&file.bytes()).unwrap().unwrap();
        assert_eq!(layout.format, FORMAT);
        assert_eq!(layout.tensors.len(), 123);
    }
}
