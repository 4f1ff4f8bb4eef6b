//! Better bases for what is stored: families of files with the same tensors, what each takes against the others as far
//! as samples tell, and from that which chunk should be encoded against which. Encoding is not here.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::arrange::{Costs, Place, arrange};
use super::offer::{FileBases, Offer};
use super::trial::{Sample, samples};
use super::{LARGEST, Wanted, wanted};
use crate::codec::{Base, DeltaHead, Encoder};
use crate::object::{FileId, Hash};
use crate::repo::content::FileReader;
use crate::repo::describe::describe_layout;
use crate::repo::{Error, Repository};
use crate::storage::BaseHint;
use crate::tensor::{Element, detect};

/// Files of a family that are tried as bases of all others. In a larger family they are chosen by `PROBES` files.
const CANDIDATES: usize = 16;
const PROBES: usize = 3;

/// Files that are looked at together: their samples are held in memory, half a MiB for each.
const TOGETHER: usize = 256;

/// Encoding a family anew must save this part of what its samples take: one thirty-second.
const SAVES: u64 = 32;

/// For shorter chains it may take more, this part: one twentieth.
const COST: u64 = 20;

/// A single file is encoded anew when its samples take this part less: one twentieth.
const FILE_SAVES: u64 = 20;

/// How chunks should be encoded that now are encoded otherwise.
#[derive(Debug, Default)]
pub(in crate::repo) struct Rebase {
    /// Those that should stand alone, as others should stand on them.
    pub alone: HashSet<Hash>,
    /// Those that should stand on another one: their element, and the base.
    pub on: HashMap<Hash, (Element, BaseHint)>,
}

/// A file of a family.
struct Member<'a> {
    file: FileId,
    wanted: Vec<Wanted>,
    samples: Vec<Taken>,
    offer: Option<Offer<'a>>,
}

/// A sample, and how the chunk that it lies in is stored.
struct Taken {
    sample: Sample,
    chunk: Hash,
    /// Bytes of the chunk before the sample.
    into: u64,
    /// What the sample takes as the chunk is encoded now.
    now: u64,
    /// Deltas below the chunk.
    depth: u64,
}

/// What the samples of one file take against another: bytes, how many of them are deltas then, and how many the same.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    bytes: u64,
    deltas: u64,
    same: u64,
}

impl Cell {
    /// Deltas that decoding all samples takes when the base is `depth - 1` deep.
    fn links(&self, depth: usize) -> u64 {
        self.deltas * depth as u64 + self.same * (depth as u64).saturating_sub(1)
    }
}

impl Repository {
    /// Finds chunks that are far better encoded against another base, or whose chains could be shorter at little cost.
    /// Reads a few chunks of every file with tensors. What is damaged or missing is left out.
    pub(in crate::repo) fn find_better_bases(&self) -> Result<Rebase, Error> {
        let mut rebase = Rebase::default();
        for family in self.families()? {
            for files in family.chunks(TOGETHER) {
                Family::measure(self, files)?.improve(&mut rebase)?;
            }
        }
        Ok(rebase)
    }

    /// Files that share names, dtypes and rows of their largest tensors, directly or over others.
    fn families(&self) -> Result<Vec<Vec<FileId>>, Error> {
        let files = self.database().files_with_tensors()?;
        let mut group: Vec<usize> = (0..files.len()).collect();
        let mut first: HashMap<String, usize> = HashMap::new();
        for (number, file) in files.iter().enumerate() {
            let mut tensors = self.database().tensors(*file)?;
            tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.end.saturating_sub(tensor.start)));
            for tensor in tensors.iter().take(LARGEST) {
                // What was widened may stand on what it was made from.
                let dtype = if tensor.dtype == "bf16" { "f32" } else { &tensor.dtype };
                let key = format!("{dtype} {} {}", tensor.row(), tensor.name);
                let other = *first.entry(key).or_insert(number);
                let (mine, theirs) = (head(&group, number), head(&group, other));
                if let Some(group) = group.get_mut(mine.max(theirs)) {
                    *group = mine.min(theirs);
                }
            }
        }
        let mut families: BTreeMap<usize, Vec<FileId>> = BTreeMap::new();
        for (number, file) in files.into_iter().enumerate() {
            families.entry(head(&group, number)).or_default().push(file);
        }
        Ok(families.into_values().filter(|family| family.len() > 1).collect())
    }
}

