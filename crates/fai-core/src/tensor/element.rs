//! What one element of a region looks like in memory: all that chunking and encoding need to know of a dtype.
//! Names, shapes and file formats are not here.

use std::ops::Range;

/// The memory shape of one element. Little-endian always: every format read here stores weights so.
///
/// The discriminants are part of the pack format (`docs/format.md`, "planes") and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Element {
    /// Bytes without known structure: headers, text, block-quantised weights, packed sub-byte values.
    Opaque = 0,
    /// One byte an element: 8-bit integers, booleans, fp8.
    Byte = 1,
    /// Two-byte integers.
    Int16 = 2,
    /// Four-byte integers.
    Int32 = 3,
    /// Eight-byte integers.
    Int64 = 4,
    /// IEEE 754 binary16: 1 sign, 5 exponent, 10 mantissa bits.
    F16 = 5,
    /// bfloat16: 1 sign, 8 exponent, 7 mantissa bits.
    Bf16 = 6,
    /// IEEE 754 binary32.
    F32 = 7,
    /// IEEE 754 binary64.
    F64 = 8,
}

impl Element {
    /// Bytes an element takes: 1, 2, 4 or 8.
    pub const fn width(self) -> usize {
        match self {
            Element::Opaque | Element::Byte => 1,
            Element::Int16 | Element::F16 | Element::Bf16 => 2,
            Element::Int32 | Element::F32 => 4,
            Element::Int64 | Element::F64 => 8,
        }
    }

    /// True for sign-exponent-mantissa types of two bytes and more.
    pub const fn is_float(self) -> bool {
        matches!(self, Element::F16 | Element::Bf16 | Element::F32 | Element::F64)
    }

    /// The element whose discriminant is `code`, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Element::Opaque,
            1 => Element::Byte,
            2 => Element::Int16,
            3 => Element::Int32,
            4 => Element::Int64,
            5 => Element::F16,
            6 => Element::Bf16,
            7 => Element::F32,
            8 => Element::F64,
            _ => return None,
        })
    }
}

/// A run of equal elements inside a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Absolute byte range in the file; its length is a whole number of elements.
    pub range: Range<u64>,
    /// What lies in it.
    pub element: Element,
}
