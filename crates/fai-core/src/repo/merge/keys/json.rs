//! JSON as keys and the text of their values.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{MAX_DEPTH, Tree, by_key, lists};

#[derive(Clone)]
enum Node {
    Map(Vec<(String, Node)>),
    /// Anything else, as it was written.
    Text(String),
}

impl Tree for Node {
    fn below(&self) -> Option<&[(String, Self)]> {
        match self {
            Node::Map(entries) => Some(entries),
            Node::Text(_) => None,
        }
    }

    fn with(&self, below: Vec<(String, Self)>) -> Self {
        Node::Map(below)
    }

    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Node::Text(one), Node::Text(other)) => one == other,
            (Node::Map(one), Node::Map(other)) => {
                let found = by_key(other);
                let among =
                    |(key, value): &(String, Node)| found.get(key.as_str()).is_some_and(|found| value.same(found));
                one.len() == other.len() && one.iter().all(among)
            }
            _ => false,
        }
    }
}

/// The merged text in the style of ours; `None` when a text is no JSON.
pub(super) fn merge(base: &str, ours: &str, theirs: &str) -> Option<String> {
    let below = |text: &str| match node(text, 0)? {
        Node::Map(entries) => Some(entries),
        Node::Text(_) => None,
    };
    let base = below(base).unwrap_or_default();
    let merged = Node::Map(lists(&base, &below(ours)?, &below(theirs)?));
    let indent = indent(ours);
    let mut text = String::new();
    write(&merged, indent.as_deref(), 0, &mut text);
    if ours.ends_with('\n') {
        text.push('\n');
    }
    Some(text)
}

fn node(text: &str, depth: usize) -> Option<Node> {
    let text = text.trim();
    if !text.starts_with('{') || depth >= MAX_DEPTH {
        return Some(Node::Text(text.to_owned()));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let entries = deserializer.deserialize_map(Entries).ok()?;
    deserializer.end().ok()?;
    let parsed = entries
        .into_iter()
        .map(|(key, raw)| Some((key, node(raw.get(), depth + 1)?)));
    parsed.collect::<Option<Vec<_>>>().map(Node::Map)
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, Box<RawValue>)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut entries, mut seen) = (Vec::new(), std::collections::HashSet::new());
        while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom("a key twice"));
            }
            entries.push((key, value));
        }
        Ok(entries)
    }
}

/// What one level is indented by; `None` for a text on one line.
fn indent(text: &str) -> Option<String> {
    let line = text
        .trim_start()
        .strip_prefix('{')?
        .split_once('\n')?
        .1
        .lines()
        .next()?;
    let indent: String = line.chars().take_while(|c| matches!(c, ' ' | '\t')).collect();
    Some(indent)
}

fn write(node: &Node, indent: Option<&str>, depth: usize, out: &mut String) {
    let entries = match node {
        Node::Text(text) => return out.push_str(text),
        Node::Map(entries) if entries.is_empty() => return out.push_str("{}"),
        Node::Map(entries) => entries,
    };
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    };
    out.push('{');
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        line(out, depth + 1);
        out.push_str(&serde_json::Value::from(key.as_str()).to_string());
        out.push_str(": ");
        write(value, indent, depth + 1, out);
    }
    line(out, depth);
    out.push('}');
}
