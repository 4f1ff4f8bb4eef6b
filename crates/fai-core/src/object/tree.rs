//! Trees: a folder's entries, sorted by name, each checked against the naming rules.

use std::collections::HashSet;

use super::Object;
use super::cbor::{self, DecodeError, MAX_OBJECT_LEN, Reader, head_len};
use super::id::{FileId, Hash, Id, TreeId};
use super::name::{check_name, fold_name};

/// What an entry is. The discriminants are part of the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EntryKind {
    /// A file.
    File = 0,
    /// A file with the executable bit.
    Executable = 1,
    /// A folder.
    Folder = 2,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Its name, valid under [`check_name`].
    pub name: String,
    /// File, executable file or folder.
    pub kind: EntryKind,
    /// Id of the file or tree.
    pub hash: Hash,
    /// Size of the file, or the sum over all files below the folder, in bytes.
    pub size: u64,
}

impl TreeEntry {
    /// An entry for a file.
    pub fn file(name: impl Into<String>, file: FileId, size: u64, executable: bool) -> Self {
        let kind = if executable {
            EntryKind::Executable
        } else {
            EntryKind::File
        };
        Self {
            name: name.into(),
            kind,
            hash: *file.hash(),
            size,
        }
    }

    /// An entry for a folder.
    pub fn folder(name: impl Into<String>, tree: TreeId, size: u64) -> Self {
        Self {
            name: name.into(),
            kind: EntryKind::Folder,
            hash: *tree.hash(),
            size,
        }
    }

    /// The file's id, unless this is a folder.
    pub fn file_id(&self) -> Option<FileId> {
        (self.kind != EntryKind::Folder).then(|| FileId::from_hash(self.hash))
    }

    /// The tree's id, if this is a folder.
    pub fn tree_id(&self) -> Option<TreeId> {
        (self.kind == EntryKind::Folder).then(|| TreeId::from_hash(self.hash))
    }
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    entries: Vec<TreeEntry>,
}

impl Tree {
    /// Sorts `entries` and checks them.
    ///
    /// # Errors
    /// When a name is refused, two names are the same on some operating system, or the encoding would be longer than
    /// [`MAX_OBJECT_LEN`].
    pub fn new(mut entries: Vec<TreeEntry>) -> Result<Self, DecodeError> {
        if encoded_len(&entries) > MAX_OBJECT_LEN {
            let reason = format!("its {} entries take more than {MAX_OBJECT_LEN} bytes", entries.len());
            return Err(DecodeError::invalid("tree", reason));
        }
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        for entry in &entries {
            check_name(&entry.name).map_err(|error| DecodeError::invalid("tree", error.to_string()))?;
        }
        if let Some(name) = colliding(&entries) {
            let reason = format!("{name:?} and a sibling are the same name on some systems");
            return Err(DecodeError::invalid("tree", reason));
        }
        let sum = entries.iter().try_fold(0u64, |sum, entry| sum.checked_add(entry.size));
        sum.ok_or_else(|| DecodeError::invalid("tree", "sizes that overflow"))?;
        Ok(Self { entries })
    }

    /// The entries in bytewise order of their names.
    pub fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    /// The entries, given away.
    pub fn into_entries(self) -> Vec<TreeEntry> {
        self.entries
    }

    /// The entry of that name.
    pub fn get(&self, name: &str) -> Option<&TreeEntry> {
        let index = self
            .entries
            .binary_search_by(|entry| entry.name.as_str().cmp(name))
            .ok()?;
        self.entries.get(index)
    }

    /// Sum of all sizes below this folder.
    pub fn size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }
}

/// A name that another of the sorted `entries` equals when folded.
fn colliding(entries: &[TreeEntry]) -> Option<&str> {
    // Names that folding leaves as they are collide only when they are equal, and equal ones are neighbours.
    let is_folded = |name: &str| name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if entries.iter().all(|entry| is_folded(&entry.name)) {
        let pair = entries
            .windows(2)
            .find(|pair| matches!(pair, [one, other] if one.name == other.name));
        return pair.and_then(<[_]>::first).map(|entry| entry.name.as_str());
    }
    let mut folded = HashSet::with_capacity(entries.len());
    entries
        .iter()
        .find(|entry| !folded.insert(fold_name(&entry.name)))
        .map(|entry| entry.name.as_str())
}

