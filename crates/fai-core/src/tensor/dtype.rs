//! Data types of tensors as the formats name them, and how many bytes a shape of them takes.

use super::Element;

/// The type of a tensor's elements.
///
/// Types whose elements are not whole bytes, and GGUF's block-quantised types, are [`DType::Block`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// A type whose elements are whole bytes.
    Plain(Plain),
    /// A type that packs `elements` values into `bytes` bytes.
    Block(Block),
}

/// Types with whole-byte elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the documentation
pub enum Plain {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F8E4M3,
    F8E4M3Fnuz,
    F8E5M2,
    F8E5M2Fnuz,
    F8E8M0,
    F16,
    BF16,
    F32,
    F64,
    C64,
    C128,
}

/// A packed type: sub-byte elements or quantisation blocks with their scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block {
    /// The format's own name for it, e.g. `Q4_K` or `I4`.
    pub name: &'static str,
    /// Values a block holds, at least 1.
    pub elements: u32,
    /// Bytes a block takes, at least 1.
    pub bytes: u32,
}

impl DType {
    /// The common short name: `bf16`, `f32`, `q4_k`.
    pub fn name(&self) -> String {
        match self {
            DType::Plain(plain) => plain.name().to_owned(),
            DType::Block(block) => block.name.to_ascii_lowercase(),
        }
    }

    /// Memory shape of an element.
    pub const fn element(&self) -> Element {
        match self {
            DType::Plain(plain) => plain.element(),
            DType::Block(_) => Element::Opaque,
        }
    }

    /// Bytes that `count` elements take, or `None` when that overflows. A last block that is not full is
    /// rounded up, as sub-byte formats store it.
    pub fn byte_len(&self, count: u64) -> Option<u64> {
        match self {
            DType::Plain(plain) => count.checked_mul(plain.width()),
            DType::Block(block) => count
                .div_ceil(u64::from(block.elements))
                .checked_mul(u64::from(block.bytes)),
        }
    }
}

impl Plain {
    /// All of them.
    pub const ALL: [Plain; 20] = {
        use Plain::*;
        [
            Bool, U8, I8, U16, I16, U32, I32, U64, I64, F8E4M3, F8E4M3Fnuz, F8E5M2, F8E5M2Fnuz, F8E8M0, F16, BF16, F32,
            F64, C64, C128,
        ]
    };

    /// The type with this short name; `None` for packed types and names that are none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plain| plain.name() == name)
    }

    /// Bytes an element takes.
    pub const fn width(self) -> u64 {
        match self {
            Plain::C64 => 8,
            Plain::C128 => 16,
            other => other.element().width() as u64,
        }
    }

    /// Memory shape of an element; a complex number is two floats.
    pub const fn element(self) -> Element {
        use Plain::*;
        match self {
            Bool | U8 | I8 | F8E4M3 | F8E4M3Fnuz | F8E5M2 | F8E5M2Fnuz | F8E8M0 => Element::Byte,
            U16 | I16 => Element::Int16,
            U32 | I32 => Element::Int32,
            U64 | I64 => Element::Int64,
            F16 => Element::F16,
            BF16 => Element::Bf16,
            F32 | C64 => Element::F32,
            F64 | C128 => Element::F64,
        }
    }

    /// The common short name.
    pub const fn name(self) -> &'static str {
        use Plain::*;
        match self {
            Bool => "bool",
            U8 => "u8",
            I8 => "i8",
            U16 => "u16",
            I16 => "i16",
            U32 => "u32",
            I32 => "i32",
            U64 => "u64",
            I64 => "i64",
            F8E4M3 => "f8_e4m3",
            F8E4M3Fnuz => "f8_e4m3fnuz",
            F8E5M2 => "f8_e5m2",
            F8E5M2Fnuz => "f8_e5m2fnuz",
            F8E8M0 => "f8_e8m0",
            F16 => "f16",
            BF16 => "bf16",
            F32 => "f32",
            F64 => "f64",
            C64 => "c64",
            C128 => "c128",
        }
    }
}

/// Number of elements of a shape (1 for a scalar), or `None` when it overflows.
pub fn element_count(shape: &[u64]) -> Option<u64> {
    // A zero anywhere means no elements, even where the other dimensions alone would overflow.
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .try_fold(1u64, |product, &dimension| product.checked_mul(dimension))
}
