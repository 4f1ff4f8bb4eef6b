//! What is said over a stream: protocol names, limits, messages and frames. The norm is `docs/protocol.md`.

pub mod frame;
pub mod message;
pub mod records;

use std::time::Duration;

use libp2p::StreamProtocol;

/// Talk about a repository: who, what, which commits.
pub const SYNC: StreamProtocol = StreamProtocol::new("/fai/sync/1");

/// Records by hash, in the encoding in which they are stored, or so that they stand alone.
pub const RECORDS: StreamProtocol = StreamProtocol::new("/fai/records/2");

/// Longest message of [`SYNC`], in bytes.
pub const MAX_MESSAGE: usize = 1 << 20;

/// Most hashes in one request for records.
pub const MAX_BATCH: usize = 256;

/// How long a peer may be silent, or a write may make no progress.
pub const SILENCE: Duration = Duration::from_secs(30);

/// How long a peer may take until its next request.
pub const PATIENCE: Duration = Duration::from_secs(600);
