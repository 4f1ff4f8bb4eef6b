//! Positioned reading, so that parsers never load a file and never depend on where it comes from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::holes::{may_have_holes, stretch};

/// A source of bytes of known length that can be read at any offset from several threads.
pub trait ReadAt: Send + Sync {
    /// Total length in bytes, as it was when the source was opened.
    fn len(&self) -> u64;

    /// Fills `buffer` from `offset`; an error of kind `UnexpectedEof` when the source ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// What begins at `offset`. It takes a moment to find out: worth asking once a stretch.
    fn stretch(&self, _offset: u64) -> Stretch {
        Stretch {
            end: self.len(),
            hole: false,
        }
    }

    /// True when there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bytes of a source that are all of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Where it ends, at the source's end at the latest. Not behind its start when the source became shorter.
    pub end: u64,
    /// True when all of them are zeros and need not be read; false when only reading tells.
    pub hole: bool,
}

/// A file with the length it had when it was opened.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    len: u64,
    may_have_holes: bool,
}

impl FileSource {
    /// Wraps an open file.
    ///
    /// # Errors
    /// When the file's length cannot be read.
    pub fn new(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let may_have_holes = may_have_holes(&file, &metadata);
        Ok(Self {
            file,
            len: metadata.len(),
            may_have_holes,
        })
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl ReadAt for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn stretch(&self, offset: u64) -> Stretch {
        let known = match self.may_have_holes && offset < self.len {
            true => stretch(&self.file, offset, self.len),
            false => None,
        };
        known.unwrap_or(Stretch {
            end: self.len,
            hole: false,
        })
    }
}

impl ReadAt for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let source = start.checked_add(buffer.len()).and_then(|end| self.get(start..end));
        buffer.copy_from_slice(source.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buffer, offset)
    }
}

/// `std::io::Read + Seek` over a [`ReadAt`], for parsers that walk a file with a `BufReader`.
pub struct Cursor<'a> {
    source: &'a dyn ReadAt,
    position: u64,
}

impl<'a> Cursor<'a> {
    /// Starts at `position`.
    pub fn new(source: &'a dyn ReadAt, position: u64) -> Self {
        Self { source, position }
    }
}

impl io::Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.len().saturating_sub(self.position);
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(target) = buffer.get_mut(..count) else {
            return Ok(0);
        };
        self.source.read_exact_at(target, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl io::Seek for Cursor<'_> {
    fn seek(&mut self, target: io::SeekFrom) -> io::Result<u64> {
        let position = match target {
            io::SeekFrom::Start(offset) => Some(offset),
            io::SeekFrom::End(delta) => self.source.len().checked_add_signed(delta),
            io::SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretches(source: &FileSource) -> Vec<(u64, u64, bool)> {
        let (mut at, mut found) = (0, Vec::new());
        while at < source.len() {
            let Stretch { end, hole } = source.stretch(at);
            assert!(end > at, "{found:?}");
            found.push((at, end, hole));
            at = end;
        }
        found
    }

    /// A file of 5 GiB, all hole but for 1 MiB at 3 GiB.
    fn sparse() -> FileSource {
        let file = tempfile::tempfile().unwrap();
        file.set_len(5 << 30).unwrap();
        file.write_all_at(&[7; 1 << 20], 3 << 30).unwrap();
        FileSource::new(file).unwrap()
    }

    #[test]
    fn stretches_cover_the_file_and_holes_are_zeros() {
        let source = sparse();
        let found = stretches(&source);
        assert_eq!(found.last().map(|(_, end, _)| *end), Some(5 << 30));
        let data = |at: u64| ((3 << 30)..(3 << 30) + (1 << 20)).contains(&at);
        for (start, end, hole) in found {
            let (mut first, mut last) = ([1], [1]);
            source.read_exact_at(&mut first, start).unwrap();
            source.read_exact_at(&mut last, end - 1).unwrap();
            assert!(!hole || (first, last) == ([0], [0]));
            assert!(!hole || !(data(start) || data(end - 1)));
        }
    }

    #[test]
    fn a_dense_file_is_one_stretch() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[0; 300_000], 0).unwrap();
        assert_eq!(stretches(&FileSource::new(file).unwrap()), [(0, 300_000, false)]);
    }

    #[test]
    fn a_file_that_became_shorter_has_no_hole_behind_its_end() {
        let source = sparse();
        source.file().set_len(1 << 20).unwrap();
        assert!(!source.stretch(1 << 20).hole);
        assert!(source.stretch(0).end <= 1 << 20);
        let error = source.read_exact_at(&mut [0], 1 << 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
