//! Series as events: a JSON object a line, either with a name and a value, or with a field a metric.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::json::parse_with_specials;
use super::{Collected, Lines, STEPS, Series, number, says_when};

/// Fields that name the metric of a line, and fields with its value.
const NAMES: [&str; 4] = ["name", "tag", "key", "metric"];
const VALUE: &str = "value";

/// How deep the fields of a line may nest.
const MAX_DEPTH: usize = 8;

/// Reads a file of events.
pub(super) fn parse(lines: &mut Lines<'_>) -> Result<BTreeMap<String, Series>, String> {
    let mut collected = Collected::default();
    let mut row = 0;
    while let Some(line) = lines.next()? {
        if line.trim().is_empty() {
            continue;
        }
        let document =
            parse_with_specials(line.as_bytes()).map_err(|error| lines.wrong(&format!("is no JSON: {error}")))?;
        let Value::Object(fields) = document else {
            return Err(lines.wrong("is not a JSON object"));
        };
        let at = STEPS.iter().find_map(|name| fields.get(*name).and_then(numeric));
        let at = at.filter(|at| at.is_finite()).unwrap_or(f64::from(row));
        row += 1;
        let named = NAMES.iter().find_map(|name| fields.get(*name)?.as_str());
        match (named, fields.get(VALUE).and_then(numeric)) {
            (Some(name), Some(value)) => collected.push(name, at, value)?,
            _ => fields_of(&fields, "", 0, &mut |name, value| collected.push(name, at, value))?,
        }
    }
    match collected.series.is_empty() {
        true => Err("it holds no numbers".into()),
        false => Ok(collected.series),
    }
}

/// Hands over all numbers below some fields, by dotted names.
fn fields_of(
    fields: &Map<String, Value>,
    prefix: &str,
    depth: usize,
    take: &mut dyn FnMut(&str, f64) -> Result<(), String>,
) -> Result<(), String> {
    for (name, value) in fields {
        if depth == 0 && says_when(name).is_some() {
            continue;
        }
        let name = format!("{prefix}{name}");
        match value {
            Value::Object(below) if depth < MAX_DEPTH => fields_of(below, &format!("{name}."), depth + 1, take)?,
            other => {
                if let Some(value) = numeric(other) {
                    take(&name, value)?;
                }
            }
        }
    }
    Ok(())
}

/// A number, or one of those that JSON has no word for.
fn numeric(value: &Value) -> Option<f64> {
    match value {
        Value::Number(found) => found.as_f64(),
        Value::String(text) if matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity") => number(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Result<BTreeMap<String, Series>, String> {
        parse(&mut Lines::new(text.as_bytes()))
    }

    #[test]
    fn lines_become_points() {
        let text = "{\"step\": 1, \"loss\": 2, \"eval\": {\"acc\": 0.5}, \"note\": \"x\"}\n\n\
                    {\"step\": 2, \"loss\": NaN}\n{\"tag\": \"lr\", \"value\": 1e-3, \"step\": 7}\n{\"loss\": -Infinity}\n";
        let series = events(text).unwrap();
        assert_eq!(series.keys().collect::<Vec<_>>(), ["eval.acc", "loss", "lr"]);
        assert_eq!(series["lr"].points, [(7.0, 1e-3)]);
        let loss = &series["loss"].points;
        assert_eq!((loss[0], loss[2]), ((1.0, 2.0), (3.0, f64::NEG_INFINITY)));
        assert!(loss[1].1.is_nan());
    }

    #[test]
    fn what_is_no_event_is_refused_by_line() {
        assert!(
            events("{\"loss\": 1}\n[1]\n")
                .unwrap_err()
                .starts_with("line 2 is not a JSON object")
        );
        assert!(
            events("{\"loss\": 1}\n{\"loss\": \n")
                .unwrap_err()
                .starts_with("line 2 is no JSON")
        );
        assert_eq!(events("{\"a\": \"b\"}\n").unwrap_err(), "it holds no numbers");
        let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
        assert!(events(&deep).is_err());
    }
}
