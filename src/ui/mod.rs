//! What people and scripts see: lines with symbols, tables, JSON, progress, errors. Nothing else prints.

pub mod bar;
pub mod errors;
pub mod file;
pub mod format;
pub mod graph;
pub mod logging;
mod output;
pub mod pager;
pub mod plot;
mod progress;
pub mod qr;
pub mod table;
pub mod text_diff;

pub use output::{Output, Symbol};
pub use progress::Bar;
