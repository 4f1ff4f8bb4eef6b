//! Elements as numbers: every plain dtype as `f32` where that holds each of its values exactly, else as `f64`. What is
//! done with the numbers is not here.

use super::Plain;
use super::vectors::vectorised;

/// How the elements of a tensor are read as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The type of one number.
    kind: Plain,
    /// Numbers that an element has: 2 for complex types, else 1.
    per_element: u64,
}

impl Numbers {
    /// The numbers in elements of `dtype`. A complex number is two of them.
    pub const fn of(dtype: Plain) -> Self {
        let (kind, per_element) = match dtype {
            Plain::C64 => (Plain::F32, 2),
            Plain::C128 => (Plain::F64, 2),
            other => (other, 1),
        };
        Self { kind, per_element }
    }

    /// Numbers that an element has: 1 or 2.
    pub const fn per_element(self) -> u64 {
        self.per_element
    }

    /// Bytes that a number takes: 1, 2, 4 or 8.
    pub const fn width(self) -> usize {
        self.kind.width() as usize
    }

    /// True when `f32` holds every value of the type exactly.
    pub(super) const fn is_narrow(self) -> bool {
        use Plain::*;
        match self.kind {
            Bool | U8 | I8 | U16 | I16 | F8E4M3 | F8E4M3Fnuz | F8E5M2 | F8E5M2Fnuz | F8E8M0 | F16 | BF16 | F32 => true,
            U32 | I32 | U64 | I64 | F64 | C64 | C128 => false,
        }
    }

    /// Reads the numbers in `bytes` into `out`. Only for narrow types; others leave `out` as it is.
    pub(super) fn narrow(self, bytes: &[u8], out: &mut [f32]) {
        match self.kind {
            Plain::Bool => each(bytes, out, |[byte]: [u8; 1]| f32::from(u8::from(byte != 0))),
            Plain::U8 => each(bytes, out, |[byte]: [u8; 1]| f32::from(byte)),
            Plain::I8 => each(bytes, out, |byte| f32::from(i8::from_le_bytes(byte))),
            Plain::U16 => each(bytes, out, |bytes| f32::from(u16::from_le_bytes(bytes))),
            Plain::I16 => each(bytes, out, |bytes| f32::from(i16::from_le_bytes(bytes))),
            Plain::F8E4M3 => each(bytes, out, |[byte]: [u8; 1]| look_up(&E4M3, byte)),
            Plain::F8E4M3Fnuz => each(bytes, out, |[byte]: [u8; 1]| look_up(&E4M3_FNUZ, byte)),
            Plain::F8E5M2 => each(bytes, out, |[byte]: [u8; 1]| look_up(&E5M2, byte)),
            Plain::F8E5M2Fnuz => each(bytes, out, |[byte]: [u8; 1]| look_up(&E5M2_FNUZ, byte)),
            Plain::F8E8M0 => each(bytes, out, |[byte]: [u8; 1]| look_up(&E8M0, byte)),
            Plain::F16 => each(bytes, out, |bytes| half(u16::from_le_bytes(bytes))),
            Plain::BF16 => each(bytes, out, |bytes| {
                f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
            }),
            Plain::F32 => each(bytes, out, f32::from_le_bytes),
            Plain::U32 | Plain::I32 | Plain::U64 | Plain::I64 | Plain::F64 | Plain::C64 | Plain::C128 => {}
        }
    }

    /// Reads the numbers in `bytes` into `out`. Integers of 64 bits are rounded to the nearest `f64`. `scratch` is as
    /// long as `out` at the least.
    pub(super) fn wide(self, bytes: &[u8], scratch: &mut [f32], out: &mut [f64]) {
        match self.kind {
            Plain::U32 => each(bytes, out, |bytes| f64::from(u32::from_le_bytes(bytes))),
            Plain::I32 => each(bytes, out, |bytes| f64::from(i32::from_le_bytes(bytes))),
            Plain::U64 => each(bytes, out, |bytes| u64::from_le_bytes(bytes) as f64),
            Plain::I64 => each(bytes, out, |bytes| i64::from_le_bytes(bytes) as f64),
            Plain::F64 => each(bytes, out, f64::from_le_bytes),
            _ => {
                self.narrow(bytes, scratch);
                out.iter_mut()
                    .zip(scratch)
                    .for_each(|(out, value)| *out = f64::from(*value));
            }
        }
    }
}

