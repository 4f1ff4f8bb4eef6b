//! YAML as keys and the lines that belong to them: block maps by their indentation, everything else as it was written. What the
//! lines mean is left to a parser.

use serde_json::Value;

use super::{MAX_DEPTH, Tree, lists};

/// What a text means, if it is YAML.
pub(super) fn parse(text: &str) -> Option<Value> {
    serde_saphyr::from_str(text).ok()
}

/// A key: the lines before its value's, and its value.
#[derive(Clone)]
struct Block {
    /// Comments and blank lines before the key, and its own line.
    head: String,
    value: Body,
}

#[derive(Clone)]
enum Body {
    Lines(String),
    Map(Vec<(String, Block)>),
}

impl Tree for Block {
    fn below(&self) -> Option<&[(String, Self)]> {
        match &self.value {
            Body::Map(entries) => Some(entries),
            Body::Lines(_) => None,
        }
    }

    fn with(&self, below: Vec<(String, Self)>) -> Self {
        let (head, value) = (self.head.clone(), Body::Map(below));
        Self { head, value }
    }

    /// As lines: what is written otherwise counts as changed, which does no harm.
    fn same(&self, other: &Self) -> bool {
        let text = |block: &Self| {
            let mut text = String::new();
            write(block, &mut text);
            text
        };
        text(self).trim() == text(other).trim()
    }
}

/// The merged text; `None` when a text is written in a way that is not understood here.
pub(super) fn merge(base: &str, ours: &str, theirs: &str) -> Option<String> {
    let texts = [base, ours, theirs].map(|text| match text.is_empty() || text.ends_with('\n') {
        true => text.to_owned(),
        false => format!("{text}\n"),
    });
    let below = |text: &str| map(&text.split_inclusive('\n').collect::<Vec<_>>(), 0);
    let [base, ours, theirs] = texts.each_ref().map(|text| below(text));
    let (ours, theirs) = (ours?, theirs?);
    let mut text = String::new();
    for (_, block) in lists(&base.unwrap_or_default(), &ours, &theirs) {
        write(&block, &mut text);
    }
    Some(text)
}

fn write(block: &Block, out: &mut String) {
    out.push_str(&block.head);
    match &block.value {
        Body::Lines(lines) => out.push_str(lines),
        Body::Map(entries) => entries.iter().for_each(|(_, block)| write(block, out)),
    }
}

/// Lines as a map whose keys all stand at one indentation.
fn map(lines: &[&str], depth: usize) -> Option<Vec<(String, Block)>> {
    let first = lines.iter().find(|line| matters(line))?;
    let indent = width(first);
    let (mut entries, mut waiting) = (Vec::<(String, Block)>::new(), String::new());
    let mut rest = lines;
    while let Some((line, after)) = rest.split_first() {
        rest = after;
        if !matters(line) {
            waiting.push_str(line);
            continue;
        }
        let key = key(line).filter(|_| width(line) == indent && !line.contains('\t'))?;
        let head = std::mem::take(&mut waiting) + line;
        // A list may stand at its key's own indentation.
        let belongs = |line: &&&str| !matters(line) || width(line) > indent || width(line) == indent && is_item(line);
        let mut count = rest.iter().take_while(belongs).count();
        // Comments before the next key are that one's.
        while count > 0 && rest.get(count - 1).is_some_and(|line| !matters(line)) {
            count -= 1;
        }
        let (body, after) = rest.split_at_checked(count)?;
        rest = after;
        let opens = value(line).is_empty() && depth < MAX_DEPTH;
        let value = match opens.then(|| map(body, depth + 1)).flatten() {
            Some(entries) => Body::Map(entries),
            None => Body::Lines(body.concat()),
        };
        if entries.iter().any(|(name, _)| *name == key) {
            return None;
        }
        entries.push((key, Block { head, value }));
    }
    // What follows the last key stays with it.
    if let Some((_, Block { value, .. })) = entries.last_mut().filter(|_| !waiting.is_empty()) {
        match value {
            Body::Lines(lines) => lines.push_str(&waiting),
            Body::Map(_) => return None,
        }
    }
    Some(entries)
}

/// False for blank lines and comments.
fn matters(line: &str) -> bool {
    let text = line.trim_start();
    !text.is_empty() && !text.starts_with('#')
}

fn is_item(line: &str) -> bool {
    let text = line.trim();
    text == "-" || text.starts_with("- ")
}

fn width(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The plain or quoted key at the start of a line.
fn key(line: &str) -> Option<String> {
    let text = line.trim();
    let (key, rest) = text.split_once(':')?;
    let plain = !key.is_empty() && !key.starts_with(['-', '?', '{', '[', '&', '*', '!', '|', '>', '%', '@', '`']);
    (plain && (rest.is_empty() || rest.starts_with(' '))).then(|| key.trim_end().to_owned())
}

/// What stands behind the key on its line, without a comment.
fn value(line: &str) -> &str {
    let rest = line.split_once(':').map_or("", |(_, rest)| rest).trim();
    match rest.starts_with('#') {
        true => "",
        false => rest,
    }
}
