//! `fai chunks`

use anyhow::Result;
use fai_core::repo::{ChunkInfo, ChunkList};
use serde_json::json;

use crate::context::Context;
use crate::present::ensure_file;
use crate::ui::Symbol;
use crate::ui::format::{safe, size};

/// Show how a file is cut into chunks and how each is stored
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai chunks abc12345\n  fai chunks HEAD:model.safetensors")]
pub struct Args {
    /// A file's id, a tracked path, or REV:PATH
    file: String,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let named = repository.resolve_file(&self.file, &context.folder)?;
        ensure_file(context, &repository, named.file, named.path.as_ref())?;
        let list = repository.chunks(named.file)?;
        print(context, &list)?;
        context.out.document(&document(&list))
    }
}

fn print(context: &Context, list: &ChunkList) -> Result<()> {
    let out = &context.out;
    let kind = match list.chunks.len() {
        0 => "empty file",
        1 => "single-chunk file",
        _ => "multi-chunk file",
    };
    let manifest: String = list.file.to_string().chars().take(12).collect();
    out.say(Symbol::Package, format!("File: {kind} (manifest: {manifest})"))?;
    out.say(Symbol::Numbers, "Chunks:")?;
    for (index, chunk) in list.chunks.iter().enumerate() {
        let ChunkInfo {
            id,
            size: len,
            stored_bytes,
            encoding,
            tensor,
            ..
        } = chunk;
        let tensor = tensor
            .as_ref()
            .map(|name| format!("  {}", safe(name)))
            .unwrap_or_default();
        let line = format!(
            "  {index}: {} ({}) {} {}{tensor}",
            id.short(),
            size(*len),
            encoding.name(),
            size(*stored_bytes)
        );
        out.line(line)?;
    }
    let count = list.chunks.len();
    let total = format!(
        "Total: {count} chunks, {} stored ({} original)",
        size(list.stored_bytes),
        size(list.size)
    );
    out.say(Symbol::Compare, total)
}

fn document(list: &ChunkList) -> serde_json::Value {
    let chunk = |(index, chunk): (usize, &ChunkInfo)| {
        json!({
            "index": index, "id": chunk.id.to_string(), "offset": chunk.offset, "size": chunk.size,
            "stored_bytes": chunk.stored_bytes, "encoding": chunk.encoding.name(), "tensor": chunk.tensor,
        })
    };
    json!({
        "id": list.file.to_string(),
        "size": list.size,
        "stored_bytes": list.stored_bytes,
        "chunks": list.chunks.iter().enumerate().map(chunk).collect::<Vec<_>>(),
    })
}