fn each<const WIDTH: usize, T>(bytes: &[u8], out: &mut [T], read: impl Fn([u8; WIDTH]) -> T) {
    let (elements, _) = bytes.as_chunks::<WIDTH>();
    vectorised(
        #[inline(always)]
        || {
            for (out, element) in out.iter_mut().zip(elements) {
                *out = read(*element);
            }
        },
    );
}

/// An IEEE 754 half. Exact, subnormal numbers too, and without a branch, so that it is done for many at once.
#[inline(always)]
fn half(bits: u16) -> f32 {
    let bits = u32::from(bits);
    let magnitude = (bits & 0x7fff) << 13;
    // What half's exponent of 15 bias is away from single's of 127: a factor of 2^112.
    let scaled = f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23);
    let finite = scaled.to_bits();
    let odd = magnitude | 0x7f80_0000;
    let is_odd = (bits & 0x7c00) == 0x7c00;
    f32::from_bits(if is_odd { odd } else { finite } | (bits & 0x8000) << 16)
}

fn look_up(table: &[f32; 256], byte: u8) -> f32 {
    table.get(usize::from(byte)).copied().unwrap_or(f32::NAN)
}

/// Which values of an 8-bit float are no finite numbers.
#[derive(Clone, Copy)]
enum Odd {
    /// All ones is NaN, with either sign; nothing is infinite.
    AllOnes,
    /// As in IEEE 754: the largest exponent is for infinities and NaN.
    Ieee,
    /// Minus zero is NaN; nothing is infinite.
    MinusZero,
}

static E4M3: [f32; 256] = table(3, 7, Odd::AllOnes);
static E4M3_FNUZ: [f32; 256] = table(3, 8, Odd::MinusZero);
static E5M2: [f32; 256] = table(2, 15, Odd::Ieee);
static E5M2_FNUZ: [f32; 256] = table(2, 16, Odd::MinusZero);
static E8M0: [f32; 256] = scales();

const fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

#[allow(clippy::indexing_slicing, reason = "evaluated when this is compiled")]
const fn table(mantissa_bits: u32, bias: i32, odd: Odd) -> [f32; 256] {
    let mut table = [0.0; 256];
    let mut byte = 0usize;
    while byte < 256 {
        let magnitude = (byte & 0x7f) as u32;
        let exponent = (magnitude >> mantissa_bits) as i32;
        let mantissa = magnitude & ((1 << mantissa_bits) - 1);
        let digits = if exponent == 0 {
            mantissa
        } else {
            mantissa | 1 << mantissa_bits
        };
        let scale = if exponent == 0 { 1 } else { exponent } - bias - mantissa_bits as i32;
        let finite = digits as f32 * power_of_two(scale);
        let value = match odd {
            Odd::AllOnes if magnitude == 0x7f => f32::NAN,
            Odd::MinusZero if byte == 0x80 => f32::NAN,
            Odd::Ieee if magnitude >> mantissa_bits == 0x7f >> mantissa_bits => {
                if mantissa == 0 {
                    f32::INFINITY
                } else {
                    f32::NAN
                }
            }
            _ => finite,
        };
        table[byte] = if byte >= 0x80 { -value } else { value };
        byte += 1;
    }
    table
}

