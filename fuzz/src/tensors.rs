//! Files that hold tensors: whatever a parser accepts lies inside the file, and the file can be cut by it.

use std::io;

use fai_core::chunking::{Chunker, plan};
use fai_core::object::MAX_CHUNK_LEN;
use fai_core::tensor::{Format, Layout, LayoutError, MAX_RANK, MAX_TENSORS, ReadAt, detect};
use fai_testkit::zip::Archive;
use fai_testkit::{DType, Tensor, gguf, numpy, onnx, safetensors, torch};

use super::{Target, target};

pub const TARGETS: &[Target] = &[
    target(
        "safetensors",
        |bytes| parsed(Format::Safetensors, bytes),
        safetensors_seeds,
    ),
    target("gguf", |bytes| parsed(Format::Gguf, bytes), gguf_seeds),
    target("onnx", |bytes| parsed(Format::Onnx, bytes), onnx_seeds),
    target("npy", |bytes| parsed(Format::Npy, bytes), npy_seeds),
    target("npz", |bytes| parsed(Format::Npz, bytes), npz_seeds),
    target("pytorch", |bytes| parsed(Format::PyTorch, bytes), pytorch_seeds),
    target("pickle", pickle, pickle_seeds),
    target("detect", detected, detect_seeds),
];

/// Some bytes, and zeros behind them that exist nowhere: a file as long as one claims to be.
struct Followed<'a> {
    head: &'a [u8],
    len: u64,
}

impl ReadAt for Followed<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.fill(0);
        let known = self.head.get(offset as usize..).unwrap_or_default();
        buffer.iter_mut().zip(known).for_each(|(target, byte)| *target = *byte);
        Ok(())
    }
}

/// What every accepted layout promises to the code that works on it.
fn assert_inside(layout: &Layout, len: u64) {
    assert!(layout.tensors.len() <= MAX_TENSORS);
    for tensor in &layout.tensors {
        assert!(
            tensor.range.start <= tensor.range.end && tensor.range.end <= len,
            "{tensor:?} in {len} bytes"
        );
        assert!(tensor.shape.len() <= MAX_RANK);
        if tensor.contiguous {
            let bytes = tensor.dtype.byte_len(tensor.elements());
            assert_eq!(bytes, Some(tensor.range.end - tensor.range.start), "{tensor:?}");
        }
    }
    let _ = layout.parameters();
    let mut end = 0;
    for region in layout.regions() {
        assert!(region.range.start >= end, "regions overlap");
        end = region.range.end;
        assert_eq!(
            (region.range.end - region.range.start) % region.element.width() as u64,
            0,
            "{region:?}"
        );
    }
}

/// Cuts the file by the layout: the chunks are the file.
fn assert_cut(layout: &Layout, bytes: &[u8]) {
    let source = bytes.to_vec();
    let mut chunker = Chunker::new(&source, plan(bytes.len() as u64, &layout.regions()));
    let mut at = 0;
    while let Some(chunk) = chunker.next(Vec::new()).expect("memory reads") {
        assert!(!chunk.bytes.is_empty() && chunk.bytes.len() as u64 <= MAX_CHUNK_LEN);
        assert_eq!(bytes.get(at..at + chunk.bytes.len()), Some(&chunk.bytes[..]), "at {at}");
        at += chunk.bytes.len();
    }
    assert_eq!(at, bytes.len());
}

fn accepted(bytes: &[u8], parse: impl Fn(&dyn ReadAt) -> Result<Option<Layout>, LayoutError>) -> bool {
    for len in [1 << 20, 1 << 44, u64::MAX] {
        let file = Followed {
            head: bytes,
            len: len.max(bytes.len() as u64),
        };
        if let Ok(Some(layout)) = parse(&file) {
            assert_inside(&layout, file.len);
        }
    }
    let Ok(Some(layout)) = parse(&bytes.to_vec()) else {
        return false;
    };
    assert_inside(&layout, bytes.len() as u64);
    assert_cut(&layout, bytes);
    true
}

fn parsed(format: Format, bytes: &[u8]) -> bool {
    accepted(bytes, |source| {
        let found = format.parse(source)?;
        assert!(found.as_ref().is_none_or(|layout| layout.format == format));
        Ok(found)
    })
}

fn detected(bytes: &[u8]) -> bool {
    accepted(bytes, detect)
}

