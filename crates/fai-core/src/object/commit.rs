//! Commits: a tree, where it came from, who made it and what is known about it.

use std::collections::{BTreeMap, HashSet};

use minicbor::data::Type;

use super::Object;
use super::cbor::{self, DecodeError, Reader};
use super::id::{CommitId, TreeId};
use super::value::{self, MAX_DEPTH, Value};

/// Parents a commit may have.
pub const MAX_PARENTS: usize = 64;
/// The longest encoding of a commit, in bytes: it must fit into a message between peers.
pub const MAX_COMMIT_LEN: usize = 1_000_000;
const MAX_MESSAGE: usize = 500_000;
const MAX_NAME: usize = 1024;
const MAX_SIGNATURE: usize = 4096;

/// Who made a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Name, not empty.
    pub name: String,
    /// E-mail address; may be empty.
    pub email: String,
}

/// A moment and the zone of the clock that told it; by default 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub seconds: i64,
    /// Minutes east of UTC, -1439 to 1439.
    pub offset_minutes: i16,
}

/// A version of everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The root folder.
    pub tree: TreeId,
    /// The commits it follows: none for a first one, several for a merge.
    pub parents: Vec<CommitId>,
    /// Who made it.
    pub author: Author,
    /// When.
    pub time: Time,
    /// Why, in words.
    pub message: String,
    /// What else is known: `params`, `metrics` (maps), `tags` (a list), `base_model` (text), and whatever comes later.
    pub metadata: BTreeMap<String, Value>,
    /// Room for a signature over the encoding without it.
    pub signature: Option<Vec<u8>>,
}

impl Commit {
    /// The first line of the message.
    pub fn title(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }

    /// The map of that name in the metadata (`params`, `metrics`), if it is there.
    pub fn metadata_map(&self, name: &str) -> Option<&BTreeMap<String, Value>> {
        self.metadata.get(name).and_then(Value::as_map)
    }

    /// The labels given with `--tag-with`.
    pub fn labels(&self) -> Vec<&str> {
        match self.metadata.get("tags") {
            Some(Value::List(items)) => items.iter().filter_map(Value::as_text).collect(),
            _ => Vec::new(),
        }
    }

    /// Checks the rules that hold for every commit.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn validate(&self) -> Result<(), DecodeError> {
        let unique: HashSet<_> = self.parents.iter().collect();
        let author = [&self.author.name, &self.author.email];
        let reason = if self.parents.len() > MAX_PARENTS {
            "more than 64 parents"
        } else if unique.len() != self.parents.len() {
            "a parent named twice"
        } else if self.author.name.is_empty() || author.iter().any(|text| text.len() > MAX_NAME) {
            "an author's name that is empty or too long"
        } else if author
            .iter()
            .any(|text| text.chars().any(|c| c.is_control() || matches!(c, '<' | '>')))
        {
            "an author with control characters or angle brackets"
        } else if self.message.len() > MAX_MESSAGE {
            "a message longer than 500,000 bytes"
        } else if !(-1439..=1439).contains(&self.time.offset_minutes) {
            "a time zone of a day or more"
        } else if self.signature.as_ref().is_some_and(|bytes| bytes.len() > MAX_SIGNATURE) {
            "a signature longer than 4096 bytes"
        } else if !self.metadata.values().all(|value| value.nests_within(MAX_DEPTH)) {
            "metadata nested deeper than 16"
        } else if self.encode().len() > MAX_COMMIT_LEN {
            "an encoding longer than 1,000,000 bytes: large logs belong into files"
        } else {
            return Ok(());
        };
        Err(DecodeError::invalid("commit", reason))
    }
}

impl Object for Commit {
    type Id = CommitId;

