//! What a file system tells of the holes of a file: ranges that take no room and read as zeros, so that nobody needs to
//! read them. What is not known for certain counts as data.

use std::fs::{File, Metadata};

use super::read::Stretch;

/// The longest hole that is told at once: a file that becomes shorter in the middle of a hole is noticed after so many
/// bytes.
const LONGEST: u64 = 1 << 30;

/// True when `file` may have holes and its file system is known to tell the truth about them: one that answers from
/// what it has on disk only, or through a network, may name a hole where data is on its way.
#[cfg(target_os = "linux")]
pub(super) fn may_have_holes(file: &File, metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    /// Magic numbers of ext2 to ext4, XFS, Btrfs and tmpfs, as `statfs` gives them.
    const TRUSTED: [u64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];
    let fewer_blocks = metadata.blocks().saturating_mul(512) < metadata.len();
    fewer_blocks && rustix::fs::fstatfs(file).is_ok_and(|stat| TRUSTED.contains(&(stat.f_type as u64)))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn may_have_holes(_file: &File, _metadata: &Metadata) -> bool {
    false
}

/// What begins at `offset` of a file that was `len` bytes long; `None` when that cannot be told. Moves the file's
/// position.
#[cfg(target_os = "linux")]
pub(super) fn stretch(file: &File, offset: u64, len: u64) -> Option<Stretch> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let data = match seek(file, SeekFrom::Data(offset)) {
        Ok(data) => data,
        // No data up to the end, wherever that is by now.
        Err(Errno::NXIO) => file.metadata().ok()?.len(),
        Err(_) => return None,
    };
    if data > offset {
        let end = data.min(len).min(offset.saturating_add(LONGEST));
        Some(Stretch { end, hole: true })
    } else if data == offset {
        let end = seek(file, SeekFrom::Hole(offset)).ok()?;
        Some(Stretch { end, hole: false })
    } else {
        None
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn stretch(_file: &File, _offset: u64, _len: u64) -> Option<Stretch> {
    None
}
