//! Reading a stored file: at any offset, verified, with bounded memory.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::Error;
use super::store::Store;
use crate::object::{Extent, FileId, Kind, Manifest, Page};
use crate::tensor::{Cursor, ReadAt};

/// A stored file, open for reading. Shared by threads.
pub struct FileReader<'a> {
    store: &'a Store,
    id: FileId,
    manifest: Manifest,
    /// The nodes on the way to the page read last, one a level, and the chunks read last.
    recent: Mutex<Recent>,
}

/// Chunks that are held: as many threads can read at different places.
const RECENT: usize = 4;

#[derive(Default)]
struct Recent {
    pages: Vec<(u64, Arc<Page>)>,
    /// The newest at the end.
    chunks: VecDeque<(u64, Arc<Vec<u8>>)>,
}

impl<'a> FileReader<'a> {
    /// Opens a file by its id.
    ///
    /// # Errors
    /// When its manifest is missing or damaged.
    pub fn open(store: &'a Store, id: FileId) -> Result<Self, Error> {
        let manifest = store.get::<Manifest>(id)?;
        Ok(Self {
            store,
            id,
            manifest,
            recent: Mutex::default(),
        })
    }

    /// The file's id.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A sequential reader from the start.
    pub fn reader(&self) -> impl io::Read + io::Seek + '_ {
        Cursor::new(self, 0)
    }

    /// Visits every chunk in order with its offset. Pages are read as they come.
    ///
    /// # Errors
    /// When a page is missing or damaged, or the error of `visit`.
    pub fn for_each_chunk<E: From<Error>>(
        &self,
        visit: &mut impl FnMut(u64, &Extent) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut offset = 0;
        self.walk(self.manifest.level, &self.manifest.entries, &mut offset, visit)?;
        Ok(())
    }

    fn walk<E: From<Error>>(
        &self,
        level: u8,
        entries: &[Extent],
        offset: &mut u64,
        visit: &mut impl FnMut(u64, &Extent) -> Result<(), E>,
    ) -> Result<(), E> {
        for extent in entries {
            if level == 0 {
                visit(*offset, extent)?;
                *offset += extent.len;
            } else {
                let page = self.page(level - 1, extent)?;
                self.walk(page.level, &page.entries, offset, visit)?;
            }
        }
        Ok(())
    }

    /// A page that must have this level and cover exactly what its entry says.
    pub(super) fn page(&self, level: u8, extent: &Extent) -> Result<Page, Error> {
        let page: Page = self.store.get(extent.page())?;
        let covered = page
            .entries
            .iter()
            .try_fold(0u64, |sum, entry| sum.checked_add(entry.len));
        if page.level != level || covered != Some(extent.len) {
            let source = crate::object::DecodeError::Invalid {
                object: "page",
                reason: "it does not fit the manifest that names it".into(),
            };
            return Err(Error::Invalid {
                kind: Kind::Page,
                hash: extent.hash,
                source,
            });
        }
        Ok(page)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chunk that holds the byte at `at`, and its offset.
    fn chunk_at(&self, at: u64) -> Result<(u64, Arc<Vec<u8>>), Error> {
        let mut recent = self.recent();
        let holds = |(start, bytes): &&(u64, Arc<Vec<u8>>)| (*start..*start + bytes.len() as u64).contains(&at);
        if let Some((start, bytes)) = recent.chunks.iter().rev().find(holds) {
            return Ok((*start, Arc::clone(bytes)));
        }
        let (start, extent) = self.find(&mut recent, at)?;
        // Others may read other chunks meanwhile.
        drop(recent);
        let bytes = self.store.with(Kind::Chunk, &extent.hash, |bytes, _| bytes.to_vec())?;
        if bytes.len() as u64 != extent.len {
            return Err(self.beyond(at));
        }
        let bytes = Arc::new(bytes);
        let mut recent = self.recent();
        if recent.chunks.len() >= RECENT {
            recent.chunks.pop_front();
        }
        recent.chunks.push_back((start, Arc::clone(&bytes)));
        Ok((start, bytes))
    }

    /// The entry of the chunk that holds the byte at `at`, and the chunk's offset.
    pub(super) fn extent_at(&self, at: u64) -> Result<(u64, Extent), Error> {
        self.find(&mut self.recent(), at)
    }

    fn find(&self, recent: &mut Recent, at: u64) -> Result<(u64, Extent), Error> {
        let (mut start, mut extent) = find(&self.manifest.entries, 0, at).ok_or_else(|| self.beyond(at))?;
        let mut level = self.manifest.level;
        let mut depth = 0;
        while level > 0 {
            level -= 1;
            let cached = recent
                .pages
                .get(depth)
                .filter(|(offset, _)| *offset == start)
                .map(|(_, page)| Arc::clone(page));
            let page = match cached {
                Some(page) => page,
                None => {
                    let page = Arc::new(self.page(level, &extent)?);
                    recent.pages.truncate(depth);
                    recent.pages.push((start, Arc::clone(&page)));
                    page
                }
            };
            (start, extent) = find(&page.entries, start, at).ok_or_else(|| self.beyond(at))?;
            depth += 1;
        }
        Ok((start, extent))
    }

    fn beyond(&self, at: u64) -> Error {
        let reason = format!("its chunks do not cover byte {at}");
        let source = crate::object::DecodeError::Invalid {
            object: "manifest",
            reason,
        };
        Error::Invalid {
            kind: Kind::Manifest,
            hash: *crate::object::Id::hash(&self.id),
            source,
        }
    }
}

/// The entry that covers `at`, and where it starts, when the first entry starts at `start`.
fn find(entries: &[Extent], mut start: u64, at: u64) -> Option<(u64, Extent)> {
    for extent in entries {
        if at - start < extent.len {
            return Some((start, *extent));
        }
        start += extent.len;
    }
    None
}

impl ReadAt for FileReader<'_> {
    fn len(&self) -> u64 {
        self.manifest.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset
            .checked_add(buffer.len() as u64)
            .filter(|end| *end <= self.manifest.size);
        if end.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut filled = 0;
        while let Some(target) = buffer.get_mut(filled..).filter(|target| !target.is_empty()) {
            let at = offset + filled as u64;
            let (start, chunk) = self.chunk_at(at).map_err(io::Error::other)?;
            let from = chunk.get((at - start) as usize..).unwrap_or_default();
            let count = from.len().min(target.len());
            target
                .iter_mut()
                .zip(from)
                .for_each(|(target, source)| *target = *source);
            filled += count;
        }
        Ok(())
    }
}
