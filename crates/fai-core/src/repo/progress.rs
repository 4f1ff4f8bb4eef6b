//! How long work tells that it goes on.

/// A piece of news.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// So much work there is in all.
    Total {
        /// Number of files.
        files: u64,
        /// Bytes over all of them.
        bytes: u64,
    },
    /// Work on this file begins.
    File(&'a str),
    /// So many more bytes are done.
    Bytes(u64),
    /// One more file is done.
    FileDone,
    /// Who brings it, where others do.
    Peers {
        /// Peers that something is on its way from.
        sending: usize,
        /// Those among them that are reached by way of another peer.
        relayed: usize,
    },
    /// Everything has come and is read once more, file by file: the bytes that follow are those of that.
    Checking {
        /// Number of files.
        files: u64,
        /// Bytes over all of them.
        bytes: u64,
    },
    /// Something that the user should know, though work goes on.
    Warning(&'a str),
}

/// Hears of progress, possibly from several threads.
pub trait Progress: Sync {
    /// Takes note of an event; must be quick.
    fn on(&self, event: Event<'_>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn on(&self, _: Event<'_>) {}
}
