//! `fai info`

use anyhow::Result;
use fai_core::database::TensorRecord;
use fai_core::repo::{Described, Subject};
use serde_json::json;

use crate::context::Context;
use crate::present::ensure_file;
use crate::ui::Symbol;
use crate::ui::format::{count, safe, size};

/// Tensors that are listed unless all are asked for.
const LISTED: usize = 10;

/// Show what a file is: format, tensors, dtypes, parameters, architecture
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai info model.safetensors\n  fai info HEAD~1:model.safetensors --tensors")]
pub struct Args {
    /// A path, REV:PATH, or a file's id
    file: String,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let subject = repository.subject(&self.file, &context.folder)?;
        if let Subject::Stored(named) = &subject
            && !repository.is_described(named.file)?
        {
            ensure_file(context, &repository, named.file, named.path.as_ref())?;
        }
        let described = repository.describe(&subject)?;
        print(context, &described, &self.file, self.tensors)?;
        context.out.document(&document(&described))
    }
}

fn print(context: &Context, file: &Described, typed: &str, all: bool) -> Result<()> {
    let out = &context.out;
    let name = file.path.as_ref().map_or_else(|| typed.to_owned(), ToString::to_string);
    let id = file.file.map(|id| format!(" ({})", id.short())).unwrap_or_default();
    out.say(Symbol::Package, format!("{name}{id}"))?;
    let line = |label: &str, value: String| out.say(Symbol::Item, format!("  {label:<14}{value}"));
    line("Size:", format!("{} ({} bytes)", size(file.size), file.size))?;
    line("Format:", file.format.clone().unwrap_or_else(|| "plain bytes".into()))?;
    if let Some(refusal) = &file.refusal {
        line("Note:", format!("stored as plain bytes: {}", safe(refusal)))?;
    }
    if let Some(architecture) = &file.architecture {
        line("Architecture:", safe(architecture))?;
    }
    if let Some(parameters) = file.parameters {
        line("Parameters:", format!("{} ({parameters})", count(parameters)))?;
        let dtype = |(name, (tensors, parameters)): (&String, &(u64, u64))| {
            format!("{name}: {} in {tensors} tensors", count(*parameters))
        };
        line("Dtypes:", file.dtypes.iter().map(dtype).collect::<Vec<_>>().join(", "))?;
        line("Tensors:", file.tensors.len().to_string())?;
    }
    if let Some(content) = file.content {
        line("BLAKE3:", content.to_string())?;
    }
    let shown = if all { file.tensors.len() } else { LISTED };
    for tensor in file.tensors.iter().take(shown) {
        let TensorRecord {
            name,
            dtype,
            shape,
            start,
            end,
        } = tensor;
        out.say(
            Symbol::Item,
            format!("    {} {dtype} {shape} {}", safe(name), size(end - start)),
        )?;
    }
    if file.tensors.len() > shown {
        out.say(
            Symbol::Item,
            format!("    ... and {} more (--tensors lists all)", file.tensors.len() - shown),
        )?;
    }
    Ok(())
}

fn document(file: &Described) -> serde_json::Value {
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
    let tensor = |tensor: &TensorRecord| {
        json!({
            "name": tensor.name, "dtype": tensor.dtype, "shape": parsed(&tensor.shape),
            "start": tensor.start, "end": tensor.end,
        })
    };
    let dtypes = file
        .dtypes
        .iter()
        .map(|(name, (tensors, parameters))| (name.clone(), json!({ "tensors": tensors, "parameters": parameters })));
    json!({
        "path": file.path.as_ref().map(|path| path.as_str()),
        "id": file.file.map(|id| id.to_string()),
        "content": file.content.map(|content| content.to_string()),
        "size": file.size,
        "format": file.format,
        "architecture": file.architecture,
        "parameters": file.parameters,
        "dtypes": dtypes.collect::<serde_json::Map<_, _>>(),
        "metadata": parsed(&file.metadata),
        "note": file.refusal,
        "tensors": file.tensors.iter().map(tensor).collect::<Vec<_>>(),
    })
}
