//! Whether ranges of two files hold the same bytes: by the ids of their chunks where these can tell, by reading only
//! where they cannot. What the ranges are is not known here.

use std::ops::Range;

use super::worktree::open_regular;
use super::{Error, FileReader, Repository, Store};
use crate::object::{FileId, Hash, Kind, Manifest, NODE_ENTRIES, RepoPath};
use crate::tensor::{FileSource, ReadAt};

/// Bytes of each file that are read and compared at a time.
const PIECE: u64 = 1 << 20;

/// The longest list of chunks that is kept in memory, some 320 MB: enough for a model of 8 TB.
const MOST_CHUNKS: u64 = 8 << 20;

/// A file that can be compared with another, range by range.
pub(super) struct Content<'a> {
    path: RepoPath,
    bytes: Box<dyn ReadAt + 'a>,
    /// Where chunks are read from, of a stored file.
    store: Option<&'a Store>,
    /// The chunks of a stored file, unless there are too many.
    chunks: Option<Chunks>,
}

/// Where the chunks of a file start, in order, and their hashes.
struct Chunks {
    starts: Vec<(u64, Hash)>,
    size: u64,
}

/// True when a file may have too many chunks to keep or to walk through for a comparison. Pages may repeat, so a few
/// stored bytes can stand for any number of chunks.
pub(super) fn too_many_chunks(manifest: &Manifest) -> bool {
    let pages = (NODE_ENTRIES as u64).saturating_pow(u32::from(manifest.level));
    (manifest.entries.len() as u64).saturating_mul(pages) > MOST_CHUNKS
}

/// A chunk's place in its file.
struct Chunk {
    start: u64,
    end: u64,
    hash: Hash,
}

impl Repository {
    /// Opens a stored file for comparing; 40 bytes of memory a chunk. `path` is for messages.
    pub(super) fn stored_content(&self, file: FileId, path: &RepoPath) -> Result<Content<'_>, Error> {
        let reader = self.open_file(file)?;
        let chunks = match too_many_chunks(reader.manifest()) {
            true => None,
            false => Some(Chunks::of(&reader)?),
        };
        Ok(Content {
            path: path.clone(),
            bytes: Box::new(reader),
            store: Some(self.store()),
            chunks,
        })
    }

    /// Opens a file of the worktree for comparing.
    pub(super) fn disk_content(&self, path: &RepoPath) -> Result<Content<'static>, Error> {
        let absolute = path.below(self.need_worktree("diff")?);
        let source = open_regular(&absolute).and_then(FileSource::new);
        Ok(Content {
            path: path.clone(),
            bytes: Box::new(source.map_err(Error::io("read", &absolute))?),
            store: None,
            chunks: None,
        })
    }
}

impl Content<'_> {
    /// The bytes themselves.
    pub(super) fn bytes(&self) -> &dyn ReadAt {
        &*self.bytes
    }

    /// True when reading takes no decoding.
    pub(super) fn is_on_disk(&self) -> bool {
        self.store.is_none()
    }

    /// A thread's own way to read, as far as the chunks are known.
    pub(super) fn window(&self) -> Window<'_> {
        Window {
            content: self,
            start: 0,
            chunk: Vec::new(),
        }
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let read = self.bytes.read_exact_at(buffer, offset);
        read.map_err(Error::io("read", self.path.as_str().as_ref()))
    }
}

/// Reads a file and keeps the chunk that was read last, so that neighbours in it cost one decoding and threads do not
/// wait for each other.
pub(super) struct Window<'c> {
    content: &'c Content<'c>,
    /// Where `chunk` starts.
    start: u64,
    chunk: Vec<u8>,
}

