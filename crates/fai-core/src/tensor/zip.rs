//! Where the members of a ZIP archive lie: the central directory, checked. Nothing is ever decompressed, and
//! what the members mean is not here.

use super::{Format, LayoutError, MAX_HEADER, MAX_TENSORS, ReadAt};
use rawzip::{CompressionMethod, Error, ErrorKind, RECOMMENDED_BUFFER_SIZE, ReaderAt, ZipLocator};
use std::collections::HashSet;
use std::io;
use std::ops::Range;

/// The longest member name that is read. Archives of tensors use a path of a few dozen bytes.
const MAX_NAME: usize = 4096;

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path in the archive; unique there.
    pub name: String,
    /// Compression method as ZIP numbers it.
    pub method: u16,
    /// True when `range` holds the member's bytes as they are: neither compressed nor encrypted.
    pub stored: bool,
    /// Absolute range of the member's data in the file. No two members overlap.
    pub range: Range<u64>,
}

impl Entry {
    /// Bytes that the member takes in the file.
    pub(super) fn len(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// The whole of a stored member of at most `limit` bytes.
    pub(super) fn read(&self, source: &dyn ReadAt, limit: u64, format: Format) -> Result<Vec<u8>, LayoutError> {
        if !self.stored {
            let what = format!("{:?} is compressed", self.name);
            return Err(LayoutError::malformed(format, what));
        }
        if self.len() > limit {
            let what = format!("{:?} of {} bytes", self.name, self.len());
            return Err(LayoutError::too_large(format, what));
        }
        let mut bytes = vec![0u8; self.len() as usize];
        source
            .read_exact_at(&mut bytes, self.range.start)
            .map_err(|error| LayoutError::reading(format, &self.name, error))?;
        Ok(bytes)
    }
}

/// The name in the local header at the start of the file: a cheap look at what an archive might be. `Ok(None)`
/// when the file does not start with a member, as self-extracting and empty archives do not.
pub(super) fn first_name(source: &dyn ReadAt, format: Format) -> Result<Option<String>, LayoutError> {
    const FIXED: usize = 30;
    let mut header = [0u8; FIXED];
    if source.len() < FIXED as u64 {
        return Ok(None);
    }
    let read = |buffer: &mut [u8], offset| {
        source
            .read_exact_at(buffer, offset)
            .map_err(|error| LayoutError::reading(format, "the first member's name", error))
    };
    read(&mut header, 0)?;
    let (magic, len) = match header {
        [a, b, c, d, .., low, high, _, _] => ([a, b, c, d], usize::from(u16::from_le_bytes([low, high]))),
    };
    if magic != *b"PK\x03\x04" || len > MAX_NAME || source.len() < (FIXED + len) as u64 {
        return Ok(None);
    }
    let mut name = vec![0u8; len];
    read(&mut name, FIXED as u64)?;
    Ok(String::from_utf8(name).ok())
}

/// Reads the directory of an archive, in its own order.
///
/// # Errors
/// When it is damaged, beyond this reader's limits, or members share bytes or names.
pub(super) fn entries(source: &dyn ReadAt, format: Format) -> Result<Vec<Entry>, LayoutError> {
    let refuse = |error: Error| refuse(format, error);
    let too_many = |count: u64| LayoutError::too_large(format, format!("an archive of {count} members"));

    let mut buffer = vec![0u8; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipLocator::new()
        .locate_in_reader(Adapter(source), &mut buffer, source.len())
        .map_err(|(_, error)| refuse(error))?;
    let claimed = archive.entries_hint();
    if claimed > MAX_TENSORS as u64 {
        return Err(too_many(claimed));
    }
    let directory = archive.directory_offset();
    let directory_len = archive.eocd_offset().saturating_sub(directory);
    if directory_len > MAX_HEADER {
        let what = format!("an archive directory of {directory_len} bytes");
        return Err(LayoutError::too_large(format, what));
    }

    let mut entries = Vec::new();
    // From the local header on, so that a header inside another member's data is an overlap too.
    let mut spans = Vec::new();
    let mut names = HashSet::new();
    let mut records = archive.entries(&mut buffer);
    while let Some(record) = records.next_entry().map_err(refuse)? {
        if entries.len() >= MAX_TENSORS {
            return Err(too_many(entries.len() as u64 + 1));
        }
        let path = record.file_path();
        if path.as_ref().len() > MAX_NAME {
            let what = format!("a member name of {} bytes", path.as_ref().len());
            return Err(LayoutError::too_large(format, what));
        }
        let name = String::from_utf8_lossy(path.as_ref()).into_owned();
        let method = record.compression_method();
        let stored = method == CompressionMethod::STORE && !record.flags().is_encrypted();
        if stored && record.compressed_size_hint() != record.uncompressed_size_hint() {
            let what = format!("{name:?} is stored with two different lengths");
            return Err(LayoutError::malformed(format, what));
        }
        let (start, end) = archive
            .get_entry(record.wayfinder())
            .map_err(refuse)?
            .compressed_data_range();
        if end > directory {
            return Err(LayoutError::out_of_bounds(format, format!("the data of {name:?}")));
        }
        if !names.insert(name.clone()) {
            return Err(LayoutError::malformed(
                format,
                format!("two members are called {name:?}"),
            ));
        }
        spans.push(record.local_header_offset()..end);
        entries.push(Entry {
            name,
            method: method.as_u16(),
            stored,
            range: start..end,
        });
    }
    // Without ZIP64 the directory's count is a 16-bit number, which some writers let wrap around.
    let count = entries.len() as u64;
    if claimed != count && claimed != count & 0xffff {
        let what = format!("the archive claims {claimed} members and lists {count}");
        return Err(LayoutError::malformed(format, what));
    }
    spans.sort_by_key(|span| span.start);
    let overlap = |(left, right): (&Range<u64>, &Range<u64>)| left.end > right.start;
    if spans.iter().zip(spans.iter().skip(1)).any(overlap) {
        return Err(LayoutError::malformed(format, "members of the archive overlap"));
    }
    Ok(entries)
}

fn refuse(format: Format, error: Error) -> LayoutError {
    let what = error.to_string();
    match error.into_kind() {
        ErrorKind::IO(error) => LayoutError::reading(format, "the archive's directory", error),
        ErrorKind::Eof => LayoutError::out_of_bounds(format, "the archive's directory"),
        ErrorKind::BufferTooSmall { required } => {
            LayoutError::too_large(format, format!("a directory record of {required} bytes"))
        }
        _ => LayoutError::malformed(format, format!("the archive's directory: {what}")),
    }
}

/// The ZIP reader's idea of positioned reading over ours: it wants short reads at the end, not errors.
struct Adapter<'a>(&'a dyn ReadAt);

impl ReaderAt for Adapter<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.0.len().saturating_sub(offset);
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if let Some(target) = buffer.get_mut(..count) {
            self.0.read_exact_at(target, offset)?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::zip_writer::{DEFLATED, Hollow, STORED, Writer, archive, trailer};
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Entry>, LayoutError> {
        entries(&bytes.to_vec(), Format::Npz)
    }

    fn two_members() -> Writer {
        let mut writer = Writer::default();
        writer.add("a", STORED, b"first");
        writer.add("b/c", DEFLATED, b"second");
        writer
    }

    #[test]
    fn members_are_listed_with_the_ranges_of_their_data() {
        for zip64 in [false, true] {
            let mut writer = two_members();
            writer.zip64 = zip64;
            let bytes = writer.finish();
            let entries = read(&bytes).unwrap();
            let listed: Vec<_> = entries
                .iter()
                .map(|entry| {
                    let range = entry.range.start as usize..entry.range.end as usize;
                    (entry.name.as_str(), entry.method, entry.stored, &bytes[range])
                })
                .collect();
            let expected: [(_, _, _, &[u8]); 2] = [("a", 0, true, b"first"), ("b/c", 8, false, b"second")];
            assert_eq!(listed, expected, "zip64: {zip64}");
            let read = |entry: &Entry, limit| entry.read(&bytes, limit, Format::Npz);
            assert_eq!(read(&entries[0], 5).unwrap(), b"first");
            assert!(matches!(read(&entries[0], 4), Err(LayoutError::TooLarge { .. })));
            assert!(matches!(read(&entries[1], 9), Err(LayoutError::Malformed { .. })));
        }
    }

    #[test]
    fn encrypted_members_are_not_stored() {
        let mut writer = two_members();
        writer.members[0].flags = 1;
        assert!(!read(&writer.finish()).unwrap()[0].stored);
    }

    #[test]
    fn the_first_name_needs_no_directory() {
        let bytes = two_members().finish();
        let first = |bytes: &[u8]| first_name(&bytes.to_vec(), Format::Npz).unwrap();
        assert_eq!(first(&bytes[..31]).as_deref(), Some("a"));
        assert_eq!(first(&bytes[..30]), None);
        assert_eq!(first(&bytes[1..]), None);
        assert_eq!(first(b""), None);
    }

    #[test]
    fn overlapping_members_are_refused() {
        let mut writer = two_members();
        writer.members[1].offset = 0;
        let error = read(&writer.finish()).unwrap_err();
        assert!(error.to_string().contains("overlap"), "{error}");

        // The first member's data now runs into the second's local header.
        let mut writer = two_members();
        writer.members[0].compressed += 1;
        writer.members[0].uncompressed += 1;
        let error = read(&writer.finish()).unwrap_err();
        assert!(error.to_string().contains("overlap"), "{error}");
    }

    #[test]
    fn data_outside_the_archive_is_refused() {
        for length in [1 << 20, u64::from(u32::MAX) - 1, u64::MAX, u64::MAX - 40] {
            let mut writer = two_members();
            writer.zip64 = true;
            writer.members[1].compressed = length;
            let error = read(&writer.finish()).unwrap_err();
            assert!(matches!(error, LayoutError::OutOfBounds { .. }), "{length}: {error}");

            let mut writer = two_members();
            writer.zip64 = true;
            writer.members[1].offset = length;
            let error = read(&writer.finish()).unwrap_err();
            assert!(matches!(error, LayoutError::OutOfBounds { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let mut twice = two_members();
        twice.members[1].name = b"a".to_vec();
        let mut lengths = two_members();
        lengths.members[0].uncompressed = 6;
        let mut count = two_members();
        count.claimed = Some(3);
        let mut nowhere = two_members();
        nowhere.members[1].offset = 1;
        for writer in [twice, lengths, count, nowhere] {
            let error = read(&writer.finish()).unwrap_err();
            assert!(matches!(error, LayoutError::Malformed { .. }), "{error}");
        }
    }

    #[test]
    fn archives_beyond_the_limits_are_refused() {
        let mut claims = two_members();
        claims.zip64 = true;
        claims.claimed = Some(1_000_000);
        let mut name = two_members();
        name.members[0].name = vec![b'a'; MAX_NAME + 1];
        for writer in [claims, name] {
            let error = read(&writer.finish()).unwrap_err();
            assert!(matches!(error, LayoutError::TooLarge { .. }), "{error}");
        }

        let head = archive(&[("a", b"first")]);
        let directory = head.len() as u64;
        let end = directory + (100 << 20);
        let tail = trailer(1, directory, end, true);
        let len = end + tail.len() as u64;
        let error = entries(&Hollow { head, tail, len }, Format::Npz).unwrap_err();
        assert!(matches!(error, LayoutError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn a_sparse_terabyte_is_not_searched() {
        let head = archive(&[("a/data.pkl", b"first")]);
        let hollow = Hollow {
            head,
            tail: Vec::new(),
            len: 1 << 40,
        };
        let error = entries(&hollow, Format::PyTorch).unwrap_err();
        assert!(matches!(error, LayoutError::Malformed { .. }), "{error}");
    }
}
