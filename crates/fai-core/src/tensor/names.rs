//! Unique names for the tensors of one file, where the format does not promise them. Where names come from is
//! not here.

use super::{Format, LayoutError};
use std::collections::HashMap;

/// The longest name of a tensor, in bytes.
pub(super) const MAX_NAME: usize = 1024;

/// The most bytes that all names of one file may take: a format that derives names from paths could otherwise
/// turn a small file into a large table.
const MAX_TOTAL: usize = 32 << 20;

/// The names given out so far.
pub(super) struct Names {
    format: Format,
    /// How often each name was asked for.
    seen: HashMap<String, u64>,
    total: usize,
}

impl Names {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            seen: HashMap::new(),
            total: 0,
        }
    }

    /// `name` where it is new, else `name#2`, `name#3` and so on.
    ///
    /// # Errors
    /// When the file's names take too much memory.
    pub(super) fn claim(&mut self, name: &str) -> Result<String, LayoutError> {
        let mut given = name.to_owned();
        // Counting on from the last number asked for keeps many equal names from being quadratic.
        let mut count = self.seen.get(name).copied().unwrap_or(0);
        if count > 0 {
            loop {
                count += 1;
                given = format!("{name}#{count}");
                if !self.seen.contains_key(&given) {
                    break;
                }
            }
            self.seen.insert(name.to_owned(), count);
        }
        self.total += given.len();
        if self.total > MAX_TOTAL {
            let what = format!("a table with {MAX_TOTAL} bytes of tensor names");
            return Err(LayoutError::too_large(self.format, what));
        }
        self.seen.insert(given.clone(), 1);
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_are_numbered_around_those_that_look_numbered() {
        let mut names = Names::new(Format::Onnx);
        let given: Vec<String> = ["a", "a#2", "a", "b", "a", "a#2", ""]
            .iter()
            .map(|name| names.claim(name).unwrap())
            .collect();
        assert_eq!(given, ["a", "a#2", "a#3", "b", "a#4", "a#2#2", ""]);
    }

    #[test]
    fn names_beyond_the_total_are_refused() {
        let mut names = Names::new(Format::Onnx);
        let name = "x".repeat(1 << 20);
        let refused = (0..40).find_map(|_| names.claim(&name).err());
        assert!(matches!(refused, Some(LayoutError::TooLarge { .. })), "{refused:?}");
    }
}
