//! A named tensor with its bytes: what every writer takes. Where it comes to lie in a file is not here.

use crate::weights::normal;

/// Element types that all of the formats but NumPy's have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType {
    /// IEEE 754 single precision.
    F32,
    /// The upper half of `F32`.
    Bf16,
}

impl DType {
    /// Bytes of one element.
    pub fn width(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::Bf16 => 2,
        }
    }
}

/// A tensor: row-major, little-endian.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: DType,
    /// Its dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Its elements.
    pub data: Vec<u8>,
}

impl Tensor {
    /// A tensor of weights drawn from `seed`.
    pub fn new(name: &str, dtype: DType, shape: &[usize], seed: u64) -> Self {
        Self::of(name, dtype, shape, &normal(seed, shape.iter().product()))
    }

    /// A tensor of these values, which must be as many as `shape` says.
    pub fn of(name: &str, dtype: DType, shape: &[usize], values: &[f32]) -> Self {
        debug_assert_eq!(values.len(), shape.iter().product::<usize>());
        let data = match dtype {
            DType::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            DType::Bf16 => values.iter().flat_map(|value| bf16(*value).to_le_bytes()).collect(),
        };
        Self {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
            data,
        }
    }
}

/// The nearest bf16, ties to even. The weights here are finite.
fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let round = 0x7fff + ((bits >> 16) & 1);
    (bits.wrapping_add(round) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_rounded_to_the_nearest() {
        for (value, expected) in [(1.0, 0x3f80), (-2.0, 0xc000), (1.003_906_3, 0x3f80), (1.0059, 0x3f81)] {
            assert_eq!(bf16(value), expected, "{value}");
        }
        assert_eq!(Tensor::new("w", DType::Bf16, &[3, 5], 1).data.len(), 30);
    }
}
