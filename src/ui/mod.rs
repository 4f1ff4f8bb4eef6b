//! What people and scripts see: lines with symbols, tables, JSON, progress, errors. Nothing else prints.

pub mod errors;
pub mod format;
pub mod logging;
mod output;
pub mod plot;
mod progress;
pub mod qr;
pub mod table;
pub mod text_diff;

pub use output::{Output, Symbol};
pub use progress::Bar;