/// The first file of a group.
fn head(group: &[usize], mut file: usize) -> usize {
    while let Some(above) = group.get(file).filter(|above| **above != file) {
        file = *above;
    }
    file
}

/// A family with what its files take against each other.
struct Family<'a> {
    repository: &'a Repository,
    members: Vec<Member<'a>>,
    alone: Vec<u64>,
    /// `cells[file][base]`.
    cells: Vec<Vec<Option<Cell>>>,
}

impl<'a> Family<'a> {
    fn measure(repository: &'a Repository, files: &[FileId]) -> Result<Self, Error> {
        let mut encoder = Encoder::new()?;
        let mut family = Self {
            repository,
            members: files.iter().filter_map(|file| member(repository, *file)).collect(),
            alone: Vec::new(),
            cells: Vec::new(),
        };
        let mut payload = Vec::new();
        for member in &mut family.members {
            let mut alone = 0;
            for taken in &mut member.samples {
                let Sample { element, bytes, .. } = &taken.sample;
                encoder.encode(bytes, *element, &mut payload);
                alone += payload.len() as u64;
                taken.now = payload.len() as u64;
                present(repository, &mut encoder, taken, &mut payload)?;
            }
            family.alone.push(alone);
        }
        let count = family.members.len();
        family.cells = vec![vec![None; count]; count];
        let all: Vec<usize> = (0..count).collect();
        let mut bases = all.clone();
        if count > CANDIDATES {
            let probes = all.get(..PROBES).unwrap_or_default();
            let mut sums = Vec::new();
            for base in all.iter().copied() {
                family.try_base(&mut encoder, base, probes)?;
                sums.push(probes.iter().map(|probe| family.cost(*probe, base)).sum::<u64>());
            }
            bases.sort_by_key(|base| sums.get(*base).copied());
            bases.truncate(CANDIDATES);
        }
        for base in bases {
            family.try_base(&mut encoder, base, &all)?;
        }
        Ok(family)
    }

    /// What a file takes against another, or alone.
    fn cost(&self, file: usize, base: usize) -> u64 {
        let alone = self.alone.get(file).copied().unwrap_or(0);
        self.cell(file, base).map_or(alone, |cell| cell.bytes)
    }

    fn cell(&self, file: usize, base: usize) -> Option<Cell> {
        self.cells.get(file)?.get(base).copied().flatten()
    }

    /// Encodes the samples of `files` against one other.
    fn try_base(&mut self, encoder: &mut Encoder, base: usize, files: &[usize]) -> Result<(), Error> {
        let Some(mut offer) = self.members.get_mut(base).and_then(|member| member.offer.take()) else {
            return Ok(());
        };
        let store = self.repository.store();
        let mut chunks = HashMap::new();
        let mut payload = Vec::new();
        for file in files.iter().filter(|file| **file != base) {
            let Some(member) = self.members.get(*file) else {
                continue;
            };
            let bases = bases_in(offer, &member.wanted);
            let mut cell = Cell::default();
            for Taken {
                sample, chunk, into, ..
            } in &member.samples
            {
                let Sample { offset, element, bytes } = sample;
                let hint = bases.hint(self.repository, *offset, bytes.len(), *element);
                if let Some(hint) = hint
                    && hint.chunk == *chunk
                    && u64::from(hint.first) * hint.element.width() as u64 == *into
                {
                    cell.same += 1;
                    continue;
                }
                let raw = hint.and_then(|hint| {
                    let chunk: &Option<Vec<u8>> = chunks.entry(hint.chunk).or_insert_with(|| store.chunk(&hint.chunk));
                    Some((hint, chunk.as_deref()?))
                });
                match raw {
                    Some((BaseHint { element: of, first, .. }, raw)) => {
                        let base = Base {
                            bytes: raw,
                            element: of,
                            first,
                        };
                        let codec = encoder.encode_against(bytes, *element, base, &mut payload);
                        cell.deltas += u64::from(codec == crate::codec::Codec::Delta);
                    }
                    None => {
                        encoder.encode(bytes, *element, &mut payload);
                    }
                }
                cell.bytes += payload.len() as u64;
            }
            if let Some(place) = self.cells.get_mut(*file).and_then(|row| row.get_mut(base)) {
                *place = Some(cell);
            }
            match bases.into_offers().pop() {
                Some(back) => offer = back,
                None => return Ok(()),
            }
        }
        if let Some(member) = self.members.get_mut(base) {
            member.offer = Some(offer);
        }
        Ok(())
    }

