//! The storage engine of `fai`: version control for AI models that knows what a tensor is.
//!
//! The floors, each using only those before it:
//! [`object`] (manifests, trees, commits), [`tensor`] (where tensors lie in model files), [`chunking`] (where to
//! cut), [`codec`] (how to encode), [`storage`] (packs), [`database`] (SQLite), [`repo`] (workflows).
//! Synchronous; there is no network, no terminal, no clock and no environment here.
//!
//! # A repository in twenty lines
//!
//! ```
//! use fai_core::Repository;
//! use fai_core::object::{Author, RepoPath, Time};
//! use fai_core::repo::{AddOptions, CommitRequest, InitOptions, Silent};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let (repository, _) = Repository::init(folder.path(), InitOptions::default())?;
//! std::fs::write(folder.path().join("notes.txt"), "a first version\n")?;
//! repository.add(&[RepoPath::root()], AddOptions::default(), &Silent)?;
//! let made = repository.commit(&CommitRequest {
//!     message: Some("First".into()),
//!     author: Some(Author { name: "Ada".into(), email: "ada@example.org".into() }),
//!     time: Time { seconds: 1_700_000_000, offset_minutes: 60 },
//!     ..CommitRequest::default()
//! })?;
//!
//! let newest = repository.history(made.id, None)?.next().expect("a commit")?;
//! assert_eq!(newest.commit.title(), "First");
//! let entry = repository.file_in(made.id, &RepoPath::parse("notes.txt")?, "HEAD")?;
//! let text = std::io::read_to_string(repository.open_file(entry.file)?.reader())?;
//! assert_eq!(text, "a first version\n");
//! # Ok(())
//! # }
//! ```
//!
//! # One tensor of any commit
//!
//! ```
//! # use fai_core::Repository;
//! # use fai_core::object::{Author, RepoPath, Time};
//! # use fai_core::repo::{AddOptions, CommitRequest, InitOptions, Silent};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let (repository, _) = Repository::init(folder.path(), InitOptions::default())?;
//! # let header = br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
//! # let mut model = (header.len() as u64).to_le_bytes().to_vec();
//! # model.extend_from_slice(header);
//! # model.extend_from_slice(&[0, 0, 128, 63, 0, 0, 0, 64]);
//! # std::fs::write(folder.path().join("model.safetensors"), model)?;
//! # repository.add(&[RepoPath::root()], AddOptions::default(), &Silent)?;
//! # repository.commit(&CommitRequest {
//! #     message: Some("First".into()),
//! #     author: Some(Author { name: "Ada".into(), email: String::new() }),
//! #     ..CommitRequest::default()
//! # })?;
//! let commit = repository.resolve("HEAD")?;
//! let entry = repository.file_in(commit, &RepoPath::parse("model.safetensors")?, "HEAD")?;
//! let (tensor, bytes) = repository.read_tensor(entry.file, "w")?;
//! assert_eq!(tensor.shape, [2]);
//! assert_eq!(f32::from_le_bytes(bytes[4..8].try_into()?), 2.0);
//! # Ok(())
//! # }
//! ```

pub mod chunking;
pub mod codec;
pub mod database;
pub mod object;
pub mod repo;
pub mod storage;
pub mod tensor;

pub use repo::Repository;
