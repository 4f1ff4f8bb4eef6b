//! Taking opcodes and their arguments off the bytes of a pickle. What opcodes do is not here.

use super::malformed;
use crate::tensor::LayoutError;

const STOP: u8 = b'.';

/// What is left of a pickle. Everything taken is borrowed from it, so lengths never lead to allocations.
pub(super) struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next opcode; `None` at the one that ends the pickle.
    pub(super) fn opcode(&mut self) -> Result<Option<u8>, LayoutError> {
        Ok(Some(self.byte()?).filter(|&opcode| opcode != STOP))
    }

    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], LayoutError> {
        let split = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = split.ok_or_else(|| malformed("ends within an opcode's argument"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn skip(&mut self, len: u64) -> Result<(), LayoutError> {
        self.take(len).map(|_| ())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LayoutError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| malformed("ends without its stop opcode"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, LayoutError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, LayoutError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, LayoutError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, LayoutError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Text up to a line feed, which is taken but not returned.
    pub(super) fn line(&mut self) -> Result<&'a [u8], LayoutError> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(end.ok_or_else(|| malformed("has a line without an end"))? as u64)?;
        self.skip(1)?;
        Ok(line)
    }

    /// A memo key in decimal digits.
    pub(super) fn number(&mut self) -> Result<u32, LayoutError> {
        let line = str::from_utf8(self.line()?).ok();
        line.and_then(|line| line.trim().parse().ok())
            .ok_or_else(|| malformed("has a memo key that is no number"))
    }
}
