//! What a transfer does next, without any network, clock or disk of its own: what is still missing, whom to ask for it, in which
//! form, and when to try a lost peer again. Tested without I/O, in a simulated network.

pub mod backoff;
pub mod bases;
pub mod plan;
pub mod schedule;
