//! The files of histories, by number, and their versions, which lie close to each other.

/// So many files there are.
pub const FILES: u8 = 6;

/// The path of a file.
pub fn name(file: u8) -> String {
    match file % FILES {
        0 => "models/a.safetensors".into(),
        1 => "models/b.safetensors".into(),
        2 => "log.txt".into(),
        3 => "pages.bin".into(),
        4 => "models/c.safetensors".into(),
        _ => "empty".into(),
    }
}

/// A version of a file: models with two tensors that training nudges, a growing text, a file in pages of one byte, a
/// model in another type that was made from the first one, and an empty file.
pub fn content(file: u8, version: u8) -> Vec<u8> {
    match file % FILES {
        0 => model("BF16", 12_000, version),
        1 => model("BF16", 12_600, version),
        2 => (0..2000 * (u32::from(version) + 1))
            .flat_map(|n| mix(n, 7).to_le_bytes())
            .collect(),
        3 => vec![version; 300_000],
        4 => model("F32", 12_000, version),
        _ => Vec::new(),
    }
}

fn mix(index: u32, salt: u32) -> u32 {
    (index ^ salt << 16).wrapping_mul(2_654_435_761).rotate_left(11)
}

fn model(dtype: &str, count: u32, version: u8) -> Vec<u8> {
    let width = if dtype == "F32" { 4 } else { 2 };
    let (first, end) = (count * width, (count + 40_000) * width);
    let header = format!(
        r#"{{"w":{{"dtype":"{dtype}","shape":[{count}],"data_offsets":[0,{first}]}},"embed":{{"dtype":"{dtype}","shape":[40000],"data_offsets":[{first},{end}]}}}}"#
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    for index in 0..count + 40_000 {
        let nudge = u16::from(mix(index, u32::from(version) + 1) % 9 < u32::from(version));
        let weight = (0x3c00 | (mix(index, 0) & 0x81ff) as u16).wrapping_add(nudge);
        if width == 4 {
            bytes.extend_from_slice(&[0, 0]);
        }
        bytes.extend_from_slice(&weight.to_le_bytes());
    }
    bytes
}
