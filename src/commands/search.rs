//! `fai search`

use anyhow::Result;
use clap::ValueEnum;
use fai_core::database::Found;
use fai_core::repo::{Error, Hit, SearchQuery};
use serde_json::json;

use crate::context::Context;
use crate::ui::Symbol;
use crate::ui::errors::Hinted;
use crate::ui::format;

/// Find words in names, messages, tensors, params, metrics and models of all commits
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai search layers.12.mlp\n  fai search adamw --in params\n  fai search llama --parameters '>1B'\n\n\
    All words must be found in one thing. A word may be the beginning of a longer one, unless it ends with a digit."
)]
pub struct Args {
    /// Words
    text: Vec<String>,
    /// Only there; several with commas
    #[arg(long = "in", value_name = "WHERE", value_delimiter = ',')]
    places: Vec<Place>,
    /// Only models of so many parameters, like '>1B' or '<=350M'
    #[arg(long, value_name = "CONDITION")]
    parameters: Vec<String>,
    /// At most so many
    #[arg(short = 'n', long = "max-count", value_name = "N", default_value_t = 20)]
    limit: usize,
}

/// Where to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Place {
    /// File names
    Names,
    /// Messages and labels of commits
    Messages,
    /// Names of tensors
    Tensors,
    Params,
    Metrics,
    /// Architectures and formats
    Models,
}

impl Place {
    fn kind(self) -> Found {
        match self {
            Place::Names => Found::Name,
            Place::Messages => Found::Message,
            Place::Tensors => Found::Tensor,
            Place::Params => Found::Param,
            Place::Metrics => Found::Metric,
            Place::Models => Found::Model,
        }
    }
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let text = self.text.join(" ");
        if text.trim().is_empty() && self.parameters.is_empty() {
            let error = Error::Usage("there is nothing to search for".into());
            return Err(Hinted::new(error, "give words, or --parameters '>1B' for all models of a size").into());
        }
        let kinds = match self.places.as_slice() {
            [] => Found::ALL.to_vec(),
            places => places.iter().map(|place| place.kind()).collect(),
        };
        let repository = context.repository()?;
        let report = repository.search(&SearchQuery {
            text,
            kinds,
            parameters: between(&self.parameters)?,
            limit: self.limit,
        })?;
        for hit in &report.hits {
            context.out.line(line(context, hit))?;
        }
        if report.hits.is_empty() {
            context.out.say(Symbol::Item, "Nothing found")?;
        }
        if report.more {
            context.out.aside("There is more: -n N shows it");
        }
        let hits: Vec<_> = report.hits.iter().map(document).collect();
        context.out.document(&json!({ "hits": hits, "more": report.more }))
    }
}

fn name(kind: Found) -> &'static str {
    match kind {
        Found::Name => "name",
        Found::Message => "message",
        Found::Tensor => "tensor",
        Found::Param => "param",
        Found::Metric => "metric",
        Found::Model => "model",
    }
}

fn line(context: &Context, hit: &Hit) -> String {
    let id = context.out.paint("33", &hit.commit.short());
    let kind = format!("{:<7}", name(hit.kind));
    let text = format::shortened(&format::safe(&hit.text), 200);
    let what = match (&hit.path, &hit.model) {
        (Some(path), Some((format, architecture, parameters))) => {
            let path = format::safe(path);
            let kind = match architecture.is_empty() {
                true => format.clone(),
                false => format!("{}, {format}", format::safe(architecture)),
            };
            let size = format!("{path} ({kind}, {} parameters)", format::count(*parameters));
            match hit.kind {
                Found::Tensor => format!("{text} in {size}"),
                _ => size,
            }
        }
        _ if text == hit.title => return format!("{id} {kind} {text}"),
        _ => text,
    };
    let title = format::shortened(&format::safe(&hit.title), 60);
    format!("{id} {kind} {what}  [{title}]")
}

fn document(hit: &Hit) -> serde_json::Value {
    let model = hit.model.as_ref().map(|(format, architecture, parameters)| {
        json!({ "format": format, "architecture": architecture, "parameters": parameters })
    });
    json!({
        "in": name(hit.kind),
        "commit": hit.commit.to_string(),
        "time": format::time_rfc3339(hit.time),
        "message": hit.title,
        "path": hit.path,
        "match": hit.text,
        "model": model,
    })
}

/// The least and the most parameters that all conditions leave.
fn between(conditions: &[String]) -> Result<Option<(u64, u64)>> {
    let mut range = (0, u64::MAX);
    for text in conditions {
        let wrong = || {
            let error = Error::Usage(format!("{text:?} is no condition on a number of parameters"));
            Hinted::new(error, "write it like '>1B', '<=350M' or '=124000000'")
        };
        let signs = [
            ("<=", true, true),
            (">=", false, true),
            ("<", true, false),
            (">", false, false),
        ];
        let trimmed = text.trim();
        let trimmed = trimmed.strip_prefix("params").unwrap_or(trimmed).trim_start();
        let found = signs
            .iter()
            .find_map(|(sign, most, equal)| Some((trimmed.strip_prefix(sign)?, *most, *equal)));
        match found {
            Some((number, true, equal)) => {
                let limit = format::parse_count(number).ok_or_else(wrong)?;
                // Below nothing there is nothing.
                let most = if equal { Some(limit) } else { limit.checked_sub(1) };
                range = match most {
                    Some(most) => (range.0, range.1.min(most)),
                    None => (1, 0),
                };
            }
            Some((number, false, equal)) => {
                let limit = format::parse_count(number).ok_or_else(wrong)?;
                range.0 = range.0.max(limit.saturating_add(u64::from(!equal)));
            }
            None => {
                let number = trimmed
                    .strip_prefix("==")
                    .or(trimmed.strip_prefix('='))
                    .unwrap_or(trimmed);
                let limit = format::parse_count(number).ok_or_else(wrong)?;
                range = (range.0.max(limit), range.1.min(limit));
            }
        }
    }
    Ok((!conditions.is_empty()).then_some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_become_a_range() {
        let read = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            between(&texts).ok().flatten()
        };
        assert_eq!(read(&[">1B"]), Some((1_000_000_001, u64::MAX)));
        assert_eq!(read(&[" <= 350M", ">=1k"]), Some((1000, 350_000_000)));
        assert_eq!(read(&["params<1e9"]), Some((0, 999_999_999)));
        assert_eq!(read(&["=7"]), Some((7, 7)));
        assert_eq!(read(&["<0"]), Some((1, 0)));
        for wrong in ["", ">", "many", ">-1", "1Q", ">nan", "=>1"] {
            assert_eq!(read(&[wrong]), None, "{wrong}");
        }
    }
}