    /// Adds to `rebase` what is worth it: the whole family as it is best arranged, or else single files of it.
    fn improve(&self, rebase: &mut Rebase) -> Result<(), Error> {
        let bytes = |row: &Vec<Option<Cell>>| row.iter().map(|cell| cell.map(|cell| cell.bytes)).collect();
        let costs = Costs {
            alone: self.alone.clone(),
            against: self.cells.iter().map(bytes).collect(),
        };
        let places = arrange(&costs);
        let (now, depth) = self.present_sums();
        let cost = |place: &Place| match place.base {
            Some(base) => self.cost(place.file, base),
            None => self.alone.get(place.file).copied().unwrap_or(0),
        };
        let links = |place: &Place| {
            let cell = place.base.and_then(|base| self.cell(place.file, base));
            cell.map_or(0, |cell| cell.links(place.depth))
        };
        let planned: u64 = places.iter().map(cost).sum();
        let smaller = planned < now - now / SAVES;
        let flatter = places.iter().map(links).sum::<u64>() < depth && planned <= now + now / COST;
        let mut seen = HashSet::new();
        if smaller || flatter {
            for place in &places {
                self.take(place, &mut seen, rebase)?;
            }
            self.let_stand_alone(&places, rebase)?;
        } else {
            for place in places.iter().filter(|place| self.gains(place, cost(place))) {
                self.take(place, &mut seen, rebase)?;
            }
        }
        Ok(())
    }

    /// What the samples take now, each chunk once, and the deltas that decoding all of them takes.
    fn present_sums(&self) -> (u64, u64) {
        let (mut now, mut depth, mut seen) = (0, 0, HashSet::new());
        for taken in self.members.iter().flat_map(|member| &member.samples) {
            depth += taken.depth;
            if seen.insert((taken.chunk, taken.into)) {
                now += taken.now;
            }
        }
        (now, depth)
    }

    /// True when a file alone is much better off with its new base, and that one does not stand on it.
    fn gains(&self, place: &Place, cost: u64) -> bool {
        let (Some(member), Some(base)) = (self.members.get(place.file), place.base) else {
            return false;
        };
        let now: u64 = member.samples.iter().map(|taken| taken.now).sum();
        if cost >= now - now / FILE_SAVES {
            return false;
        }
        let Some(of_base) = self.members.get(base) else {
            return false;
        };
        let Some(offer) = Offer::open(self.repository, of_base.file) else {
            return false;
        };
        let bases = bases_in(offer, &member.wanted);
        member.samples.iter().all(|Taken { sample, chunk, .. }| {
            let hint = bases.stored_hint(self.repository, sample.offset, sample.bytes.len());
            let chain = hint.and_then(|(_, hint)| self.repository.store().chain_of(&hint.chunk));
            chain.is_none_or(|chain| chain.first() == Some(chunk) || !chain.contains(chunk))
        })
    }

    /// The chunks of a file, on those of its base. Those that a file before has, too, have their place.
    fn take(&self, place: &Place, seen: &mut HashSet<Hash>, rebase: &mut Rebase) -> Result<(), Error> {
        let Some(member) = self.members.get(place.file) else {
            return Ok(());
        };
        let bases = place
            .base
            .and_then(|base| Offer::open(self.repository, self.members.get(base)?.file))
            .map(|offer| bases_in(offer, &member.wanted))
            .unwrap_or_default();
        let reader = self.repository.open_file(member.file)?;
        let read = reader.for_each_chunk(&mut |offset, extent| {
            if !seen.insert(extent.hash) {
                return Ok(());
            }
            let len = usize::try_from(extent.len).unwrap_or(usize::MAX);
            let hint = bases.stored_hint(self.repository, offset, len);
            if let Some((element, hint)) = hint.filter(|(_, hint)| hint.chunk != extent.hash) {
                let located = self.repository.database().locate(&extent.hash)?;
                if located.is_some_and(|located| located.header.base != Some(hint.chunk)) {
                    rebase.on.insert(extent.hash, (element, hint));
                }
            }
            Ok::<_, Error>(())
        });
        read.or_else(harmless)
    }

