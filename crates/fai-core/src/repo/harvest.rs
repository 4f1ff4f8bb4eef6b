//! Metrics and parameters that tools leave in files at the root: nobody types them twice. Of step series the last values
//! are taken; the series themselves stay in their files.

use std::collections::BTreeMap;
use std::io::Read;

use super::json::parse_with_specials;
use super::status::StatusEntry;
use super::{Error, Repository};
use crate::object::Value;

/// The longest such file that is read.
const MAX_LEN: u64 = 4 << 20;

/// Values taken from one file at the most.
const MAX_VALUES: usize = 4096;

/// The longest dotted key.
const MAX_KEY: usize = 256;

/// Bytes of keys and values taken from all files together: a commit has room for about a megabyte.
const MAX_BYTES: usize = 400_000;

/// How deep keys may nest.
const MAX_DEPTH: usize = 32;

/// How deep lists may nest: less than what a commit's metadata may, of which keys take a part.
const MAX_LIST_DEPTH: usize = 8;

const METRICS: [&str; 2] = ["metrics.json", "dvclive/metrics.json"];
const PARAMS: [&str; 2] = ["params.yaml", "params.json"];

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Harvest {
    pub params: BTreeMap<String, Value>,
    pub metrics: BTreeMap<String, Value>,
    /// Files that could not be understood.
    pub warnings: Vec<String>,
}

/// What a file holds, or why it could not be understood.
type Parsed = Result<BTreeMap<String, Value>, String>;

impl Repository {
    /// Reads the metrics and parameter files among staged changes, as they are staged.
    pub(super) fn harvest(&self, changes: &[StatusEntry]) -> Result<Harvest, Error> {
        let mut harvest = Harvest::default();
        let mut last_values = BTreeMap::new();
        let mut bytes = 0;
        for change in changes.iter().filter(|change| change.change != "removed") {
            let path = change.path.as_str();
            let found = match self.values_in(change)? {
                None => continue,
                Some(Err(reason)) => Err(reason),
                Some(Ok(values)) => {
                    bytes += values.iter().map(|(key, value)| key.len() + size(value)).sum::<usize>();
                    match bytes > MAX_BYTES {
                        true => Err(format!("with it there are more than {MAX_BYTES} bytes of values")),
                        false => Ok(values),
                    }
                }
            };
            match found {
                Err(reason) => harvest
                    .warnings
                    .push(format!("{path} holds no usable values: {reason}")),
                Ok(values) if METRICS.contains(&path) => harvest.metrics.extend(values),
                Ok(values) if PARAMS.contains(&path) => harvest.params.extend(values),
                Ok(values) => last_values.extend(values),
            }
        }
        // What a summary says wins over the end of a series.
        last_values.extend(std::mem::take(&mut harvest.metrics));
        harvest.metrics = last_values;
        Ok(harvest)
    }

    /// The values in a staged file, or why there are none; `None` when it is not one to look into.
    fn values_in(&self, change: &StatusEntry) -> Result<Option<Parsed>, Error> {
        let path = change.path.as_str();
        if !METRICS.contains(&path) && !PARAMS.contains(&path) {
            let series = self.read_series(&change.path, &change.entry)?;
            return Ok(series.map(|series| {
                let last = |(name, series): (String, super::Series)| Some((name, Value::Float(series.last()?)));
                Ok(series?.into_iter().filter_map(last).collect())
            }));
        }
        if change.entry.size > MAX_LEN {
            return Ok(Some(Err(format!("it is longer than {MAX_LEN} bytes"))));
        }
        let mut bytes = Vec::new();
        let read = self
            .open_file(change.entry.file)?
            .reader()
            .take(MAX_LEN)
            .read_to_end(&mut bytes);
        read.map_err(Error::io("read", path.as_ref()))?;
        Ok(Some(parse(path, &bytes)))
    }
}

/// About how many bytes a value takes in a commit.
fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len() + 5,
        Value::List(items) => items.iter().map(size).sum::<usize>() + 5,
        Value::Map(map) => map.iter().map(|(key, value)| key.len() + size(value)).sum::<usize>() + 5,
        _ => 9,
    }
}

/// The leaves of a JSON or YAML document, by dotted keys.
fn parse(path: &str, bytes: &[u8]) -> Result<BTreeMap<String, Value>, String> {
    let document: serde_json::Value = if path.ends_with(".json") {
        parse_with_specials(bytes).map_err(|error| error.to_string())?
    } else {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        serde_saphyr::from_str(text).map_err(|error| error.to_string())?
    };
    if !document.is_object() {
        return Err("its top level is not a map".into());
    }
    let mut values = BTreeMap::new();
    flatten(&document, String::new(), 0, &mut values)?;
    Ok(values)
}

fn flatten(
    value: &serde_json::Value,
    key: String,
    depth: usize,
    values: &mut BTreeMap<String, Value>,
) -> Result<(), String> {
    if depth > MAX_DEPTH || values.len() >= MAX_VALUES {
        return Err("it is nested too deep or holds too many values".into());
    }
    let join = |name: &str| {
        if key.is_empty() {
            name.to_owned()
        } else {
            format!("{key}.{name}")
        }
    };
    let leaf = match value {
        serde_json::Value::Object(map) => {
            return map
                .iter()
                .try_for_each(|(name, value)| flatten(value, join(name), depth + 1, values));
        }
        serde_json::Value::Null => return Ok(()),
        serde_json::Value::String(text) => match text.as_str() {
            "NaN" => Value::Float(f64::NAN),
            "Infinity" => Value::Float(f64::INFINITY),
            "-Infinity" => Value::Float(f64::NEG_INFINITY),
            _ => Value::Text(text.clone()),
        },
        other => Value::from_json(other),
    };
    if key.len() > MAX_KEY {
        return Err(format!("a key in it is longer than {MAX_KEY} bytes"));
    }
    if !leaf.nests_within(MAX_LIST_DEPTH) {
        return Err(format!("the lists in {key} are nested too deep"));
    }
    values.insert(key, leaf);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_documents_become_dotted_keys() {
        let yaml = b"lr: 1.0e-3\ntrain:\n  epochs: 3\n  sizes: [1, 2]\n  name: run\nnothing: null\n";
        let values = parse("params.yaml", yaml).unwrap();
        assert_eq!(values["lr"], Value::Float(1e-3));
        assert_eq!(values["train.epochs"], Value::Int(3));
        assert_eq!(values["train.sizes"], Value::List(vec![Value::Int(1), Value::Int(2)]));
        assert_eq!(values["train.name"], Value::Text("run".into()));
        assert_eq!(values.len(), 4);
    }

    #[test]
    fn lists_deeper_than_metadata_may_be_are_refused() {
        let nested = |levels: usize| format!("{{\"a\": {}1{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse("metrics.json", nested(3).as_bytes()).is_ok());
        assert!(parse("metrics.json", nested(20).as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_map_is_refused_with_a_reason() {
        for (path, text) in [("metrics.json", "[1]"), ("metrics.json", "{"), ("params.yaml", "a: [")] {
            assert!(parse(path, text.as_bytes()).is_err(), "{text}");
        }
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: &d [*c, *c]\n".to_owned()
            + &(b'e'..=b'z')
                .map(|c| format!("{0}: &{0} [*{1}, *{1}]\n", c as char, (c - 1) as char))
                .collect::<String>();
        assert!(
            parse("params.yaml", bomb.as_bytes()).is_err(),
            "an alias bomb must not unfold"
        );
    }
}
