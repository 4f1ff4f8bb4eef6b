//! Positioned reading, so that parsers never load a file and never depend on where it comes from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A source of bytes of known length that can be read at any offset from several threads.
pub trait ReadAt: Send + Sync {
    /// Total length in bytes, as it was when the source was opened.
    fn len(&self) -> u64;

    /// Fills `buffer` from `offset`; an error of kind `UnexpectedEof` when the source ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// True when there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A file with the length it had when it was opened.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    len: u64,
}

impl FileSource {
    /// Wraps an open file.
    ///
    /// # Errors
    /// When the file's length cannot be read.
    pub fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len })
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
