//! JSON and YAML merged key by key. Values tell what the result must be; its text is made so that as much as possible of what
//! people wrote stays, and is held against the values before it is used.

mod json;
mod yaml;

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::object::RepoPath;

/// Deeper values are compared as wholes.
const MAX_DEPTH: usize = 64;

/// A format that has keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyed {
    Json,
    Yaml,
}

impl Keyed {
    /// By the file's name.
    pub fn of(path: &RepoPath) -> Option<Self> {
        let (_, extension) = path.as_str().rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "json" => Some(Keyed::Json),
            "yaml" | "yml" => Some(Keyed::Yaml),
            _ => None,
        }
    }

    fn parse(self, text: &str) -> Option<Value> {
        let value = match self {
            Keyed::Json => serde_json::from_str(text).ok()?,
            Keyed::Yaml => yaml::parse(text)?,
        };
        matches!(value, Value::Object(_)).then_some(value)
    }
}

/// Merges three texts. `lines` is what a merge by lines gives, if that was clean. `None` when one of them is not a map of that format.
///
/// # Errors
/// The keys that both sides changed differently.
pub(super) fn merge(format: Keyed, texts: [&str; 3], lines: Option<&str>) -> Option<Result<String, Vec<String>>> {
    let [base, ours, theirs] = texts.map(|text| format.parse(text));
    let (ours_value, theirs_value) = (ours?, theirs?);
    // Two files that were added have no base.
    let base_value = base.unwrap_or_else(|| Value::Object(Map::new()));
    let mut conflicts = Vec::new();
    let wanted = values(Some(&base_value), &ours_value, &theirs_value, "", &mut conflicts, 0);
    if !conflicts.is_empty() {
        return Some(Err(conflicts));
    }
    let [base, ours, theirs] = texts;
    let text = || match format {
        Keyed::Json => json::merge(base, ours, theirs),
        Keyed::Yaml => yaml::merge(base, ours, theirs),
    };
    let right = |text: &String| format.parse(text).as_ref() == Some(&wanted);
    let found = lines.map(str::to_owned).filter(right).or_else(|| text().filter(right));
    Some(Ok(match (found, format) {
        (Some(text), _) => text,
        (None, Keyed::Json) => serde_json::to_string_pretty(&wanted).ok()? + "\n",
        (None, Keyed::Yaml) => return None,
    }))
}

/// What three values come to; ours where both changed one thing, whose key is then added to `conflicts`.
fn values(
    base: Option<&Value>,
    ours: &Value,
    theirs: &Value,
    at: &str,
    conflicts: &mut Vec<String>,
    depth: usize,
) -> Value {
    if ours == theirs || Some(theirs) == base {
        return ours.clone();
    }
    if Some(ours) == base {
        return theirs.clone();
    }
    let (Value::Object(one), Value::Object(other)) = (ours, theirs) else {
        conflicts.push(at.to_owned());
        return ours.clone();
    };
    if depth >= MAX_DEPTH {
        conflicts.push(at.to_owned());
        return ours.clone();
    }
    let before = base.and_then(Value::as_object);
    let mut merged = Map::new();
    for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
        let path = match at {
            "" => key.clone(),
            at => format!("{at}.{key}"),
        };
        let old = before.and_then(|map| map.get(key));
        let value = match (one.get(key), other.get(key)) {
            (Some(one), Some(other)) => Some(values(old, one, other, &path, conflicts, depth + 1)),
            (Some(side), None) | (None, Some(side)) => match old {
                None => Some(side.clone()),
                Some(old) if old == side => None,
                Some(_) => {
                    conflicts.push(path);
                    Some(side.clone())
                }
            },
            (None, None) => None,
        };
        merged.extend(value.map(|value| (key.clone(), value)));
    }
    Value::Object(merged)
}

/// Keys and what belongs to them, in the order of a text.
trait Tree: Clone {
    /// The keys below, if there are any.
    fn below(&self) -> Option<&[(String, Self)]>;
    /// The same with other keys below.
    fn with(&self, below: Vec<(String, Self)>) -> Self;
    fn same(&self, other: &Self) -> bool;
}

