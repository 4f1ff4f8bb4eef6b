//! What the payload of a delta says of how it lies on its base, without decoding it: for moving it to another base.

use crate::tensor::Element;

/// How a chunk lies on its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaHead {
    /// The chunk's element.
    pub element: Element,
    /// The base's.
    pub base_element: Element,
    /// The element of the base at which the chunk starts.
    pub first: u32,
}

impl DeltaHead {
    /// Reads the start of a payload. `None` when it is none of a delta.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let ([element, base_element, _, _, a, b, c, d], _) = payload.split_first_chunk::<8>()?;
        Some(Self {
            element: Element::from_code(*element)?,
            base_element: Element::from_code(*base_element)?,
            first: u32::from_le_bytes([*a, *b, *c, *d]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Base, Codec, Encoder};

    #[test]
    fn the_head_says_what_the_encoder_was_told() {
        let numbers: Vec<u8> = (0..20_000u32)
            .flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes())
            .collect();
        let base = Base {
            bytes: &numbers,
            element: Element::Int32,
            first: 5000,
        };
        let mut payload = Vec::new();
        let raw: Vec<u8> = numbers[20_000..60_000]
            .iter()
            .map(|byte| byte ^ u8::from(*byte == 7))
            .collect();
        let codec = Encoder::new()
            .unwrap()
            .encode_against(&raw, Element::Int32, base, &mut payload);
        assert_eq!(codec, Codec::Delta);
        let head = DeltaHead::read(&payload).unwrap();
        let (element, base_element, first) = (Element::Int32, Element::Int32, 5000);
        assert_eq!(
            head,
            DeltaHead {
                element,
                base_element,
                first
            }
        );
        assert_eq!(DeltaHead::read(&payload[..7]), None);
        assert_eq!(DeltaHead::read(&[200; 8]), None);
    }
}