impl Window<'_> {
    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// When the file ends before, or a chunk cannot be read.
    pub(super) fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let (Some(store), Some(chunks)) = (self.content.store, &self.content.chunks) else {
            return self.content.read(buffer, offset);
        };
        let mut filled = 0;
        while let Some(target) = buffer.get_mut(filled..).filter(|target| !target.is_empty()) {
            let at = offset.saturating_add(filled as u64);
            if !(self.start..self.start + self.chunk.len() as u64).contains(&at) {
                let found = chunks
                    .from(at)
                    .next()
                    .filter(|chunk| (chunk.start..chunk.end).contains(&at));
                let Some(chunk) = found else {
                    let error = std::io::ErrorKind::UnexpectedEof.into();
                    return Err(Error::io("read", self.content.path.as_str().as_ref())(error));
                };
                self.chunk.clear();
                store.with(Kind::Chunk, &chunk.hash, |bytes, _| self.chunk.extend_from_slice(bytes))?;
                self.start = chunk.start;
                if self.chunk.len() as u64 != chunk.end - chunk.start {
                    self.chunk.clear();
                    let error = std::io::Error::other("a chunk has another length than its manifest says");
                    return Err(Error::io("read", self.content.path.as_str().as_ref())(error));
                }
            }
            let from = self.chunk.get((at - self.start) as usize..).unwrap_or_default();
            let count = from.len().min(target.len());
            if let (Some(target), Some(from)) = (target.get_mut(..count), from.get(..count)) {
                target.copy_from_slice(from);
            }
            filled += count;
        }
        Ok(())
    }
}

/// What can be told of the `len` bytes at `old_at` and at `new_at` without decoding anything: parts, relative to the
/// ranges, that cover them in order. Of two stored files chunk ids tell; of a stored and another one the bytes of the
/// other are read and hashed.
///
/// # Errors
/// When a range lies outside its file, or reading fails.
pub(super) fn tell(
    old: &Content<'_>,
    old_at: u64,
    new: &Content<'_>,
    new_at: u64,
    len: u64,
) -> Result<Vec<(Range<u64>, Told)>, Error> {
    ensure_inside(old, old_at, new, new_at, len)?;
    match (&old.chunks, &new.chunks) {
        (Some(old), Some(new)) => Ok(told(old, old_at, new, new_at, len).collect()),
        (Some(chunks), None) => told_by_hash(chunks, old_at, new, new_at, len),
        (None, Some(chunks)) => told_by_hash(chunks, new_at, old, old_at, len),
        (None, None) => Ok(vec![(0..len, Told::Nothing)]),
    }
}

fn told_by_hash(
    chunks: &Chunks,
    stored_at: u64,
    other: &Content<'_>,
    other_at: u64,
    len: u64,
) -> Result<Vec<(Range<u64>, Told)>, Error> {
    let (mut parts, mut buffer, mut at) = (Vec::new(), Vec::new(), 0);
    let end = stored_at.saturating_add(len);
    for chunk in chunks.from(stored_at).take_while(|chunk| chunk.start < end) {
        let stop = chunk.end.min(end).saturating_sub(stored_at).max(at);
        let told = if chunk.start >= stored_at && chunk.end <= end {
            // A chunk's length was checked when its manifest or page was decoded.
            buffer.resize((stop - at) as usize, 0);
            other.read(&mut buffer, other_at + at)?;
            match Kind::Chunk.hash(&buffer) == chunk.hash {
                true => Told::Same,
                false => Told::Different,
            }
        } else {
            Told::Nothing
        };
        parts.push((at..stop, told));
        at = stop;
    }
    parts.push((at..len, Told::Nothing));
    parts.retain(|(part, _)| !part.is_empty());
    Ok(parts)
}

fn ensure_inside(old: &Content<'_>, old_at: u64, new: &Content<'_>, new_at: u64, len: u64) -> Result<(), Error> {
    let inside = |at: u64, content: &Content<'_>| at.checked_add(len).is_some_and(|end| end <= content.bytes.len());
    if inside(old_at, old) && inside(new_at, new) {
        return Ok(());
    }
    let path = if inside(old_at, old) { &new.path } else { &old.path };
    let error = std::io::ErrorKind::UnexpectedEof.into();
    Err(Error::io("read", path.as_str().as_ref())(error))
}

impl Chunks {
    fn of(reader: &FileReader<'_>) -> Result<Self, Error> {
        let mut starts = Vec::new();
        reader.for_each_chunk(&mut |offset, extent| -> Result<(), Error> {
            starts.push((offset, extent.hash));
            Ok(())
        })?;
        let size = reader.manifest().size;
        Ok(Self { starts, size })
    }

    /// The chunks from the one that holds `offset` on.
    fn from(&self, offset: u64) -> impl Iterator<Item = Chunk> {
        let before = self.starts.partition_point(|(start, _)| *start <= offset);
        let rest = self.starts.get(before.saturating_sub(1)..).unwrap_or_default();
        let ends = rest.iter().skip(1).map(|(start, _)| *start).chain([self.size]);
        rest.iter().zip(ends).map(|((start, hash), end)| Chunk {
            start: *start,
            end,
            hash: *hash,
        })
    }
}