/// The pickle of a PyTorch file that is right in all else.
fn pickle(bytes: &[u8]) -> bool {
    let mut archive = Archive::default();
    archive.add("archive/data.pkl", 64, bytes);
    archive.add("archive/byteorder", 64, b"little");
    for name in ["0", "1", "2"] {
        archive.add(&format!("archive/data/{name}"), 64, &[0x3c; 600]);
    }
    archive.add("archive/version", 64, b"3\n");
    parsed(Format::PyTorch, &archive.finish())
}

fn tensors() -> Vec<Tensor> {
    vec![
        Tensor::new("embed.weight", DType::F32, &[5, 6], 1),
        Tensor::new("head.bias", DType::Bf16, &[40], 2),
        Tensor::new("scale", DType::F32, &[], 3),
    ]
}

fn safetensors_seeds() -> Vec<Vec<u8>> {
    vec![safetensors::write(&tensors()), safetensors::write(&[])]
}

fn gguf_seeds() -> Vec<Vec<u8>> {
    // Every kind of value that metadata may hold, an array of texts among them.
    let mut rich = b"GGUF\x03\0\0\0".to_vec();
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    rich.extend([1u64.to_le_bytes(), 15u64.to_le_bytes()].concat());
    for (kind, width) in [1, 1, 2, 2, 4, 4, 4, 1].into_iter().enumerate() {
        rich.extend(text(&format!("key.{kind}")));
        rich.extend((kind as u32).to_le_bytes());
        rich.extend(&[1, 0, 0, 0][..width]);
    }
    rich.extend([text("general.name"), 8u32.to_le_bytes().to_vec(), text("tiny")].concat());
    for kind in 10..13u32 {
        rich.extend([text(&format!("key.{kind}")), kind.to_le_bytes().to_vec(), vec![1; 8]].concat());
    }
    let array = |name: &str, kind: u32, items: &[u8]| {
        [
            text(name),
            9u32.to_le_bytes().to_vec(),
            kind.to_le_bytes().to_vec(),
            2u64.to_le_bytes().to_vec(),
            items.to_vec(),
        ]
        .concat()
    };
    rich.extend(array("tokens", 8, &[text("a"), text("bc")].concat()));
    rich.extend(array("scores", 6, &[0; 8]));
    rich.extend(
        [
            text("general.alignment"),
            4u32.to_le_bytes().to_vec(),
            64u32.to_le_bytes().to_vec(),
        ]
        .concat(),
    );
    // One tensor of Q8_0: 34 bytes for 32 elements.
    rich.extend([text("w"), 1u32.to_le_bytes().to_vec(), 64u64.to_le_bytes().to_vec()].concat());
    rich.extend([8u32.to_le_bytes().to_vec(), 0u64.to_le_bytes().to_vec()].concat());
    rich.resize(rich.len().next_multiple_of(64) + 68, 5);
    vec![gguf::write("llama", &tensors()), gguf::write("", &[]), rich]
}

fn onnx_seeds() -> Vec<Vec<u8>> {
    vec![onnx::write(&tensors()), onnx::write(&[])]
}

fn npy_seeds() -> Vec<Vec<u8>> {
    tensors().iter().map(numpy::npy).collect()
}

fn npz_seeds() -> Vec<Vec<u8>> {
    vec![numpy::npz(&tensors()), numpy::npz(&tensors()[..1])]
}

fn pytorch_seeds() -> Vec<Vec<u8>> {
    vec![torch::write(&tensors()), torch::write(&tensors()[..1])]
}

fn pickle_seeds() -> Vec<Vec<u8>> {
    // Protocol 0 and 4, memo, lists and dicts that hold themselves.
    let others: [&[u8]; 5] = [
        b"\x80\x04\x95\x1a\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94K\x01\x8c\x01b\x94]\x94(K\x02K\x03eu.",
        b"(dp0\nS'a'\np1\nI1\nsV\\u00e9\np2\n(lp3\nI2\naI01\naF1.5\nas.",
        b"\x80\x02]q\0h\0a.",
        b"\x80\x02}q\0X\x01\0\0\0aq\x01h\0s.",
        b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.",
    ];
    let mut seeds = vec![torch::pickle(&tensors()), torch::pickle(&[])];
    seeds.extend(others.map(<[u8]>::to_vec));
    seeds
}

fn detect_seeds() -> Vec<Vec<u8>> {
    [
        safetensors_seeds,
        gguf_seeds,
        onnx_seeds,
        npy_seeds,
        npz_seeds,
        pytorch_seeds,
    ]
    .iter()
    .flat_map(|seeds| seeds())
    .collect()
}
