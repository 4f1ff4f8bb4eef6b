//! Data that the benches share: generated, the same on every machine, shaped like what models hold.
//! What is measured on it is not here.
#![allow(dead_code, reason = "every bench uses its own part")]

use fai_core::tensor::Element;

/// Length of a chunk of tensor data, in bytes.
pub const CHUNK: usize = 1 << 20;

/// Standard deviation of the weights.
const DEVIATION: f64 = 0.02;

/// xorshift64* (Vigna 2016).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// In (0, 1].
    fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal, by the method of Box and Muller.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// What a bench case holds.
#[derive(Clone, Copy)]
pub enum Content {
    Bf16,
    F16,
    F32,
    F64,
    /// 8-bit quantised weights.
    Int8,
    /// fp8 e4m3.
    Fp8,
    /// Token ids.
    Int64,
    /// An f32 tensor whose lower half is zero, as after a cast from bf16.
    WidenedBf16,
    /// English-like JSON lines.
    Text,
    Random,
}

impl Content {
    pub const ALL: [Content; 10] = [
        Content::Bf16,
        Content::F16,
        Content::F32,
        Content::F64,
        Content::Int8,
        Content::Fp8,
        Content::Int64,
        Content::WidenedBf16,
        Content::Text,
        Content::Random,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Content::Bf16 => "bf16",
            Content::F16 => "f16",
            Content::F32 => "f32",
            Content::F64 => "f64",
            Content::Int8 => "int8",
            Content::Fp8 => "fp8",
            Content::Int64 => "int64",
            Content::WidenedBf16 => "widened",
            Content::Text => "opaque text",
            Content::Random => "opaque random",
        }
    }

    pub fn element(self) -> Element {
        match self {
            Content::Bf16 => Element::Bf16,
            Content::F16 => Element::F16,
            Content::F32 | Content::WidenedBf16 => Element::F32,
            Content::F64 => Element::F64,
            Content::Int8 | Content::Fp8 => Element::Byte,
            Content::Int64 => Element::Int64,
            Content::Text | Content::Random => Element::Opaque,
        }
    }

    /// Length of the chunks that such data is cut into: the average of content-defined cuts for opaque bytes.
    pub fn chunk_len(self) -> usize {
        match self.element() {
            Element::Opaque => 64 << 10,
            _ => CHUNK,
        }
    }

    /// Exactly `len` bytes; `seed` gives others of the same kind.
    pub fn generate(self, len: usize, seed: u64) -> Vec<u8> {
        let mut random = Random::new(seed);
        let mut bytes = Vec::with_capacity(len + 128);
        while bytes.len() < len {
            match self {
                Content::Bf16 => bytes.extend(((weight(&mut random).to_bits() >> 16) as u16).to_le_bytes()),
                Content::F16 => bytes.extend((narrow(weight(&mut random), 112, 13) as u16).to_le_bytes()),
                Content::F32 => bytes.extend(weight(&mut random).to_le_bytes()),
                Content::F64 => bytes.extend((random.normal() * DEVIATION).to_le_bytes()),
                Content::Int8 => bytes.push((random.normal() * 32.0).clamp(-127.0, 127.0) as i8 as u8),
                Content::Fp8 => bytes.push(narrow((random.normal() * 64.0) as f32, 120, 20) as u8),
                Content::Int64 => bytes.extend(((random.unit().powi(4) * 50_000.0) as i64).to_le_bytes()),
                Content::WidenedBf16 => bytes.extend((weight(&mut random).to_bits() & 0xffff_0000).to_le_bytes()),
                Content::Text => text(&mut random, &mut bytes),
                Content::Random => bytes.extend(random.bits().to_le_bytes()),
            }
        }
        bytes.truncate(len);
        bytes
    }
}

/// What became of the chunk before, by training or conversion.
#[derive(Clone, Copy)]
pub enum Change {
    /// bf16 weights, moved by half a percent of their deviation: a full fine-tune.
    Bf16Tuned,
    /// bf16 weights, moved by a twentieth of a percent: a few steps at a small rate.
    Bf16Touched,
    F16Tuned,
    F32Tuned,
    F32Touched,
    /// Second moments of Adam, a few steps later: most decayed, some gained.
    Moments,
    F64Tuned,
    Int8Tuned,
    Fp8Tuned,
    /// The bf16 weights of before, as f32.
    Widened,
    /// The f32 weights of before, as bf16.
    Narrowed,
    /// Opaque bytes, one in twenty changed.
    Patched,
    /// bf16 weights of another model.
    Unrelated,
}

