//! The footer of a Parquet file: a `FileMetaData` in Thrift's compact protocol. Only the schema and the number of rows
//! are kept; everything else is skipped.

use anyhow::Result;
use fai_core::tensor::ReadAt;

use super::{MAX_COLUMNS, Table};

const MAGIC: &[u8; 4] = b"PAR1";

/// The longest footer that is read: those of files with thousands of row groups stay below.
const MAX_FOOTER: u64 = 32 << 20;

/// Structures inside each other.
const MAX_DEPTH: usize = 16;

/// The table in a file; `None` when it is no Parquet file, or one that cannot be read here.
pub fn table(source: &dyn ReadAt) -> Result<Option<Table>> {
    let mut end = [0u8; 8];
    let Some(tail) = source.len().checked_sub(12).map(|start| start + 4) else {
        return Ok(None);
    };
    source.read_exact_at(&mut end, tail)?;
    let [a, b, c, d, magic @ ..] = end;
    let len = u64::from(u32::from_le_bytes([a, b, c, d]));
    if &magic != MAGIC || len > MAX_FOOTER || len + 4 > tail {
        return Ok(None);
    }
    let mut footer = vec![0; len as usize];
    source.read_exact_at(&mut footer, tail - len)?;
    Ok(file_metadata(&mut Thrift { rest: &footer }))
}

/// The types of Thrift's compact protocol.
mod types {
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const I16: u8 = 4;
    pub const I32: u8 = 5;
    pub const I64: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const LIST: u8 = 9;
    pub const SET: u8 = 10;
    pub const MAP: u8 = 11;
    pub const STRUCT: u8 = 12;
}

fn file_metadata(input: &mut Thrift<'_>) -> Option<Table> {
    let (mut columns, mut rows) = (None, None);
    let mut id = 0;
    while let Some(kind) = input.field(&mut id)? {
        match (id, kind) {
            (2, types::LIST) => columns = Some(schema(input)?),
            (3, types::I64) => rows = Some(u64::try_from(input.zigzag()?).ok()?),
            _ => input.skip(kind, 0)?,
        }
        if let (Some(columns), Some(rows)) = (&mut columns, rows) {
            let columns = std::mem::take(columns);
            return Some(Table { columns, rows });
        }
    }
    None
}

/// The leaves of the schema as `a.b: INT64`.
fn schema(input: &mut Thrift<'_>) -> Option<Vec<String>> {
    let (count, kind) = input.list()?;
    if kind != types::STRUCT {
        return None;
    }
    let mut columns = Vec::new();
    // Groups that are open: their names, and how many children are still to come.
    let mut open: Vec<(String, i64)> = Vec::new();
    for index in 0..count {
        let node = schema_element(input)?;
        while open.last().is_some_and(|(_, left)| *left <= 0) {
            open.pop();
        }
        let path = match open.last_mut() {
            Some((path, left)) => {
                *left -= 1;
                if path.is_empty() {
                    node.name
                } else {
                    format!("{path}.{}", node.name)
                }
            }
            // The first is the root, whose name says nothing.
            None if index == 0 => String::new(),
            None => return None,
        };
        match node.children {
            0 if index > 0 => columns.push(format!("{path}: {}", node.kind)),
            children => open.push((path, children)),
        }
        if columns.len() > MAX_COLUMNS || open.len() > MAX_DEPTH {
            return None;
        }
    }
    Some(columns)
}

struct Node {
    name: String,
    kind: &'static str,
    children: i64,
}

fn schema_element(input: &mut Thrift<'_>) -> Option<Node> {
    const KINDS: [&str; 8] = [
        "BOOLEAN",
        "INT32",
        "INT64",
        "INT96",
        "FLOAT",
        "DOUBLE",
        "BYTE_ARRAY",
        "FIXED_LEN_BYTE_ARRAY",
    ];
    let mut node = Node {
        name: String::new(),
        kind: "?",
        children: 0,
    };
    let mut id = 0;
    while let Some(kind) = input.field(&mut id)? {
        match (id, kind) {
            (1, types::I32) => node.kind = KINDS.get(usize::try_from(input.zigzag()?).ok()?)?,
            (4, types::BINARY) => node.name = String::from_utf8_lossy(input.binary()?).into_owned(),
            (5, types::I32) => node.children = input.zigzag()?,
            _ => input.skip(kind, 0)?,
        }
    }
    Some(node)
}

