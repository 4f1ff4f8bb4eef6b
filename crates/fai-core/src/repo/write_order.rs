//! In which order files are written to disk: those that are likely to stand on each other side by side, so that a chunk is
//! decoded once for all that stand on it. Writing itself is in `materialize`.

use super::content::FileReader;
use super::materialize::Target;
use super::{Error, Store};
use crate::object::Kind;

/// Most files that are written side by side, each open for as long.
const SIDE_BY_SIDE: usize = 8;

/// Files whose sizes differ by no more than this part may be versions of one model.
const ALIKE: u64 = 16;

/// Puts the targets with these numbers into groups that are written one after the other, and each group side by side.
/// What cannot be read is left to whoever writes it to report.
pub(super) fn groups(store: &Store, targets: &[Target], long: &[usize]) -> Vec<Vec<usize>> {
    let size = |number: &usize| targets.get(*number).map_or(0, |target| target.entry.size);
    let mut sorted = long.to_vec();
    sorted.sort_by_key(|number| (size(number), *number));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for number in sorted {
        let fits = groups.last().filter(|group| {
            let first = group.first().map_or(0, size);
            group.len() < SIDE_BY_SIDE && size(&number) - first <= first / ALIKE
        });
        match (fits.is_some(), groups.last_mut()) {
            (true, Some(group)) => group.push(number),
            _ => groups.push(vec![number]),
        }
    }
    let mut ordered = Vec::new();
    for mut group in groups {
        group.sort_unstable();
        match group.len() > 1 && has_deltas(store, targets, &group) {
            true => ordered.push(group),
            // Side by side they would only scatter over the disk.
            false => ordered.extend(group.into_iter().map(|number| vec![number])),
        }
    }
    ordered.sort_unstable();
    ordered
}

/// True when the chunk in the middle of one of the files is a delta.
fn has_deltas(store: &Store, targets: &[Target], group: &[usize]) -> bool {
    let is_delta = |target: &Target| -> Result<bool, Error> {
        let (_, extent) = FileReader::open(store, target.entry.file)?.extent_at(target.entry.size / 2)?;
        Ok(store.locate(Kind::Chunk, &extent.hash)?.header.base.is_some())
    };
    let mut files = group.iter().filter_map(|number| targets.get(*number));
    files.any(|target| is_delta(target).unwrap_or(false))
}
