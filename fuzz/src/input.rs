//! Arbitrary bytes as the parameters of a target: whatever is missing at the end is zero.

use fai_core::tensor::Element;

/// Bytes that are taken from the front.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        for (target, byte) in array.iter_mut().zip(self.bytes(N)) {
            *target = *byte;
        }
        array
    }

    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub fn element(&mut self) -> Element {
        Element::from_code(self.byte() % 9).expect("a code below 9 is an element")
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}