impl Object for Tree {
    type Id = TreeId;

    fn encode(&self) -> Vec<u8> {
        cbor::encode(|out| {
            let _ = out.array(self.entries.len() as u64);
            for entry in &self.entries {
                let _ = out
                    .array(4)
                    .and_then(|out| out.str(&entry.name))
                    .and_then(|out| out.u8(entry.kind as u8))
                    .and_then(|out| out.bytes(entry.hash.as_bytes()))
                    .and_then(|out| out.u64(entry.size));
            }
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        cbor::decode("tree", bytes, read_tree, Object::encode)
    }
}

/// Length of the encoding of these entries: what could not be read back must not be written.
fn encoded_len(entries: &[TreeEntry]) -> usize {
    let entry_len = |entry: &TreeEntry| {
        let name = head_len(entry.name.len() as u64) + entry.name.len();
        let hash = head_len(Hash::LEN as u64) + Hash::LEN;
        head_len(4) + name + head_len(entry.kind as u64) + hash + head_len(entry.size)
    };
    head_len(entries.len() as u64) + entries.iter().map(entry_len).sum::<usize>()
}

fn read_tree(input: &mut Reader<'_>) -> Result<Tree, DecodeError> {
    let count = input.array()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        input.array_of(4)?;
        let name = input.text()?.to_owned();
        let kind = match input.u64()? {
            0 => EntryKind::File,
            1 => EntryKind::Executable,
            2 => EntryKind::Folder,
            other => return Err(input.invalid(format!("entry kind {other}"))),
        };
        entries.push(TreeEntry {
            name,
            kind,
            hash: input.hash()?,
            size: input.u64()?,
        });
    }
    Tree::new(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> TreeEntry {
        TreeEntry::file(name, FileId::of(name.as_bytes()), 3, name.len().is_multiple_of(2))
    }

    #[test]
    fn order_of_insertion_does_not_matter() {
        let one = Tree::new(vec![entry("b"), entry("a"), entry("a-b")]).unwrap();
        let other = Tree::new(vec![entry("a-b"), entry("a"), entry("b")]).unwrap();
        assert_eq!(one.id(), other.id());
        assert_eq!(Tree::decode(&one.encode()), Ok(one));
    }

    #[test]
    fn unsorted_or_colliding_entries_are_refused() {
        let swapped = Tree {
            entries: vec![entry("b"), entry("a")],
        };
        assert_eq!(Tree::decode(&swapped.encode()), Err(DecodeError::NotCanonical("tree")));
        for pair in [["a", "a"], ["a", "A"], ["é", "e\u{301}"]] {
            let tree = Tree {
                entries: pair.map(entry).to_vec(),
            };
            assert!(Tree::decode(&tree.encode()).is_err(), "{pair:?}");
        }
        for name in ["..", ".fai", "a/b", ""] {
            let tree = Tree {
                entries: vec![entry(name)],
            };
            assert!(Tree::decode(&tree.encode()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_folder_too_long_to_be_read_back_is_refused() {
        let sized = |index: usize, size| TreeEntry {
            size,
            ..entry(&format!("{index:0>255}"))
        };
        let sizes = [0, 23, 24, 255, 256, 65_535, 65_536, 1 << 32];
        let tree = Tree::new(sizes.iter().enumerate().map(|(i, size)| sized(i, *size)).collect()).unwrap();
        assert_eq!(encoded_len(tree.entries()), tree.encode().len());
        let many = MAX_OBJECT_LEN / 290;
        assert!(Tree::new((0..many).map(|index| sized(index, 0)).collect()).is_err());
    }

    #[test]
    fn a_count_beyond_the_end_allocates_nothing() {
        // An array head that claims 2^63 entries.
        let bytes = [0x9b, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert!(Tree::decode(&bytes).is_err());
    }
}