    /// Chunks of files that should stand alone and that others should stand on.
    fn let_stand_alone(&self, places: &[Place], rebase: &mut Rebase) -> Result<(), Error> {
        let needed: HashSet<Hash> = rebase.on.values().map(|(_, hint)| hint.chunk).collect();
        for place in places.iter().filter(|place| place.base.is_none()) {
            let Some(member) = self.members.get(place.file) else {
                continue;
            };
            let reader = self.repository.open_file(member.file)?;
            let read = reader.for_each_chunk(&mut |_, extent| {
                if needed.contains(&extent.hash) && !rebase.on.contains_key(&extent.hash) {
                    let located = self.repository.database().locate(&extent.hash)?;
                    if located.is_some_and(|located| located.header.base.is_some()) {
                        rebase.alone.insert(extent.hash);
                    }
                }
                Ok::<_, Error>(())
            });
            read.or_else(harmless)?;
        }
        Ok(())
    }
}

/// Errors of damaged objects are for `fsck` to report.
fn harmless(error: Error) -> Result<(), Error> {
    match error {
        Error::Database(error) => Err(error.into()),
        error => {
            tracing::warn!(%error, "a file keeps its encoding");
            Ok(())
        }
    }
}

/// The tensors that `offer` has for `wanted`.
fn bases_in<'a>(offer: Offer<'a>, wanted: &[Wanted]) -> FileBases<'a> {
    let mut bases = FileBases::new(vec![offer]);
    for wanted in wanted {
        bases.take(wanted);
    }
    bases
}

/// A file with samples of its tensors. `None` when it cannot be read or has no tensors of weights.
fn member(repository: &Repository, file: FileId) -> Option<Member<'_>> {
    let reader = repository.open_file(file).ok()?;
    let layout = detect(&reader).ok()??;
    let regions = layout.regions();
    let wanted = wanted(&regions, &describe_layout(Ok(Some(layout))).tensors);
    // Where there is little to choose from, one place may be chosen more than once.
    let mut seen = HashSet::new();
    let samples: Vec<Taken> = samples(&wanted, &reader)
        .into_iter()
        .filter_map(|sample| taken(&reader, sample))
        .filter(|taken| seen.insert((taken.chunk, taken.into)))
        .collect();
    if samples.is_empty() {
        return None;
    }
    Some(Member {
        file,
        wanted,
        samples,
        offer: Some(Offer::open(repository, file)?),
    })
}

fn taken(reader: &FileReader<'_>, sample: Sample) -> Option<Taken> {
    let (start, extent) = reader.extent_at(sample.offset).ok()?;
    Some(Taken {
        into: sample.offset - start,
        chunk: extent.hash,
        now: 0,
        depth: 0,
        sample,
    })
}

/// Finds out what a sample takes now, and how deep its chunk lies.
fn present(
    repository: &Repository,
    encoder: &mut Encoder,
    taken: &mut Taken,
    payload: &mut Vec<u8>,
) -> Result<(), Error> {
    let store = repository.store();
    let mut record = Vec::new();
    let Some(header) = store.record(&taken.chunk, &mut record)? else {
        return Ok(());
    };
    let head = record.get(header.header_len()..).and_then(DeltaHead::read);
    let (Some(base), Some(head)) = (header.base, head) else {
        return Ok(());
    };
    taken.depth = store.depth(&taken.chunk)?.unwrap_or(0) as u64;
    let behind = taken.into / head.element.width().max(1) as u64;
    let first = u32::try_from(u64::from(head.first) + behind);
    if let (Some(bytes), Ok(first)) = (store.chunk(&base), first) {
        let base = Base {
            bytes: &bytes,
            element: head.base_element,
            first,
        };
        encoder.encode_against(&taken.sample.bytes, head.element, base, payload);
        taken.now = payload.len() as u64;
    }
    Ok(())
}
