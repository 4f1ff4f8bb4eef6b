//! The storage engine of `fai`.
pub mod chunking;
pub mod codec;
pub mod object;
pub mod tensor;