#[allow(clippy::indexing_slicing, reason = "evaluated when this is compiled")]
const fn scales() -> [f32; 256] {
    let mut table = [f32::NAN; 256];
    // 2^-127 is no normal number.
    table[0] = f32::from_bits(1 << 22);
    let mut byte = 1usize;
    while byte < 255 {
        table[byte] = power_of_two(byte as i32 - 127);
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(dtype: Plain, bytes: &[u8]) -> f32 {
        let mut out = [f32::NAN];
        assert!(Numbers::of(dtype).is_narrow());
        Numbers::of(dtype).narrow(bytes, &mut out);
        out[0]
    }

    fn wide(dtype: Plain, bytes: &[u8]) -> f64 {
        let (mut scratch, mut out) = ([0.0], [f64::NAN]);
        Numbers::of(dtype).wide(bytes, &mut scratch, &mut out);
        out[0]
    }

    #[test]
    fn every_half_is_what_its_bits_say() {
        for bits in 0..=u16::MAX {
            let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
            let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
            let expected = match exponent {
                0 => sign * mantissa * 2f64.powi(-24),
                31 if mantissa == 0.0 => sign * f64::INFINITY,
                31 => f64::NAN,
                _ => sign * (1.0 + mantissa / 1024.0) * 2f64.powi(exponent - 15),
            };
            let found = f64::from(one(Plain::F16, &bits.to_le_bytes()));
            assert!(
                found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()),
                "{bits:#x}: {found} and not {expected}"
            );
        }
    }

    #[test]
    fn eight_bit_floats_end_where_their_definitions_say() {
        let cases = [
            (Plain::F8E4M3, 0x7e, 448.0),
            (Plain::F8E4M3, 0x01, 2f32.powi(-9)),
            (Plain::F8E4M3, 0xb8, -1.0),
            (Plain::F8E4M3Fnuz, 0x7f, 240.0),
            (Plain::F8E4M3Fnuz, 0x01, 2f32.powi(-10)),
            (Plain::F8E5M2, 0x7b, 57344.0),
            (Plain::F8E5M2, 0x01, 2f32.powi(-16)),
            (Plain::F8E5M2, 0xfc, f32::NEG_INFINITY),
            (Plain::F8E5M2Fnuz, 0x7f, 57344.0),
            (Plain::F8E5M2Fnuz, 0x01, 2f32.powi(-17)),
            (Plain::F8E8M0, 127, 1.0),
            (Plain::F8E8M0, 0, 2f32.powi(-127)),
            (Plain::F8E8M0, 254, 2f32.powi(127)),
        ];
        for (dtype, byte, expected) in cases {
            assert_eq!(one(dtype, &[byte]), expected, "{dtype:?} {byte:#x}");
        }
        let nan = [
            (Plain::F8E4M3, 0x7f),
            (Plain::F8E4M3, 0xff),
            (Plain::F8E4M3Fnuz, 0x80),
            (Plain::F8E5M2, 0x7d),
            (Plain::F8E5M2Fnuz, 0x80),
            (Plain::F8E8M0, 255),
        ];
        for (dtype, byte) in nan {
            assert!(one(dtype, &[byte]).is_nan(), "{dtype:?} {byte:#x}");
        }
    }

    #[test]
    fn integers_and_booleans_are_their_values() {
        assert_eq!(one(Plain::Bool, &[7]), 1.0);
        assert_eq!(one(Plain::I8, &[0x80]), -128.0);
        assert_eq!(one(Plain::U16, &[0xff, 0xff]), 65535.0);
        assert_eq!(one(Plain::BF16, &[0x80, 0x3f]), 1.0);
        assert_eq!(wide(Plain::I32, &i32::MIN.to_le_bytes()), -2_147_483_648.0);
        assert_eq!(wide(Plain::U32, &u32::MAX.to_le_bytes()), 4_294_967_295.0);
        assert_eq!(wide(Plain::I64, &(-5i64).to_le_bytes()), -5.0);
        assert_eq!(wide(Plain::U64, &u64::MAX.to_le_bytes()), 2f64.powi(64));
        assert_eq!(wide(Plain::I16, &(-300i16).to_le_bytes()), -300.0);
    }
}