/// Merges lists of keys in which no key has a conflict. What only theirs has goes behind the key that it follows there.
fn lists<T: Tree>(base: &[(String, T)], ours: &[(String, T)], theirs: &[(String, T)]) -> Vec<(String, T)> {
    let [old, mine, other] = [base, ours, theirs].map(by_key);
    let mut follow: HashMap<Option<&str>, Vec<&(String, T)>> = HashMap::new();
    let mut behind = None;
    for entry in theirs {
        let key = entry.0.as_str();
        if mine.contains_key(key) {
            behind = Some(key);
        } else if !old.get(key).is_some_and(|old| old.same(&entry.1)) {
            follow.entry(behind).or_default().push(entry);
        }
    }
    let mut merged = Vec::new();
    let mut add_new = |merged: &mut Vec<(String, T)>, behind| {
        merged.extend(follow.remove(&behind).into_iter().flatten().cloned());
    };
    add_new(&mut merged, None);
    for (key, one) in ours {
        let value = match (old.get(key.as_str()), other.get(key.as_str())) {
            (_, Some(other)) if one.same(other) => Some(one.clone()),
            (Some(old), Some(other)) if old.same(one) => Some((*other).clone()),
            (old, Some(other)) => match (one.below(), other.below()) {
                (Some(one_below), Some(other_below)) => {
                    let below = old.and_then(|old| old.below()).unwrap_or_default();
                    Some(one.with(lists(below, one_below, other_below)))
                }
                _ => Some(one.clone()),
            },
            (Some(old), None) if old.same(one) => None,
            (_, None) => Some(one.clone()),
        };
        merged.extend(value.map(|value| (key.clone(), value)));
        add_new(&mut merged, Some(key.as_str()));
    }
    merged
}

fn by_key<T>(list: &[(String, T)]) -> HashMap<&str, &T> {
    list.iter().map(|(key, value)| (key.as_str(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_name() {
        let of = |path: &str| Keyed::of(&RepoPath::parse(path).unwrap());
        assert_eq!(of("a/config.JSON"), Some(Keyed::Json));
        assert_eq!(of("params.yml"), Some(Keyed::Yaml));
        assert_eq!(of("json"), None);
        assert_eq!(of("notes.txt"), None);
    }

    #[test]
    fn json_keeps_what_was_written() {
        let base = "{\n    \"lr\": 1.0e-3,\n    \"train\": {\"epochs\": 3, \"warm\": 10},\n    \"name\": \"a\"\n}\n";
        let ours = "{\n    \"lr\": 2.50e-3,\n    \"train\": {\"epochs\": 3, \"warm\": 20},\n    \"name\": \"a\"\n}\n";
        let theirs = "{\n    \"lr\": 1.0e-3,\n    \"extra\": [1,2],\n    \"train\": {\"epochs\": 5, \"warm\": 10},\n    \"name\": \"a\"\n}\n";
        let merged = merge(Keyed::Json, [base, ours, theirs], None).unwrap().unwrap();
        let expected = "{\n    \"lr\": 2.50e-3,\n    \"extra\": [1,2],\n    \"train\": {\n        \"epochs\": 5,\n        \"warm\": 20\n    },\n    \"name\": \"a\"\n}\n";
        assert_eq!(merged, expected);
    }

    #[test]
    fn yaml_keeps_comments() {
        let base = "# settings\nlr: 1e-3  # small\nmodel:\n  layers: 12\n  # heads of attention\n  heads: 8\nseed: 1\n";
        let ours = base.replace("1e-3", "2e-3").replace("layers: 12", "layers: 24");
        let theirs = base.replace("heads: 8", "heads: 16\n  dropout: 0.1");
        let merged = merge(Keyed::Yaml, [base, &ours, &theirs], None).unwrap().unwrap();
        let expected = "# settings\nlr: 2e-3  # small\nmodel:\n  layers: 24\n  # heads of attention\n  heads: 16\n  dropout: 0.1\nseed: 1\n";
        assert_eq!(merged, expected);
    }

    #[test]
    fn the_same_key_is_a_conflict_by_name() {
        let (base, ours, theirs) = (r#"{"a":{"b":1}}"#, r#"{"a":{"b":2}}"#, r#"{"a":{"b":3}}"#);
        let conflict = Some(Err(vec!["a.b".to_owned()]));
        assert_eq!(merge(Keyed::Json, [base, ours, theirs], None), conflict);
        let removed = r#"{"a":{}}"#;
        assert_eq!(merge(Keyed::Json, [base, ours, removed], None), conflict);
    }

    #[test]
    fn a_clean_merge_of_lines_counts_only_when_it_means_the_same() {
        let (base, ours, theirs) = ("{\"a\": 1}", "{\"b\": 2, \"a\": 1}", "{\"a\": 1, \"b\": 2}");
        let twice = "{\"b\": 2, \"a\": 1, \"b\": 2}";
        let merged = merge(Keyed::Json, [base, ours, theirs], Some(twice)).unwrap().unwrap();
        let value: Value = serde_json::from_str(&merged).unwrap();
        assert_eq!(value, serde_json::json!({"a": 1, "b": 2}));
    }

    #[test]
    fn what_is_no_map_is_left_alone() {
        assert_eq!(merge(Keyed::Json, ["{}", "[1]", "{}"], None), None);
        assert_eq!(merge(Keyed::Json, ["{}", "{", "{}"], None), None);
        assert_eq!(merge(Keyed::Yaml, ["a: 1", "a: [", "a: 2"], None), None);
    }
}
