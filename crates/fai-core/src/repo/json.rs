//! JSON as Python writes it: with `NaN`, `Infinity` and `-Infinity`, which the standard does not have and every run that
//! diverged does.

use std::borrow::Cow;

/// The words, and what they are written as in text.
const SPECIALS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// Reads a document, with those words as text.
pub(super) fn parse_with_specials(bytes: &[u8]) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::from_slice(&quoted(bytes))
}

/// Puts the words in quotes, where they do not stand inside a text.
fn quoted(bytes: &[u8]) -> Cow<'_, [u8]> {
    let special = |at: usize| {
        let rest = bytes.get(at..).unwrap_or_default();
        SPECIALS.iter().find(|word| rest.starts_with(word.as_bytes()))
    };
    if !(0..bytes.len()).any(|at| special(at).is_some()) {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let (mut at, mut inside) = (0, false);
    while let Some(byte) = bytes.get(at) {
        match (byte, special(at)) {
            (_, Some(word)) if !inside => {
                out.push(b'"');
                out.extend_from_slice(word.as_bytes());
                out.push(b'"');
                at += word.len();
                continue;
            }
            (b'\\', _) if inside => {
                out.push(b'\\');
                at += 1;
                out.extend(bytes.get(at));
            }
            (byte, _) => {
                inside ^= *byte == b'"';
                out.push(*byte);
            }
        }
        at += 1;
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_outside_of_texts_become_texts() {
        let parsed = parse_with_specials(br#"{"a": NaN, "b": [-Infinity, Infinity], "c \" NaN": "NaN\\", "d": 1}"#);
        let expected = r#"{"a": "NaN", "b": ["-Infinity", "Infinity"], "c \" NaN": "NaN\\", "d": 1}"#;
        assert_eq!(
            parsed.unwrap(),
            serde_json::from_str::<serde_json::Value>(expected).unwrap()
        );
        assert!(parse_with_specials(b"{\"a\": NaNNaN}").is_err());
        assert!(parse_with_specials(b"{\"a\": ").is_err());
    }
}
