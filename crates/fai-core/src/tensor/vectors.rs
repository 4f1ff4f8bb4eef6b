//! Loops over many elements, compiled for the vector units that the processor turns out to have.

use fearless_simd::{Level, Simd, dispatch};

/// Runs `work` with the widest vectors of this processor, as far as the compiler uses them for what is inlined there. What
/// comes of it is the same, to the bit: nothing is fused or put in another order.
#[inline(always)]
pub(crate) fn vectorised<T>(work: impl FnOnce() -> T) -> T {
    dispatch!(Level::new(), simd => simd.vectorize(work))
}
