//! Where memory comes from. Buffers of a chunk's size come and go all the time, on many threads; the system's allocator gives
//! their pages back and faults them in again.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
