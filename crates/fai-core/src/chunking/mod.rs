//! Where a file is cut into chunks. The plan depends on the content alone, so that equal content gives equal chunks
//! on every machine. How a chunk is encoded is not here.
//!
//! Tensor data is cut at tensor borders and then in fixed steps from the tensor's start: the same tensor at another
//! offset, in a grown table or in the next checkpoint gives the same chunks. All other data is cut by its content.
//!
//! Holes of sparse files are cut without being read. That is a short cut: the chunks are those of a file with zeros.

mod bytes;
mod cut;
mod plan;

pub use bytes::{Bytes, all_zero, zeros};
pub use cut::{Chunk, Chunker};
pub use plan::{CONTENT_MAX, OWN_CHUNK, STEP, Span, plan};
