//! Which tensors of two versions belong together, by name, and what their tables tell of them. Their values are not
//! looked at here.

use std::collections::HashMap;

use super::measure::Pair;
use super::{Model, Reshaped, Retyped, TensorChanges};
use crate::database::TensorRecord;
use crate::tensor::{Numbers, Plain, element_count};

/// A tensor in the old and in the new version.
pub(super) type Both<'a> = (&'a TensorRecord, &'a TensorRecord);

/// What tables alone tell, and the tensors that are in both versions in the order of the new table.
pub(super) fn by_name<'a>(old: &'a [TensorRecord], new: &'a [TensorRecord]) -> (TensorChanges, Vec<Both<'a>>) {
    let mut changes = TensorChanges::default();
    let mut both = Vec::new();
    let mut unmatched: HashMap<&str, &TensorRecord> = old.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    for tensor in new {
        let Some(before) = unmatched.remove(tensor.name.as_str()) else {
            changes.added.push(tensor.name.clone());
            continue;
        };
        if before.shape != tensor.shape {
            changes.reshaped.push(Reshaped {
                name: tensor.name.clone(),
                old: dimensions(before),
                new: dimensions(tensor),
            });
        }
        if before.dtype != tensor.dtype {
            changes.retyped.push(Retyped {
                name: tensor.name.clone(),
                old: before.dtype.clone(),
                new: tensor.dtype.clone(),
            });
        }
        both.push((before, tensor));
    }
    let removed = old.iter().filter(|tensor| unmatched.contains_key(tensor.name.as_str()));
    changes.removed = removed.map(|tensor| tensor.name.clone()).collect();
    (changes, both)
}

/// True when both are of one shape and one dtype, so that their bytes tell whether they are the same.
pub(super) fn are_alike((old, new): &Both<'_>) -> bool {
    old.shape == new.shape && old.dtype == new.dtype
}

/// The dimensions of a tensor.
pub(super) fn dimensions(tensor: &TensorRecord) -> Vec<u64> {
    serde_json::from_str(&tensor.shape).unwrap_or_default()
}

/// What of two tensors is compared.
pub(super) struct Comparable {
    /// The values.
    pub pair: Pair,
    /// Of tensors that have more or fewer rows than before: how many both have.
    pub rows: Option<u64>,
}

/// What of two tensors can be compared value by value. `None` when shapes have nothing in common, a packed dtype became
/// another, or elements do not lie in their order.
pub(super) fn comparable((old, new): &Both<'_>, old_model: &Model<'_>, new_model: &Model<'_>) -> Option<Comparable> {
    if old_model.strided.contains(&old.name) || new_model.strided.contains(&new.name) {
        return None;
    }
    let (old_shape, new_shape) = (dimensions(old), dimensions(new));
    let rows = match old_shape == new_shape {
        true => None,
        false => Some(common_rows(&old_shape, &new_shape)?),
    };
    let shape: Vec<u64> = match rows {
        Some(rows) => std::iter::once(rows)
            .chain(new_shape.get(1..)?.iter().copied())
            .collect(),
        None => new_shape,
    };
    let alike = old.dtype == new.dtype;
    let numbers = |tensor: &TensorRecord| Plain::named(&tensor.dtype).map(Numbers::of);
    let (old_len, new_len) = (old.end.checked_sub(old.start)?, new.end.checked_sub(new.start)?);
    let pair = match (numbers(old), numbers(new)) {
        (Some(one), Some(other)) if one.per_element() == other.per_element() => {
            let count = element_count(&shape)?.checked_mul(one.per_element())?;
            // Tables were checked against their files; the database was not.
            let fits =
                |numbers: Numbers, len: u64| count.checked_mul(numbers.width() as u64).is_some_and(|all| all <= len);
            (fits(one, old_len) && fits(other, new_len)).then_some((Some(one), Some(other), count))?
        }
        (None, None) if alike && rows.is_none() && old_len == new_len => (None, None, new_len),
        _ => return None,
    };
    Some(Comparable {
        pair: Pair {
            old_at: old.start,
            new_at: new.start,
            old: pair.0,
            new: pair.1,
            count: pair.2,
            alike,
        },
        rows,
    })
}

/// How many rows both have, when only the number of rows differs.
fn common_rows(old: &[u64], new: &[u64]) -> Option<u64> {
    let (old_rows, old_row) = old.split_first()?;
    let (new_rows, new_row) = new.split_first()?;
    let rows = *old_rows.min(new_rows);
    (old_row == new_row && rows > 0).then_some(rows)
}
