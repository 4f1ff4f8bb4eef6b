//! JSON and YAML key by key: `hidden_size: 768 -> 1024`. What cannot be read so is compared line by line instead.

use anyhow::Result;
use serde_json::{Map, Value};

use crate::ui::Output;
use crate::ui::format::safe;

/// Deeper values are compared as a whole.
const MAX_DEPTH: usize = 32;

/// More keys than this are better read as lines.
const MAX_CHANGES: usize = 2000;

/// Characters of a value that are shown.
const SHOWN: usize = 60;

/// A value that is not the same in both documents.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyChange {
    /// Where it is: `text_config.rope_scaling.factors[3]`.
    pub key: String,
    /// What it was.
    pub old: Option<Value>,
    /// What it is.
    pub new: Option<Value>,
}

/// What differs between two documents; `None` when this is no file of settings, one of them cannot be read, or when only their
/// writing differs, which lines show.
pub fn changes(path: &str, old: &str, new: &str) -> Option<Vec<KeyChange>> {
    let ending = path.rsplit('.').next()?.to_ascii_lowercase();
    let parse = |text: &str| -> Option<Value> {
        match ending.as_str() {
            "json" => serde_json::from_str(text).ok(),
            "yaml" | "yml" => serde_saphyr::from_str(text).ok(),
            _ => None,
        }
    };
    let (old, new) = (parse(old)?, parse(new)?);
    let is_nested = |value: &Value| value.is_object() || value.is_array();
    let mut changes = Vec::new();
    if !is_nested(&old) || !is_nested(&new) {
        return None;
    }
    compare(String::new(), &old, &new, 0, &mut changes);
    (1..=MAX_CHANGES).contains(&changes.len()).then_some(changes)
}

/// Prints changes as lines.
pub fn print(out: &Output, path: &str, changes: &[KeyChange]) -> Result<()> {
    out.line(out.paint("1", &format!("--- {}", safe(path))))?;
    out.line(out.paint("1", &format!("+++ {}", safe(path))))?;
    let arrow = if out.shows_signs() { "→" } else { "->" };
    for change in changes {
        let key = safe(&change.key);
        let line = match (&change.old, &change.new) {
            (Some(old), Some(new)) => format!(
                "  {key}: {} {arrow} {}",
                out.paint("31", &value(out, old)),
                out.paint("32", &value(out, new))
            ),
            (Some(old), None) => out.paint("31", &format!("- {key}: {}", value(out, old))),
            (None, Some(new)) => out.paint("32", &format!("+ {key}: {}", value(out, new))),
            (None, None) => continue,
        };
        out.line(line)?;
    }
    Ok(())
}

fn value(out: &Output, value: &Value) -> String {
    out.shorten(&safe(&value.to_string()), SHOWN)
}

fn compare(key: String, old: &Value, new: &Value, depth: usize, changes: &mut Vec<KeyChange>) {
    if old == new || changes.len() > MAX_CHANGES {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) if depth < MAX_DEPTH => compare_maps(&key, old, new, depth, changes),
        (Value::Array(old), Value::Array(new)) if depth < MAX_DEPTH => {
            for index in 0..old.len().max(new.len()) {
                either(
                    format!("{key}[{index}]"),
                    old.get(index),
                    new.get(index),
                    depth,
                    changes,
                );
            }
        }
        _ => either(key, Some(old), Some(new), MAX_DEPTH, changes),
    }
}

fn compare_maps(
    key: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    depth: usize,
    changes: &mut Vec<KeyChange>,
) {
    let inner = |name: &str| {
        let plain = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-/".contains(&byte));
        let name = if plain {
            name.to_owned()
        } else {
            Value::from(name).to_string()
        };
        if key.is_empty() { name } else { format!("{key}.{name}") }
    };
    for (name, value) in old {
        either(inner(name), Some(value), new.get(name), depth, changes);
    }
    for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        either(inner(name), None, Some(value), depth, changes);
    }
}

/// Goes on inside two values that are both there and not at the greatest depth; else notes the change.
fn either(key: String, old: Option<&Value>, new: Option<&Value>, depth: usize, changes: &mut Vec<KeyChange>) {
    match (old, new) {
        (Some(old), Some(new)) if depth < MAX_DEPTH => compare(key, old, new, depth + 1, changes),
        _ if changes.len() > MAX_CHANGES => {}
        _ => changes.push(KeyChange {
            key,
            old: old.cloned(),
            new: new.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys(path: &str, old: &str, new: &str) -> Vec<String> {
        let shown = |value: Option<Value>| value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
        let found = changes(path, old, new).expect("readable");
        let line = |change: KeyChange| format!("{}: {} -> {}", change.key, shown(change.old), shown(change.new));
        found.into_iter().map(line).collect()
    }

    #[test]
    fn values_are_named_by_where_they_are() {
        let old =
            json!({"hidden_size": 768, "gone": null, "rope": {"factors": [1, 2]}, "a.b": 1, "same": [1, {"x": 2}]});
        let new = json!({"hidden_size": 1024, "rope": {"factors": [1, 3, 4]}, "a.b": "1", "same": [1, {"x": 2}], "fresh": {"y": 1}});
        let expected = [
            "hidden_size: 768 -> 1024",
            "gone: null -> nothing",
            "rope.factors[1]: 2 -> 3",
            "rope.factors[2]: nothing -> 4",
            "\"a.b\": 1 -> \"1\"",
            "fresh: nothing -> {\"y\":1}",
        ];
        assert_eq!(keys("config.json", &old.to_string(), &new.to_string()), expected);
        assert_eq!(
            keys(
                "params.yaml",
                "lr: 1e-3\nlayers: [1, 2]\n",
                "layers:\n- 1\n- 3\nlr: 0.001\n"
            ),
            ["layers[1]: 2 -> 3"]
        );
    }

    #[test]
    fn what_lines_show_better_is_left_to_them() {
        let cases = [
            ("notes.txt", "{}", "{\"a\": 1}"),
            ("a.json", "{", "{\"a\": 1}"),
            ("a.json", "{\"a\": 1}", "{\"a\":1}"),
            ("a.json", "1", "2"),
            ("a.yaml", "a: [", "a: 1"),
        ];
        for (path, old, new) in cases {
            assert_eq!(changes(path, old, new), None, "{path} {old} {new}");
        }
        let long = |value: u32| Value::from((0..3000).map(|index| index + value).collect::<Vec<_>>()).to_string();
        assert_eq!(changes("a.json", &long(0), &long(1)), None);
    }

    #[test]
    fn deep_documents_end() {
        let nested = |depth: usize, value: u32| format!("{}{value}{}", "[".repeat(depth), "]".repeat(depth));
        let found = changes("a.json", &nested(100, 1), &nested(100, 2)).expect("readable");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].key, "[0]".repeat(MAX_DEPTH));
        // Deeper than the parser goes.
        assert_eq!(changes("a.json", &nested(100_000, 1), &nested(100_000, 2)), None);
        assert_eq!(changes("a.yaml", &nested(100_000, 1), &nested(100_000, 2)), None);
    }
}
