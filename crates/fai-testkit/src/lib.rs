//! Tiny real models for tests. Development only: nothing here ships with `fai`, and nothing here knows `fai`.
//!
//! Each writer is a plain function from [`Tensor`]s to the bytes of a whole file, as the format's own library would
//! lay it out. Files that lie are made by the tests that need them.

pub mod gguf;
pub mod numpy;
pub mod onnx;
pub mod safetensors;
mod tensor;
pub mod torch;
mod weights;
pub mod zip;

pub use tensor::{DType, Tensor};
pub use weights::{noise, normal};