impl Change {
    pub const ALL: [Change; 13] = [
        Change::Bf16Tuned,
        Change::Bf16Touched,
        Change::F16Tuned,
        Change::F32Tuned,
        Change::F32Touched,
        Change::Moments,
        Change::F64Tuned,
        Change::Int8Tuned,
        Change::Fp8Tuned,
        Change::Widened,
        Change::Narrowed,
        Change::Patched,
        Change::Unrelated,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Change::Bf16Tuned => "bf16 tuned",
            Change::Bf16Touched => "bf16 touched",
            Change::F16Tuned => "f16 tuned",
            Change::F32Tuned => "f32 tuned",
            Change::F32Touched => "f32 touched",
            Change::Moments => "f32 moments",
            Change::F64Tuned => "f64 tuned",
            Change::Int8Tuned => "int8 tuned",
            Change::Fp8Tuned => "fp8 tuned",
            Change::Widened => "f32 of bf16",
            Change::Narrowed => "bf16 of f32",
            Change::Patched => "opaque patched",
            Change::Unrelated => "bf16 unrelated",
        }
    }

    /// Elements of the base and of the chunk.
    pub fn elements(self) -> (Element, Element) {
        let both = |element| (element, element);
        match self {
            Change::Bf16Tuned | Change::Bf16Touched | Change::Unrelated => both(Element::Bf16),
            Change::F16Tuned => both(Element::F16),
            Change::F32Tuned | Change::F32Touched | Change::Moments => both(Element::F32),
            Change::F64Tuned => both(Element::F64),
            Change::Int8Tuned | Change::Fp8Tuned => both(Element::Byte),
            Change::Widened => (Element::Bf16, Element::F32),
            Change::Narrowed => (Element::F32, Element::Bf16),
            Change::Patched => both(Element::Opaque),
        }
    }

    /// A base and what became of it, each at most `CHUNK` long and with the same number of elements.
    pub fn generate(self, seed: u64) -> (Vec<u8>, Vec<u8>) {
        let mut random = Random::new(seed);
        let (base, chunk) = self.elements();
        let count = CHUNK / base.width().max(chunk.width());
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let short = |value: f64| (value as f32).to_bits().wrapping_add(0x8000) >> 16;
        for _ in 0..count {
            let weight = random.normal() * DEVIATION;
            let tuned = weight + random.normal() * DEVIATION * 0.005;
            let touched = weight + random.normal() * DEVIATION * 0.0005;
            match self {
                Change::Bf16Tuned | Change::Bf16Touched | Change::Unrelated => {
                    let moved = match self {
                        Change::Bf16Tuned => tuned,
                        Change::Bf16Touched => touched,
                        _ => random.normal() * DEVIATION,
                    };
                    before.extend((short(weight) as u16).to_le_bytes());
                    after.extend((short(moved) as u16).to_le_bytes());
                }
                Change::F16Tuned => {
                    before.extend((narrow(weight as f32, 112, 13) as u16).to_le_bytes());
                    after.extend((narrow(tuned as f32, 112, 13) as u16).to_le_bytes());
                }
                Change::F32Tuned | Change::F32Touched => {
                    let moved = if matches!(self, Change::F32Tuned) {
                        tuned
                    } else {
                        touched
                    };
                    before.extend((weight as f32).to_le_bytes());
                    after.extend((moved as f32).to_le_bytes());
                }
                Change::Moments => {
                    let moment = weight * weight * 1e-6;
                    let gained = if random.bits().is_multiple_of(8) {
                        moment * random.unit() * 0.01
                    } else {
                        0.0
                    };
                    before.extend((moment as f32).to_le_bytes());
                    after.extend(((moment * 0.98 + gained) as f32).to_le_bytes());
                }
                Change::F64Tuned => {
                    before.extend(weight.to_le_bytes());
                    after.extend(tuned.to_le_bytes());
                }
                Change::Int8Tuned => {
                    let quantise = |value: f64| (value * 1600.0).round().clamp(-127.0, 127.0) as i8 as u8;
                    before.push(quantise(weight));
                    after.push(quantise(tuned));
                }
                Change::Fp8Tuned => {
                    before.push(narrow((weight * 3200.0) as f32, 120, 20) as u8);
                    after.push(narrow((tuned * 3200.0) as f32, 120, 20) as u8);
                }
                Change::Widened => {
                    before.extend((short(weight) as u16).to_le_bytes());
                    after.extend((short(weight) << 16).to_le_bytes());
                }
                Change::Narrowed => {
                    before.extend((weight as f32).to_le_bytes());
                    after.extend((short(f64::from(weight as f32)) as u16).to_le_bytes());
                }
                Change::Patched => {
                    let byte = random.bits() as u8;
                    before.push(byte);
                    after.push(if random.bits().is_multiple_of(20) {
                        random.bits() as u8
                    } else {
                        byte
                    });
                }
            }
        }
        (before, after)
    }
}

fn weight(random: &mut Random) -> f32 {
    (random.normal() * DEVIATION) as f32
}

/// The bits of `value` in a narrower binary float: its exponent bias is smaller by `bias`, its mantissa by `drop` bits.
fn narrow(value: f32, bias: i32, drop: u32) -> u32 {
    // Scaling by the difference of the biases makes both exponents read alike, subnormals too.
    let magnitude = (value.abs() * 2f32.powi(-bias)).to_bits() >> drop;
    magnitude | (value.to_bits() >> 31) << (31 - drop)
}

fn text(random: &mut Random, out: &mut Vec<u8>) {
    const WORDS: [&str; 16] = [
        "the", "model", "layer", "of", "a", "weight", "and", "token", "learns", "from", "data", "loss", "is", "rate",
        "small", "gradient",
    ];
    let line = format!("{{\"step\": {}, \"text\": \"", random.bits() % 100_000);
    out.extend(line.bytes());
    for _ in 0..8 {
        out.extend(
            WORDS
                .get(random.bits() as usize % WORDS.len())
                .copied()
                .unwrap_or_default()
                .bytes(),
        );
        out.push(b' ');
    }
    out.extend(b"\"}\n");
}
