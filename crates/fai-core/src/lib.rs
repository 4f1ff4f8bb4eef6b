//! The storage engine of `fai`.
pub mod chunking;
pub mod codec;
pub mod database;
pub mod object;
pub mod repo;
pub mod storage;
pub mod tensor;

pub use repo::Repository;
