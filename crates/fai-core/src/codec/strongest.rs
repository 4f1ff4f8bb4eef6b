//! The most that zstd can do, for work off the critical path. What it writes is an ordinary frame.

use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

use super::CodecError;

/// Slow to write, as quick to read as any other.
const LEVEL: i32 = 19;

/// Compresses harder than an [`Encoder`](super::Encoder) does.
pub struct Strongest(Compressor<'static>);

impl Strongest {
    /// Allocates the context, about 80 MiB at most for chunks.
    ///
    /// # Errors
    /// When memory is short.
    pub fn new() -> Result<Self, CodecError> {
        let context = Compressor::new(LEVEL).map_err(|error| CodecError::Setup(error.to_string()))?;
        Ok(Self(context))
    }

    /// A zstd frame of `raw`, if it is shorter than `limit` bytes.
    pub fn below(&mut self, raw: &[u8], limit: usize) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(compress_bound(raw.len()));
        self.0.compress_to_buffer(raw, &mut out).ok()?;
        (out.len() < limit).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Decoder, Encoder};
    use crate::tensor::Element;

    #[test]
    fn text_gets_shorter_and_comes_back() {
        let text: Vec<u8> = (0..30_000u32)
            .flat_map(|n| format!("{} weights, ", n * n % 977).into_bytes())
            .collect();
        let mut usual = Vec::new();
        assert_eq!(
            Encoder::new().unwrap().encode(&text, Element::Opaque, &mut usual),
            Codec::Zstd
        );
        let mut strongest = Strongest::new().unwrap();
        let short = strongest.below(&text, usual.len()).unwrap();
        let mut raw = vec![0; text.len()];
        Decoder::new().unwrap().decode(Codec::Zstd, &short, &mut raw).unwrap();
        assert!(raw == text);
        assert_eq!(strongest.below(&text, short.len()), None);
    }
}