/// True when the `len` bytes at `old_at` and at `new_at` are the same. Reading stops at the first difference.
///
/// # Errors
/// When a range lies outside its file, or reading fails.
pub(super) fn same(old: &Content<'_>, old_at: u64, new: &Content<'_>, new_at: u64, len: u64) -> Result<bool, Error> {
    ensure_inside(old, old_at, new, new_at, len)?;
    match (&old.chunks, &new.chunks) {
        (Some(old_chunks), Some(new_chunks)) => {
            let Some(doubtful) = doubtful(old_chunks, old_at, new_chunks, new_at, len) else {
                return Ok(false);
            };
            for span in doubtful {
                let (from, count) = (span.start, span.end - span.start);
                if !same_when_read(old, old_at + from, new, new_at + from, count)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Some(chunks), None) => same_as_stored(chunks, old, old_at, new, new_at, len),
        (None, Some(chunks)) => same_as_stored(chunks, new, new_at, old, old_at, len),
        (None, None) => same_when_read(old, old_at, new, new_at, len),
    }
}

/// What chunk ids tell of a part of two ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The bytes are the same.
    Same,
    /// They are not, somewhere in the part.
    Different,
    /// Only reading tells.
    Nothing,
}

/// What chunk ids tell of the `len` bytes at `old_at` and at `new_at`: parts, relative to the ranges, that cover them
/// in order.
fn told(old: &Chunks, old_at: u64, new: &Chunks, new_at: u64, len: u64) -> impl Iterator<Item = (Range<u64>, Told)> {
    let (mut ones, mut others) = (old.from(old_at).peekable(), new.from(new_at).peekable());
    let mut at = 0;
    std::iter::from_fn(move || {
        // A chunk that ends before the range, as only a wrong size makes one, is no part.
        while at < len {
            let (Some(one), Some(other)) = (ones.peek(), others.peek()) else {
                // The ranges lie inside the files and chunks cover files: only a wrong size leads here.
                let rest = at..len;
                at = len;
                return Some((rest, Told::Nothing));
            };
            let (one_end, other_end) = (one.end.saturating_sub(old_at), other.end.saturating_sub(new_at));
            let end = one_end.min(other_end).min(len);
            // Two chunks that start at one place of the range, before it included, are the same there when their ids are.
            let aligned = one.start.wrapping_sub(old_at) == other.start.wrapping_sub(new_at);
            let whole = aligned && one_end == other_end && one_end <= len && one.start >= old_at;
            let told = match aligned && one.hash == other.hash {
                true => Told::Same,
                false if whole => Told::Different,
                false => Told::Nothing,
            };
            let part = at..end;
            at = end.max(at);
            if one_end <= at {
                ones.next();
            }
            if other_end <= at {
                others.next();
            }
            if !part.is_empty() {
                return Some((part, told));
            }
        }
        None
    })
}

/// The parts, relative to the ranges, of which chunk ids do not tell whether they are the same; `None` when they tell
/// that some part is not.
fn doubtful(old: &Chunks, old_at: u64, new: &Chunks, new_at: u64, len: u64) -> Option<Vec<Range<u64>>> {
    let mut doubtful: Vec<Range<u64>> = Vec::new();
    for (part, told) in told(old, old_at, new, new_at, len) {
        match (told, doubtful.last_mut()) {
            (Told::Same, _) => {}
            (Told::Different, _) => return None,
            (Told::Nothing, Some(last)) if last.end == part.start => last.end = part.end,
            (Told::Nothing, _) => doubtful.push(part),
        }
    }
    Some(doubtful)
}

/// Compares a range of a stored file with one whose chunks are not known. Whole chunks of the range are compared by
/// hash, so that only the other file is read for them.
fn same_as_stored(
    chunks: &Chunks,
    stored: &Content<'_>,
    stored_at: u64,
    other: &Content<'_>,
    other_at: u64,
    len: u64,
) -> Result<bool, Error> {
    let mut buffer = Vec::new();
    let stored_end = stored_at + len;
    let mut at = stored_at;
    for chunk in chunks.from(stored_at).take_while(|chunk| chunk.start < stored_end) {
        let end = chunk.end.min(stored_end);
        let beside = other_at + (at - stored_at);
        let same = if chunk.start >= stored_at && chunk.end <= stored_end {
            // A chunk's length was checked when its manifest or page was decoded.
            buffer.resize((end - at) as usize, 0);
            other.read(&mut buffer, beside)?;
            Kind::Chunk.hash(&buffer) == chunk.hash
        } else {
            same_when_read(stored, at, other, beside, end.saturating_sub(at))?
        };
        if !same {
            return Ok(false);
        }
        at = end.max(at);
    }
    same_when_read(stored, at, other, other_at + (at - stored_at), stored_end - at)
}

