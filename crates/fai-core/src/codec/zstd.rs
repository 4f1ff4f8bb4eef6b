//! zstd, used in two ways: as a general compressor, and as the fastest Huffman coder that every zstd decoder reads.

use std::io::{self, Cursor};

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, ParamSwitch, compress_bound};

use super::CodecError;
use super::sample;

/// Level for text and other data that matches help: the best ratio that still encodes at several hundred MB/s.
pub const TEXT_LEVEL: i32 = 3;

/// Level at which zstd's match finder gives up almost at once, so that only its Huffman coder is left.
const HUFFMAN_LEVEL: i32 = -1000;

/// Compression contexts, one for each use, kept because creating one costs more than a small chunk.
pub struct Squeeze {
    huffman: Compressor<'static>,
    fast: Compressor<'static>,
    text: Compressor<'static>,
    trial: Vec<u8>,
}

fn setup(error: io::Error) -> CodecError {
    CodecError::Setup(error.to_string())
}

impl Squeeze {
    pub(super) fn new() -> Result<Self, CodecError> {
        let mut huffman = Compressor::new(HUFFMAN_LEVEL).map_err(setup)?;
        // Negative levels store literals raw unless told otherwise.
        huffman
            .set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))
            .map_err(setup)?;
        Ok(Self {
            huffman,
            fast: Compressor::new(1).map_err(setup)?,
            text: Compressor::new(TEXT_LEVEL).map_err(setup)?,
            trial: Vec::new(),
        })
    }

    /// Appends a Huffman-only frame of `raw`.
    pub(super) fn huffman(&mut self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        append(&mut self.huffman, raw, out)
    }

    /// Appends a level-1 frame of `raw`.
    pub(super) fn fast(&mut self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        append(&mut self.fast, raw, out)
    }

    /// Appends a frame of `raw` at [`TEXT_LEVEL`].
    pub(super) fn text(&mut self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        append(&mut self.text, raw, out)
    }

    /// What a level-1 frame of `sample` takes of its length; 1.0 or more when matches gain nothing. `entropy` is that
    /// of the data around it, in bits a byte.
    pub(super) fn trial(&mut self, sample: &[u8], entropy: f64) -> f64 {
        if !sample::may_match(sample, entropy) {
            return 1.0;
        }
        self.trial.clear();
        if append(&mut self.fast, sample, &mut self.trial) {
            self.trial.len() as f64 / sample.len().max(1) as f64
        } else {
            1.0
        }
    }
}

/// zstd writes straight behind what `out` holds.
fn append(context: &mut Compressor<'static>, raw: &[u8], out: &mut Vec<u8>) -> bool {
    out.reserve(compress_bound(raw.len()));
    let start = out.len() as u64;
    let mut end = Cursor::new(out);
    end.set_position(start);
    context.compress_to_buffer(raw, &mut end).is_ok()
}

/// Compresses opaque bytes, unless a sample says that it is not worth it.
pub(super) fn encode(squeeze: &mut Squeeze, raw: &[u8], out: &mut Vec<u8>) -> bool {
    let entropy = sample::entropy(raw);
    let start = sample::middle(raw.get(..raw.len() / 4).unwrap_or(raw));
    let worth = |trial: f64| trial < 0.90;
    if worth(squeeze.trial(sample::middle(raw), entropy)) || worth(squeeze.trial(start, entropy)) {
        return squeeze.text(raw, out);
    }
    // Quantised weights: no matches, but bytes that are not equally likely.
    entropy < 7.7 && squeeze.huffman(raw, out)
}

/// A decompression context.
pub(super) struct Expand(Decompressor<'static>);

impl Expand {
    pub(super) fn new() -> Result<Self, CodecError> {
        Decompressor::new().map(Self).map_err(setup)
    }

    /// Decompresses one frame that gives exactly `out.len()` bytes.
    pub(super) fn fill(&mut self, frame: &[u8], out: &mut [u8], codec: &'static str) -> Result<(), CodecError> {
        match self.0.decompress_to_buffer(frame, out) {
            Ok(len) if len == out.len() => Ok(()),
            Ok(_) => Err(CodecError::Damaged {
                codec,
                reason: "its frame is too short",
            }),
            Err(_) => Err(CodecError::Damaged {
                codec,
                reason: "its frame does not decompress",
            }),
        }
    }
}