    fn encode(&self) -> Vec<u8> {
        cbor::encode(|out| {
            let _ = out.array(7).and_then(|out| out.bytes(self.tree.as_bytes()));
            let _ = out.array(self.parents.len() as u64);
            for parent in &self.parents {
                let _ = out.bytes(parent.as_bytes());
            }
            let _ = out
                .array(2)
                .and_then(|out| out.str(&self.author.name))
                .and_then(|out| out.str(&self.author.email))
                .and_then(|out| out.array(2))
                .and_then(|out| out.i64(self.time.seconds))
                .and_then(|out| out.i16(self.time.offset_minutes))
                .and_then(|out| out.str(&self.message));
            value::write_map(&self.metadata, out);
            let _ = match &self.signature {
                Some(bytes) => out.bytes(bytes),
                None => out.null(),
            };
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let commit = cbor::decode("commit", bytes, read_commit, Object::encode)?;
        commit.validate()?;
        Ok(commit)
    }
}

fn read_commit(input: &mut Reader<'_>) -> Result<Commit, DecodeError> {
    input.array_of(7)?;
    let tree = input.id()?;
    let count = input.array()?;
    if count > MAX_PARENTS as u64 {
        return Err(input.invalid("more than 64 parents"));
    }
    let parents = (0..count).map(|_| input.id()).collect::<Result<_, _>>()?;
    input.array_of(2)?;
    let author = Author {
        name: input.text()?.to_owned(),
        email: input.text()?.to_owned(),
    };
    input.array_of(2)?;
    let seconds = input.i64()?;
    let offset = input.i64()?;
    let offset_minutes = i16::try_from(offset).map_err(|_| input.invalid("a time zone of a day or more"))?;
    let message = input.text()?.to_owned();
    let metadata = value::read_map(input, 0)?;
    let signature = match input.datatype()? {
        Type::Null => input.null().map(|()| None)?,
        _ => Some(input.bytes()?.to_vec()),
    };
    Ok(Commit {
        tree,
        parents,
        author,
        time: Time {
            seconds,
            offset_minutes,
        },
        message,
        metadata,
        signature,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Id;
    use super::*;

    fn sample() -> Commit {
        let metrics = BTreeMap::from([
            ("accuracy".into(), Value::Float(0.93)),
            ("loss".into(), Value::Float(f64::INFINITY)),
        ]);
        Commit {
            tree: TreeId::of(b"tree"),
            parents: vec![CommitId::of(b"parent")],
            author: Author {
                name: "Ada".into(),
                email: "ada@example.org".into(),
            },
            time: Time {
                seconds: -5,
                offset_minutes: -330,
            },
            message: "First\n\nmore".into(),
            metadata: BTreeMap::from([
                ("metrics".into(), Value::Map(metrics)),
                ("tags".into(), Value::List(vec![Value::Text("best".into())])),
            ]),
            signature: None,
        }
    }

    #[test]
    fn a_commit_round_trips() {
        let mut commit = sample();
        assert_eq!(Commit::decode(&commit.encode()), Ok(commit.clone()));
        commit.signature = Some(vec![1, 2, 3]);
        assert_eq!(Commit::decode(&commit.encode()), Ok(commit.clone()));
        assert_eq!(commit.title(), "First");
        assert_eq!(commit.labels(), ["best"]);
    }

    #[test]
    fn broken_rules_are_named() {
        let breakages: [fn(&mut Commit); 6] = [
            |commit| commit.parents = vec![CommitId::of(b"x"); 2],
            |commit| commit.parents = (0..65u8).map(|i| CommitId::of(&[i])).collect(),
            |commit| commit.author.name.clear(),
            |commit| commit.author.email = "a\nb".into(),
            |commit| commit.time.offset_minutes = 1440,
            |commit| commit.message = "x".repeat((1 << 20) + 1),
        ];
        for breakage in breakages {
            let mut commit = sample();
            breakage(&mut commit);
            assert!(matches!(
                Commit::decode(&commit.encode()),
                Err(DecodeError::Invalid { .. })
            ));
        }
    }

    #[test]
    fn whatever_validates_can_be_read_back() {
        let nested = |levels: usize| (1..levels).fold(Value::Int(1), |value, _| Value::List(vec![value]));
        for levels in [1, 2, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 100] {
            let mut commit = sample();
            commit.metadata.insert("nested".into(), nested(levels));
            assert_eq!(commit.validate().is_ok(), levels <= MAX_DEPTH, "{levels}");
            assert_eq!(
                Commit::decode(&commit.encode()).is_ok(),
                levels <= MAX_DEPTH,
                "{levels}"
            );
        }
        let mut long = sample();
        long.metadata
            .insert("log".into(), Value::Text("x".repeat(MAX_COMMIT_LEN)));
        assert!(long.validate().is_err());
    }

    #[test]
    fn bottomless_metadata_is_refused() {
        let mut deep = Value::Int(1);
        for _ in 0..1_000 {
            deep = Value::List(vec![deep]);
        }
        let mut commit = sample();
        commit.metadata.insert("deep".into(), deep);
        let bytes = commit.encode();
        assert!(Commit::decode(&bytes).is_err());
    }
}
