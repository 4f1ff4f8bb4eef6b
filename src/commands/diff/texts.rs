//! Text files: settings key by key, others line by line.

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::RepoPath;
use fai_core::repo::{ChangedFile, Comparison, Side};

use super::keys;
use crate::context::Context;
use crate::ui::text_diff;

/// Longer files are not compared line by line.
const MAX_TEXT: u64 = 1 << 20;

/// Prints what differs in files of text.
pub fn print(context: &Context, repository: &Repository, comparison: &Comparison) -> Result<()> {
    for file in comparison.files().filter(|file| !file.same_content()) {
        let Some((old, new)) = both(repository, file)? else {
            continue;
        };
        let path = file.path.as_str();
        let settings = match (file.old, file.new) {
            (Some(_), Some(_)) => keys::changes(path, &old, &new),
            _ => None,
        };
        match settings {
            Some(changes) => keys::print(&context.out, path, &changes)?,
            None => text_diff::print(&context.out, path, &old, &new)?,
        }
    }
    Ok(())
}

/// The text of both versions of a file; of a missing side, nothing. `None` when one is no text, or too long.
pub fn both(repository: &Repository, file: &ChangedFile) -> Result<Option<(String, String)>> {
    let read = |side: &Option<Side>, path: &RepoPath| match side {
        Some(side) => repository.read_content(side, path, MAX_TEXT),
        None => Ok(Some(Vec::new())),
    };
    let old_path = file.old_path.as_ref().unwrap_or(&file.path);
    let (Some(old), Some(new)) = (read(&file.old, old_path)?, read(&file.new, &file.path)?) else {
        return Ok(None);
    };
    Ok(text_diff::as_text(old).zip(text_diff::as_text(new)))
}
