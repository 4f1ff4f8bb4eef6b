//! The storage engine of `fai`.
pub mod tensor;
