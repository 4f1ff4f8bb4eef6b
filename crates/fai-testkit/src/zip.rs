//! ZIP archives of stored members, as `numpy.savez` and `torch.save` write them. No compression, no 64-bit fields.

/// An archive being written.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    members: u16,
}

impl Archive {
    /// Appends a member whose data starts at a multiple of `alignment`.
    pub fn add(&mut self, name: &str, alignment: usize, data: &[u8]) {
        let start = self.bytes.len();
        let unpadded = start + 30 + name.len();
        let padding = padding(unpadded, alignment);
        let mut common = vec![20, 0, 0, 0, 0, 0]; // version 2.0, no flags, stored
        common.extend([0, 0, 0x21, 0]); // 1980-01-01
        common.extend(crc32(data).to_le_bytes());
        common.extend((data.len() as u32).to_le_bytes());
        common.extend((data.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());

        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&common);
        self.bytes.extend((padding.len() as u16).to_le_bytes());
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(&padding);
        self.bytes.extend(data);

        self.directory.extend(b"PK\x01\x02\x14\0");
        self.directory.extend(&common);
        self.directory.extend([0; 12]); // no extra field, comment, disk number or attributes
        self.directory.extend((start as u32).to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.members += 1;
    }

    /// The whole archive.
    pub fn finish(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        let start = bytes.len() as u32;
        bytes.extend(&self.directory);
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend(self.members.to_le_bytes());
        bytes.extend(self.members.to_le_bytes());
        bytes.extend((self.directory.len() as u32).to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }
}

/// An extra field that moves what follows `unpadded` bytes to a multiple of `alignment`; PyTorch names it `FB`.
fn padding(unpadded: usize, alignment: usize) -> Vec<u8> {
    let missing = unpadded.next_multiple_of(alignment) - unpadded;
    if missing == 0 {
        return Vec::new();
    }
    // The field's own head takes 4 bytes.
    let len = if missing < 4 { missing + alignment } else { missing } - 4;
    let mut field = b"FB".to_vec();
    field.extend((len as u16).to_le_bytes());
    field.resize(len + 4, b'Z');
    field
}

fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    };
    !data.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_zip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn data_is_aligned() {
        let mut archive = Archive::default();
        for (index, name) in ["a", "abcd", "a/longer/name"].into_iter().enumerate() {
            archive.add(name, 64, &[index as u8 + 1; 70]);
        }
        let bytes = archive.finish();
        for index in 1..=3u8 {
            let start = bytes.windows(70).position(|window| window == [index; 70]).unwrap();
            assert_eq!(start % 64, 0, "member {index}");
        }
    }
}
