//! What a transfer does next, without any network: the plan of what is still missing. Tested without I/O.

pub mod plan;
