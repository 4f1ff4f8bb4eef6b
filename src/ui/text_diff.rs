//! Line-by-line differences of text files, as `diff -u` shows them.

use anyhow::Result;
use similar::{ChangeTag, TextDiff};

use super::{Output, format};

/// Lines of context around a change.
const CONTEXT: usize = 3;

/// Prints the unified difference of two texts.
pub fn print(out: &Output, path: &str, old: &str, new: &str) -> Result<()> {
    let diff = TextDiff::from_lines(old, new);
    out.line(out.paint("1", &format!("--- {path}")))?;
    out.line(out.paint("1", &format!("+++ {path}")))?;
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        out.line(out.paint("36", &hunk.header().to_string()))?;
        for change in hunk.iter_changes() {
            let (sign, color) = match change.tag() {
                ChangeTag::Delete => ('-', "31"),
                ChangeTag::Insert => ('+', "32"),
                ChangeTag::Equal => (' ', "0"),
            };
            let text = format::safe(change.value().trim_end_matches(['\n', '\r']));
            let line = format!("{sign}{text}");
            out.line(if sign == ' ' { line } else { out.paint(color, &line) })?;
        }
    }
    Ok(())
}

/// Lines that were added and removed.
pub fn counts(old: &str, new: &str) -> (u64, u64) {
    let diff = TextDiff::from_lines(old, new);
    diff.iter_all_changes()
        .fold((0, 0), |(added, removed), change| match change.tag() {
            ChangeTag::Insert => (added + 1, removed),
            ChangeTag::Delete => (added, removed + 1),
            ChangeTag::Equal => (added, removed),
        })
}

/// The text in `bytes`, unless they look like something else.
pub fn as_text(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(text)
}
