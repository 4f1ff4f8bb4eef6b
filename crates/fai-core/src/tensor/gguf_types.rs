//! The numbers that GGUF uses for GGML's tensor types, and how many bytes their blocks take.

use super::{Block, DType, Plain};

/// The type with number `code` in a tensor's description, or `None` for numbers without a known type.
pub(super) fn dtype(code: u32) -> Option<DType> {
    let (name, elements, bytes) = match code {
        0 => return Some(DType::Plain(Plain::F32)),
        1 => return Some(DType::Plain(Plain::F16)),
        24 => return Some(DType::Plain(Plain::I8)),
        25 => return Some(DType::Plain(Plain::I16)),
        26 => return Some(DType::Plain(Plain::I32)),
        27 => return Some(DType::Plain(Plain::I64)),
        28 => return Some(DType::Plain(Plain::F64)),
        30 => return Some(DType::Plain(Plain::BF16)),
        // 4 and 5 are older than GGUF.
        2 => ("Q4_0", 32, 18),
        3 => ("Q4_1", 32, 20),
        6 => ("Q5_0", 32, 22),
        7 => ("Q5_1", 32, 24),
        8 => ("Q8_0", 32, 34),
        9 => ("Q8_1", 32, 36),
        10 => ("Q2_K", 256, 84),
        11 => ("Q3_K", 256, 110),
        12 => ("Q4_K", 256, 144),
        13 => ("Q5_K", 256, 176),
        14 => ("Q6_K", 256, 210),
        15 => ("Q8_K", 256, 292),
        16 => ("IQ2_XXS", 256, 66),
        17 => ("IQ2_XS", 256, 74),
        18 => ("IQ3_XXS", 256, 98),
        19 => ("IQ1_S", 256, 50),
        20 => ("IQ4_NL", 32, 18),
        21 => ("IQ3_S", 256, 110),
        22 => ("IQ2_S", 256, 82),
        23 => ("IQ4_XS", 256, 136),
        29 => ("IQ1_M", 256, 56),
        // Rows of Q4_0 interleaved for certain processors; GGML dropped them, but files were published.
        31 => ("Q4_0_4_4", 32, 18),
        32 => ("Q4_0_4_8", 32, 18),
        33 => ("Q4_0_8_8", 32, 18),
        34 => ("TQ1_0", 256, 54),
        35 => ("TQ2_0", 256, 66),
        39 => ("MXFP4", 32, 17),
        40 => ("NVFP4", 64, 36),
        41 => ("Q1_0", 128, 18),
        _ => return None,
    };
    Some(DType::Block(Block { name, elements, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_sizes_follow_from_the_bits_they_hold() {
        // Bytes = packed values + scales, minima and masks, as the format's structures list them.
        for (code, bytes) in [
            (2, 16 + 2),
            (7, 16 + 4 + 2 + 2),
            (10, 64 + 16 + 2 + 2),
            (11, 64 + 32 + 12 + 2),
            (12, 128 + 12 + 2 + 2),
            (14, 128 + 64 + 16 + 2),
            (15, 256 + 16 * 2 + 4),
            (21, 64 + 8 + 32 + 4 + 2),
            (34, 48 + 4 + 2),
            (39, 16 + 1),
            (40, 32 + 4),
        ] {
            let Some(DType::Block(block)) = dtype(code) else {
                panic!("{code}");
            };
            assert_eq!(block.bytes, bytes, "{}", block.name);
        }
    }

    #[test]
    fn numbers_without_a_type_are_none() {
        for code in [4, 5, 36, 42, u32::MAX] {
            assert_eq!(dtype(code), None);
        }
    }
}
