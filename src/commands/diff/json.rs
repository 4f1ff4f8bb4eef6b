//! The document that scripts get. Numbers that JSON cannot say, and those that are not defined, are null.

use anyhow::Result;
use fai_core::Repository;
use fai_core::object::RepoPath;
use fai_core::repo::{ChangedFile, Comparison, Group, Level, Moved, Side, TensorChanges};
use fai_core::tensor::compare::Distance;
use serde_json::{Map, Value, json};

use super::tables;

/// What is different, file by file.
pub fn document(repository: &Repository, comparison: &Comparison) -> Result<Value> {
    let two_sided =
        |files: &[ChangedFile]| -> Result<Vec<Value>> { files.iter().map(|file| changed(repository, file)).collect() };
    Ok(json!({
        "added": comparison.added.iter().map(one_sided).collect::<Vec<_>>(),
        "removed": comparison.removed.iter().map(one_sided).collect::<Vec<_>>(),
        "modified": two_sided(&comparison.modified)?,
        "renamed": two_sided(&comparison.renamed)?,
        "summary": {
            "added": comparison.added.len(), "removed": comparison.removed.len(),
            "modified": comparison.modified.len(), "renamed": comparison.renamed.len(),
            "bytes_added": comparison.bytes_added(), "bytes_removed": comparison.bytes_removed(),
            "size_change": i64::try_from(comparison.size_delta()).unwrap_or(i64::MAX),
        },
    }))
}

fn one_sided(file: &ChangedFile) -> Value {
    let present = file.new.as_ref().or(file.old.as_ref());
    json!({
        "path": file.path.as_str(),
        "id": present.and_then(|side| side.file).map(|id| id.to_string()),
        "size": present.map(|side| side.size),
    })
}

fn changed(repository: &Repository, file: &ChangedFile) -> Result<Value> {
    let table = |table: &tables::Table| json!({ "columns": table.columns, "rows": table.rows });
    let tables = tables::both(repository, file)?;
    let shared = repository.shared_bytes(file)?;
    Ok(json!({
        "path": file.path.as_str(),
        "old_path": file.old_path.as_ref().map(RepoPath::as_str),
        "old": side(&file.old),
        "new": side(&file.new),
        "shared_bytes": shared.map(|shared| shared.bytes),
        "shared_chunks": shared.map(|shared| shared.chunks),
        "table": tables.as_ref().map(|(old, new)| json!({ "old": table(old), "new": table(new) })),
        "tensors": file.tensors.as_ref().map(tensors),
    }))
}

fn side(side: &Option<Side>) -> Value {
    match side {
        Some(side) => json!({
            "id": side.file.map(|id| id.to_string()), "size": side.size, "executable": side.executable,
        }),
        None => Value::Null,
    }
}

fn tensors(tensors: &TensorChanges) -> Value {
    let groups = |level| tensors.groups(level).iter().map(group).collect::<Vec<_>>();
    json!({
        "added": tensors.added,
        "removed": tensors.removed,
        "changed": tensors.changed,
        "reshaped": tensors.reshaped.iter().map(|t| json!({ "name": t.name, "old": t.old, "new": t.new })).collect::<Vec<_>>(),
        "retyped": tensors.retyped.iter().map(|t| json!({ "name": t.name, "old": t.old, "new": t.new })).collect::<Vec<_>>(),
        "unchanged": tensors.unchanged,
        "moved": tensors.moved.iter().map(moved).collect::<Vec<_>>(),
        "groups": if tensors.measured { groups(Level::Module) } else { Vec::new() },
        "layers": if tensors.measured { groups(Level::Layer) } else { Vec::new() },
        "metadata": tensors.metadata.iter().map(|e| json!({ "key": e.key, "old": e.old, "new": e.new })).collect::<Vec<_>>(),
    })
}

fn moved(moved: &Moved) -> Value {
    let mut fields = Map::new();
    fields.insert("name".into(), moved.name.as_str().into());
    fields.insert("old_dtype".into(), moved.old_dtype.as_str().into());
    fields.insert("dtype".into(), moved.dtype.as_str().into());
    fields.insert("shape".into(), json!(moved.shape));
    fields.insert("rows".into(), moved.rows.into());
    fields.insert("unit".into(), if moved.by_value { "element" } else { "byte" }.into());
    numbers(&moved.distance, &mut fields);
    Value::Object(fields)
}

fn group(group: &Group) -> Value {
    let mut fields = Map::new();
    fields.insert("name".into(), group.name.as_str().into());
    fields.insert("tensors".into(), group.tensors.into());
    fields.insert("changed".into(), group.changed.into());
    fields.insert("recast".into(), group.recast.into());
    fields.insert("added".into(), group.added.into());
    fields.insert("removed".into(), group.removed.into());
    numbers(&group.distance, &mut fields);
    Value::Object(fields)
}

fn numbers(distance: &Distance, fields: &mut Map<String, Value>) {
    let known = distance.finite > 0;
    fields.insert("elements".into(), distance.elements.into());
    fields.insert("equal".into(), distance.equal.into());
    fields.insert("equal_share".into(), distance.equal_share().into());
    fields.insert("finite".into(), distance.finite.into());
    fields.insert("relative_l2".into(), distance.relative().into());
    fields.insert("cosine".into(), distance.cosine().into());
    fields.insert("largest".into(), known.then_some(distance.largest).into());
    fields.insert("mean".into(), distance.mean().into());
    fields.insert("old_norm".into(), distance.old_norm().into());
    fields.insert("new_norm".into(), distance.new_norm().into());
    fields.insert("difference_norm".into(), distance.norm().into());
    let both = |old: u64, new: u64| json!({ "old": old, "new": new });
    fields.insert("nan".into(), both(distance.old.nan, distance.new.nan));
    fields.insert("infinite".into(), both(distance.old.infinite, distance.new.infinite));
}
