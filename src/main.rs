//! The `fai` program.
fn main() {}