fn same_when_read(old: &Content<'_>, old_at: u64, new: &Content<'_>, new_at: u64, len: u64) -> Result<bool, Error> {
    let piece = len.min(PIECE) as usize;
    let (mut one, mut other) = (vec![0; piece], vec![0; piece]);
    let mut done = 0;
    while done < len {
        let count = (len - done).min(PIECE) as usize;
        one.truncate(count);
        other.truncate(count);
        old.read(&mut one, old_at + done)?;
        new.read(&mut other, new_at + done)?;
        if one != other {
            return Ok(false);
        }
        done += count as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file with the given bytes whose chunks end at `cuts` and at its end.
    fn content(bytes: &[u8], cuts: Option<&[usize]>) -> Content<'static> {
        let chunks = cuts.map(|cuts| {
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % bytes.len()).chain([bytes.len()]).collect();
            ends.sort_unstable();
            ends.dedup();
            let mut start = 0;
            let mut starts = Vec::new();
            for end in ends.into_iter().filter(|end| *end > 0) {
                starts.push((start as u64, Kind::Chunk.hash(&bytes[start..end])));
                start = end;
            }
            let size = bytes.len() as u64;
            Chunks { starts, size }
        });
        Content {
            path: RepoPath::root(),
            bytes: Box::new(bytes.to_vec()),
            store: None,
            chunks,
        }
    }

    fn cuts() -> impl Strategy<Value = Option<Vec<usize>>> {
        prop::option::of(prop::collection::vec(0usize..200, 0..12))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn chunk_ids_and_bytes_agree(
            // Few values, so that equal chunks turn up at other places too.
            inner in prop::collection::vec(0u8..2, 0..80),
            heads in (prop::collection::vec(0u8..2, 1..60), prop::collection::vec(0u8..2, 1..60)),
            tail in prop::collection::vec(0u8..2, 0..60),
            flip in prop::option::of(0usize..80),
            cuts in (cuts(), cuts(), any::<bool>()),
        ) {
            let mut changed = inner.clone();
            if let Some(byte) = flip.and_then(|at| changed.get_mut(at)) {
                *byte ^= 1;
            }
            let same_head = if cuts.2 { &heads.0 } else { &heads.1 };
            let old = [&heads.0[..], &inner, &tail].concat();
            let new = [&same_head[..], &changed, &tail].concat();
            let new_cuts = if cuts.2 { cuts.0.clone() } else { cuts.1 };
            let (one, other) = (content(&old, cuts.0.as_deref()), content(&new, new_cuts.as_deref()));
            let (old_at, new_at) = (heads.0.len() as u64, same_head.len() as u64);
            let found = same(&one, old_at, &other, new_at, inner.len() as u64);
            prop_assert_eq!(found.unwrap(), inner == changed);
        }
    }

    #[test]
    fn ranges_outside_a_file_are_errors() {
        let (short, long) = (content(b"short", Some(&[2])), content(b"longer than that", None));
        for (at, len) in [(0, 6), (5, 1), (6, 0), (1, u64::MAX), (u64::MAX, 1)] {
            assert!(same(&short, at, &long, 0, len).is_err(), "{at} {len}");
            assert!(same(&long, 0, &short, at, len).is_err(), "{at} {len}");
        }
        assert!(same(&short, 5, &long, 16, 0).unwrap());
    }

    #[test]
    fn pages_that_may_stand_for_too_much_are_told() {
        let entry = crate::object::Extent {
            hash: Kind::Page.hash(b"page"),
            len: 1,
        };
        let manifest = |level, count| Manifest {
            size: count as u64,
            content: crate::object::ContentHash::from_hash(Kind::Chunk.hash(b"content")),
            level,
            entries: vec![entry; count],
        };
        assert!(!too_many_chunks(&manifest(0, NODE_ENTRIES)));
        assert!(!too_many_chunks(&manifest(1, 1024)));
        assert!(too_many_chunks(&manifest(1, 1025)));
        assert!(too_many_chunks(&manifest(3, 2)));
    }
}