/// Reads Thrift's compact protocol. Everything is `None` at the end of the input or when it makes no sense.
struct Thrift<'a> {
    rest: &'a [u8],
}

impl<'a> Thrift<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn binary(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.bytes(len)
    }

    /// The next field's type, and its number in `id`; the inner `None` at the end of the structure.
    fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *id = match byte >> 4 {
            0 => self.zigzag()?,
            delta => id.checked_add(i64::from(delta))?,
        };
        Some(Some(byte & 15))
    }

    /// Length and element type of a list.
    fn list(&mut self) -> Option<(u64, u8)> {
        let byte = self.byte()?;
        let count = match byte >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        Some((count, byte & 15))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            types::TRUE | types::FALSE => {}
            types::BYTE => drop(self.byte()?),
            types::I16 | types::I32 | types::I64 => drop(self.varint()?),
            types::DOUBLE => drop(self.bytes(8)?),
            types::BINARY => drop(self.binary()?),
            types::LIST | types::SET => {
                let (count, kind) = self.list()?;
                self.skip_many(count, &[kind], depth)?;
            }
            types::MAP => {
                let count = self.varint()?;
                if count > 0 {
                    let kinds = self.byte()?;
                    self.skip_many(count, &[kinds >> 4, kinds & 15], depth)?;
                }
            }
            types::STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Elements of lists and maps: each takes a byte at the least, booleans too.
    fn skip_many(&mut self, count: u64, kinds: &[u8], depth: usize) -> Option<()> {
        for _ in 0..count {
            for kind in kinds {
                match *kind {
                    types::TRUE | types::FALSE => drop(self.byte()?),
                    kind => self.skip(kind, depth + 1)?,
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer as writers make it: version, schema (id: INT64; tags: a list of BYTE_ARRAY), rows, no row groups.
    fn file() -> Vec<u8> {
        let text = |text: &str| [&[text.len() as u8][..], text.as_bytes()].concat();
        let group = |name: &str, children: u8| [&[0x48][..], &text(name), &[0x15, children * 2, 0]].concat();
        let leaf = |name: &str, kind: u8| [&[0x15, kind * 2, 0x25, 2, 0x18][..], &text(name), &[0]].concat();
        let mut footer = vec![0x15, 2, 0x19, 5 << 4 | 12];
        for node in [
            group("root", 2),
            leaf("id", 2),
            group("tags", 1),
            group("list", 1),
            leaf("element", 6),
        ] {
            footer.extend(node);
        }
        footer.extend([0x16, 0xe8, 0x07, 0x19, 0x0c, 0]);
        let mut file = MAGIC.to_vec();
        file.extend(&footer);
        file.extend((footer.len() as u32).to_le_bytes());
        file.extend(MAGIC);
        file
    }

    #[test]
    fn schema_and_rows_are_read() {
        let found = table(&file()).expect("readable").expect("a table");
        assert_eq!(found.columns, ["id: INT64", "tags.list.element: BYTE_ARRAY"]);
        assert_eq!(found.rows, 500);
    }

    #[test]
    fn damaged_footers_are_none() {
        let good = file();
        for end in 0..good.len() {
            assert_eq!(table(&good[..end].to_vec()).expect("readable"), None, "{end}");
        }
        // Whatever a byte becomes, reading ends.
        for at in 0..good.len() {
            for value in [0, 0xff, 0x19, 0xfc, good[at] ^ 1] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = table(&bad).expect("readable");
            }
        }
        let lists = vec![0x19; 1 << 16];
        assert_eq!(file_metadata(&mut Thrift { rest: &lists }), None);
        // A list that claims more elements than there are bytes.
        let endless = [0x19, 0xf5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(file_metadata(&mut Thrift { rest: &endless }), None);
    }
}
