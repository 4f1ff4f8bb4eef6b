//! Values of a commit's metadata: what JSON can say, with integers and floats kept apart.

use std::collections::BTreeMap;

use minicbor::data::Type;

use super::DecodeError;
use super::cbor::{Reader, Writer};

/// How deep lists and maps may nest.
pub(super) const MAX_DEPTH: usize = 16;

/// A piece of metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number; NaN and infinities included, as a loss that diverged has them.
    Float(f64),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Value>),
    /// Named values.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// What a person typed after `=`: a whole number, a number, `true`, `false`, or else text.
    pub fn from_typed(text: &str) -> Self {
        // Rust also reads "nan", "inf" and "infinity" as numbers: so does everyone who logs a metric.
        match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => text
                .parse::<i64>()
                .map(Value::Int)
                .or_else(|_| text.parse::<f64>().map(Value::Float))
                .unwrap_or_else(|_| Value::Text(text.to_owned())),
        }
    }

    /// As JSON. Numbers that JSON cannot say become text.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Float(value) if value.is_finite() => (*value).into(),
            Value::Float(value) => value.to_string().into(),
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Value::to_json).collect(),
            Value::Map(map) => map.iter().map(|(key, value)| (key.clone(), value.to_json())).collect(),
        }
    }

    /// What a JSON document says, with `null` and maps as text. As deep as the document.
    pub fn from_json(document: &serde_json::Value) -> Self {
        match document {
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(whole) => Value::Int(whole),
                None => number
                    .as_f64()
                    .map_or_else(|| Value::Text(number.to_string()), Value::Float),
            },
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => Value::List(items.iter().map(Value::from_json).collect()),
            other => Value::Text(other.to_string()),
        }
    }

    /// The number inside, if this is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The map inside, if this is one.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The text inside, if this is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// True when this value is at most `levels` deep; a value that is neither a list nor a map is 1 deep.
    pub fn nests_within(&self, levels: usize) -> bool {
        let Some(below) = levels.checked_sub(1) else {
            return false;
        };
        match self {
            Value::List(items) => items.iter().all(|item| item.nests_within(below)),
            Value::Map(map) => map.values().all(|value| value.nests_within(below)),
            _ => true,
        }
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) {
        // Writing to memory cannot fail: the results have nothing to say.
        let _ = match self {
            Value::Bool(value) => out.bool(*value).map(drop),
            Value::Int(value) => out.i64(*value).map(drop),
            Value::Float(value) => {
                write_shortest_float(*value, out);
                Ok(())
            }
            Value::Text(text) => out.str(text).map(drop),
            Value::List(items) => {
                let head = out.array(items.len() as u64).map(drop);
                items.iter().for_each(|item| item.write(out));
                head
            }
            Value::Map(map) => {
                write_map(map, out);
                Ok(())
            }
        };
    }

    pub(super) fn read(input: &mut Reader<'_>, depth: usize) -> Result<Self, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(input.invalid(format!("metadata nested deeper than {MAX_DEPTH}")));
        }
        Ok(match input.datatype()? {
            Type::Bool => Value::Bool(input.bool()?),
            Type::F16 | Type::F32 | Type::F64 => Value::Float(input.float()?),
            Type::String => Value::Text(input.text()?.to_owned()),
            Type::Array => {
                let count = input.array()?;
                Value::List(
                    (0..count)
                        .map(|_| Value::read(input, depth + 1))
                        .collect::<Result<_, _>>()?,
                )
            }
            Type::Map => Value::Map(read_map(input, depth)?),
            _ => Value::Int(input.i64()?),
        })
    }
}

/// Writes a map with its keys in RFC 8949's order: shorter keys first, then bytewise.
pub(super) fn write_map(map: &BTreeMap<String, Value>, out: &mut Writer<'_>) {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| (key.len(), key.as_str()));
    let _ = out.map(entries.len() as u64);
    for (key, value) in entries {
        let _ = out.str(key);
        value.write(out);
    }
}

/// Reads a map; the caller's re-encoding checks the order, and with it that no key comes twice.
pub(super) fn read_map(input: &mut Reader<'_>, depth: usize) -> Result<BTreeMap<String, Value>, DecodeError> {
    let count = input.map()?;
    (0..count)
        .map(|_| Ok((input.text()?.to_owned(), Value::read(input, depth + 1)?)))
        .collect()
}

/// The shortest of binary16, 32 and 64 that keeps the value (RFC 8949, section 4.2.1); NaN is always 0x7e00.
fn write_shortest_float(value: f64, out: &mut Writer<'_>) {
    let single = value as f32;
    let half = exact_half(single);
    let _ = match half {
        _ if value.is_nan() => out.f16(f32::NAN).map(drop),
        Some(half) if f64::from(half) == value => out.f16(half).map(drop),
        _ if f64::from(single) == value => out.f32(single).map(drop),
        _ => out.f64(value).map(drop),
    };
}

/// `value` when binary16 holds it exactly.
fn exact_half(value: f32) -> Option<f32> {
    let exact = if value.is_infinite() || value == 0.0 {
        true
    } else {
        // A binary16 has 11 significant bits and exponents -14 to 15, subnormals in steps of 2^-24.
        let steps = f64::from(value) * f64::from(1u32 << 24);
        let low_bits_clear = value.to_bits() & 0x1fff == 0;
        let smallest_normal = 1.0 / f32::from(1u16 << 14);
        let normal = value.abs() >= smallest_normal && value.abs() <= 65504.0 && low_bits_clear;
        let subnormal = value.abs() < smallest_normal && steps.fract() == 0.0;
        normal || subnormal
    };
    exact.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::super::cbor;
    use super::*;

    fn float_bytes(value: f64) -> Vec<u8> {
        cbor::encode(|out| Value::Float(value).write(out))
    }

    #[test]
    fn floats_take_their_shortest_form() {
        // Examples of RFC 8949, appendix A.
        assert_eq!(float_bytes(0.0), [0xf9, 0x00, 0x00]);
        assert_eq!(float_bytes(-0.0), [0xf9, 0x80, 0x00]);
        assert_eq!(float_bytes(1.5), [0xf9, 0x3e, 0x00]);
        assert_eq!(float_bytes(65504.0), [0xf9, 0x7b, 0xff]);
        assert_eq!(float_bytes(100000.0), [0xfa, 0x47, 0xc3, 0x50, 0x00]);
        assert_eq!(float_bytes(5.960464477539063e-8), [0xf9, 0x00, 0x01]);
        assert_eq!(float_bytes(0.00006103515625), [0xf9, 0x04, 0x00]);
        assert_eq!(float_bytes(1.1), [0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a]);
        assert_eq!(float_bytes(f64::INFINITY), [0xf9, 0x7c, 0x00]);
        assert_eq!(float_bytes(f64::NAN), [0xf9, 0x7e, 0x00]);
    }

    #[test]
    fn typed_text_becomes_what_it_says() {
        assert_eq!(Value::from_typed("12"), Value::Int(12));
        assert_eq!(Value::from_typed("1e-3"), Value::Float(1e-3));
        assert_eq!(Value::from_typed("true"), Value::Bool(true));
        assert_eq!(Value::from_typed("adamw"), Value::Text("adamw".into()));
        assert!(matches!(Value::from_typed("nan"), Value::Float(value) if value.is_nan()));
    }
}
