//! Rules that hold for the table of tensors in every format: unique names, disjoint ranges, short metadata, and how
//! a file's own text appears in messages. Rules of a single format are not here.

use super::{Format, LayoutError, Tensor};
use std::collections::{BTreeMap, HashSet};

/// The most metadata entries that a layout keeps; the rest is dropped, not refused.
pub(super) const KEPT_ENTRIES: usize = 256;

/// Metadata keys and values of this many bytes and more are not kept: chat templates and training logs are no
/// short description of anything.
pub(super) const KEPT_BYTES: usize = 256;

/// The most metadata entries that a file may have, kept or not. Published files stay below a thousand.
pub(super) const MAX_ENTRIES: usize = 65_536;

/// Keeps a metadata entry if it is short and there is room.
pub(super) fn keep(metadata: &mut BTreeMap<String, String>, key: &str, value: &str) {
    if key.len() < KEPT_BYTES && value.len() < KEPT_BYTES && metadata.len() < KEPT_ENTRIES {
        metadata.insert(key.to_owned(), value.to_owned());
    }
}

/// Checks that no name occurs twice.
pub(super) fn unique_names(format: Format, tensors: &[Tensor]) -> Result<(), LayoutError> {
    let mut seen = HashSet::with_capacity(tensors.len());
    match tensors.iter().find(|tensor| !seen.insert(tensor.name.as_str())) {
        None => Ok(()),
        Some(tensor) => {
            let what = format!("tensor {} occurs twice", shown(&tensor.name));
            Err(LayoutError::malformed(format, what))
        }
    }
}

/// Checks that no byte belongs to two tensors. Empty tensors may lie anywhere.
pub(super) fn disjoint(format: Format, tensors: &[Tensor]) -> Result<(), LayoutError> {
    let mut sorted: Vec<&Tensor> = tensors.iter().filter(|tensor| !tensor.range.is_empty()).collect();
    sorted.sort_unstable_by_key(|tensor| tensor.range.start);
    for (left, right) in sorted.iter().zip(sorted.iter().skip(1)) {
        if right.range.start < left.range.end {
            let what = format!("tensors {} and {} overlap", shown(&left.name), shown(&right.name));
            return Err(LayoutError::malformed(format, what));
        }
    }
    Ok(())
}

/// A file's own text for a message: quoted, escaped and cut short, so that it can neither flood nor confuse it.
pub(super) fn shown(text: &str) -> String {
    let cut = shortened(text);
    match cut.len() == text.len() {
        true => format!("{cut:?}"),
        false => format!("{cut:?}..."),
    }
}

/// The first characters of a text that may be very long.
pub(super) fn shortened(text: &str) -> &str {
    const MAX_CHARS: usize = 100;
    let end = text.char_indices().nth(MAX_CHARS).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::super::{DType, Plain};
    use super::*;

    fn tensor(name: &str, range: std::ops::Range<u64>) -> Tensor {
        Tensor {
            name: name.to_owned(),
            dtype: DType::Plain(Plain::U8),
            shape: vec![range.end - range.start],
            range,
            contiguous: true,
        }
    }

    #[test]
    fn neighbours_and_empty_tensors_are_disjoint() {
        let mut tensors = vec![tensor("b", 4..8), tensor("a", 0..4), tensor("empty", 2..2)];
        assert!(disjoint(Format::Gguf, &tensors).is_ok());
        tensors.push(tensor("c", 7..9));
        let error = disjoint(Format::Gguf, &tensors).unwrap_err().to_string();
        assert_eq!(error, r#"gguf: tensors "b" and "c" overlap"#);
    }

    #[test]
    fn a_repeated_name_is_refused() {
        let tensors = [tensor("a", 0..1), tensor("b", 1..2), tensor("a", 2..3)];
        assert!(unique_names(Format::Gguf, &tensors[..2]).is_ok());
        assert!(unique_names(Format::Gguf, &tensors).is_err());
    }

    #[test]
    fn metadata_stays_short() {
        let mut metadata = BTreeMap::new();
        keep(&mut metadata, "long", &"x".repeat(KEPT_BYTES));
        keep(&mut metadata, &"x".repeat(KEPT_BYTES), "long");
        assert!(metadata.is_empty());
        for index in 0..2 * KEPT_ENTRIES {
            keep(&mut metadata, &index.to_string(), "short");
        }
        assert_eq!(metadata.len(), KEPT_ENTRIES);
    }

    #[test]
    fn shown_text_is_short_and_harmless() {
        assert_eq!(shown("a\x1b\n"), r#""a\u{1b}\n""#);
        assert!(shown(&"é".repeat(1000)).chars().count() < 110);
    }
}
