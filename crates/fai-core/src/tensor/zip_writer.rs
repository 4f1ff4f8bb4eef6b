//! A writer of small ZIP archives whose every field can be made to lie. Test-only.

use super::ReadAt;
use std::io;

pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;

/// A member as its central directory record describes it; the local header and the data are always honest.
pub(super) struct Member {
    pub name: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    pub offset: u64,
    pub compressed: u64,
    pub uncompressed: u64,
}

/// An archive being written.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// The directory's records; tests change them before [`Writer::finish`].
    pub members: Vec<Member>,
    /// Write 64-bit fields even where 32 bits would do.
    pub zip64: bool,
    /// Number of members to claim, if not the real one.
    pub claimed: Option<u64>,
}

impl Writer {
    pub(super) fn add(&mut self, name: &str, method: u16, data: &[u8]) -> &mut Member {
        let offset = self.bytes.len() as u64;
        self.bytes.extend(b"PK\x03\x04\x14\0\0\0");
        self.bytes.extend(method.to_le_bytes());
        self.bytes.extend([0; 8]);
        self.bytes.extend((data.len() as u32).to_le_bytes());
        self.bytes.extend((data.len() as u32).to_le_bytes());
        self.bytes.extend((name.len() as u16).to_le_bytes());
        // An extra field, so that the local header differs in length from the directory's record.
        self.bytes.extend(8u16.to_le_bytes());
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(b"FB\x04\0ZZZZ");
        self.bytes.extend(data);
        self.members.push(Member {
            name: name.as_bytes().to_vec(),
            method,
            flags: 0,
            offset,
            compressed: data.len() as u64,
            uncompressed: data.len() as u64,
        });
        self.members.last_mut().unwrap()
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        let directory = bytes.len() as u64;
        for member in &self.members {
            let wide = [member.uncompressed, member.compressed, member.offset];
            let narrow = |value: u64| match self.zip64 {
                true => u32::MAX.to_le_bytes(),
                false => (value as u32).to_le_bytes(),
            };
            bytes.extend(b"PK\x01\x02\x14\0\x14\0");
            bytes.extend(member.flags.to_le_bytes());
            bytes.extend(member.method.to_le_bytes());
            bytes.extend([0; 8]);
            bytes.extend(narrow(member.compressed));
            bytes.extend(narrow(member.uncompressed));
            bytes.extend((member.name.len() as u16).to_le_bytes());
            bytes.extend(if self.zip64 { 28u16 } else { 0 }.to_le_bytes());
            bytes.extend([0; 10]);
            bytes.extend(narrow(member.offset));
            bytes.extend(&member.name);
            if self.zip64 {
                bytes.extend([1, 0, 24, 0]);
                bytes.extend(wide.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
        let end = bytes.len() as u64;
        let claimed = self.claimed.unwrap_or(self.members.len() as u64);
        bytes.extend(trailer(claimed, directory, end, self.zip64));
        bytes
    }
}

/// An archive of stored members.
pub(super) fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::default();
    for (name, data) in members {
        writer.add(name, STORED, data);
    }
    writer.finish()
}

/// What follows a directory of `claimed` members at `directory..end`.
pub(super) fn trailer(claimed: u64, directory: u64, end: u64, zip64: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if zip64 {
        bytes.extend(b"PK\x06\x06");
        bytes.extend(44u64.to_le_bytes());
        bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for value in [claimed, claimed, end - directory, directory] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(b"PK\x06\x07\0\0\0\0");
        bytes.extend(end.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
    }
    let limit = |value: u64, max: u64| if zip64 { max } else { value.min(max) };
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend((limit(claimed, 0xffff) as u16).to_le_bytes());
    bytes.extend((limit(claimed, 0xffff) as u16).to_le_bytes());
    bytes.extend((limit(end - directory, 0xffff_ffff) as u32).to_le_bytes());
    bytes.extend((limit(directory, 0xffff_ffff) as u32).to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

/// A source of `len` bytes that are zero but for a start and an end.
pub(super) struct Hollow {
    pub head: Vec<u8>,
    pub tail: Vec<u8>,
    pub len: u64,
}

impl ReadAt for Hollow {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let tail = self.len - self.tail.len() as u64;
        for (at, byte) in (offset..).zip(buffer) {
            *byte = match at.checked_sub(tail) {
                Some(at) => self.tail[at as usize],
                None => self.head.get(at as usize).copied().unwrap_or(0),
            };
        }
        Ok(())
    }
}
