//! Text merged line by line, with conflict markers where both sides changed the same lines.

use diffy::MergeOptions;

use super::choice::Choice;

/// The longest text that is merged by lines, in bytes: beyond that nobody reads markers.
pub(super) const MAX_TEXT: u64 = 4 << 20;

/// What a merge of texts came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MergedText {
    /// The text.
    Clean(Vec<u8>),
    /// The text, with markers.
    Conflict(Vec<u8>),
}

/// Merges texts, or says `None` when one of them is not text. `theirs_name` stands in the markers.
pub(super) fn merge(base: &[u8], ours: &[u8], theirs: &[u8], theirs_name: &str) -> Option<MergedText> {
    let texts = [base, ours, theirs];
    if texts
        .iter()
        .any(|text| text.contains(&0) || text.len() as u64 > MAX_TEXT)
    {
        return None;
    }
    let [base, ours, theirs] = texts.map(std::str::from_utf8);
    let merged = MergeOptions::new().merge(base.ok()?, ours.ok()?, theirs.ok()?);
    Some(match merged {
        Ok(text) => MergedText::Clean(text.into_bytes()),
        Err(text) => MergedText::Conflict(named(&text, theirs_name).into_bytes()),
    })
}

/// Markers that no text has by chance, for finding them again.
const UNMISTAKABLE: usize = 97;

/// The same with one side's lines wherever there is a conflict; `None` when the choice says nothing about lines.
pub(super) fn favoured(base: &[u8], ours: &[u8], theirs: &[u8], choice: Option<Choice>) -> Option<Vec<u8>> {
    let keep_ours = match choice? {
        Choice::Ours => true,
        Choice::Theirs => false,
        Choice::Combine(_) => return None,
    };
    let mut options = MergeOptions::new();
    options.set_conflict_marker_length(UNMISTAKABLE);
    options.set_conflict_style(diffy::ConflictStyle::Merge);
    let [base, ours, theirs] = [base, ours, theirs].map(std::str::from_utf8);
    let text = options
        .merge(base.ok()?, ours.ok()?, theirs.ok()?)
        .unwrap_or_else(|text| text);
    let marker = |sign: char| sign.to_string().repeat(UNMISTAKABLE);
    let [begin, middle, end] = ['<', '=', '>'].map(marker);
    let (mut kept, mut side) = (String::new(), None);
    for line in text.split_inclusive('\n') {
        match side {
            None if line.starts_with(&begin) => side = Some(true),
            Some(true) if line.starts_with(&middle) => side = Some(false),
            Some(false) if line.starts_with(&end) => side = None,
            Some(in_ours) if in_ours != keep_ours => {}
            _ => kept.push_str(line),
        }
    }
    Some(kept.into_bytes())
}

/// Markers say which side is which.
fn named(text: &str, theirs: &str) -> String {
    let line = |line: &str| match line.trim_end_matches(['\r', '\n']) {
        ">>>>>>> theirs" => line.replace("theirs", theirs),
        _ => line.to_owned(),
    };
    text.split_inclusive('\n').map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_far_apart_are_joined() {
        let (base, ours, theirs) = ("a\nb\nc\nd\n", "A\nb\nc\nd\n", "a\nb\nc\nD\n");
        let merged = merge(base.as_bytes(), ours.as_bytes(), theirs.as_bytes(), "x");
        assert_eq!(merged, Some(MergedText::Clean(b"A\nb\nc\nD\n".to_vec())));
    }

    #[test]
    fn the_same_line_is_a_conflict() {
        let Some(MergedText::Conflict(text)) = merge(b"a\n", b"b\n", b"c\n", "experiment (9f01cc2e)") else {
            panic!("no conflict");
        };
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("<<<<<<< ours\nb\n"), "{text}");
        assert!(text.ends_with("=======\nc\n>>>>>>> experiment (9f01cc2e)\n"), "{text}");
    }

    #[test]
    fn a_side_can_be_favoured_where_they_disagree() {
        let (base, ours, theirs) = (b"a\nb\nc\nd\n", b"A\nb\nc\nd\n", b"X\nb\nc\nD\n");
        let favoured = |choice| String::from_utf8(favoured(base, ours, theirs, Some(choice)).unwrap()).unwrap();
        assert_eq!(favoured(Choice::Ours), "A\nb\nc\nD\n");
        assert_eq!(favoured(Choice::Theirs), "X\nb\nc\nD\n");
    }

    #[test]
    fn what_is_no_text_is_left_alone() {
        assert_eq!(merge(b"", b"\0", b"a", "x"), None);
        assert_eq!(merge(b"", b"\xff", b"a", "x"), None);
    }
}
