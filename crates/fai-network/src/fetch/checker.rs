//! Checking threads: answers are decoded and compared with their hashes before anything else sees them.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::Sender;
use fai_core::object::Kind;
use fai_core::repo::Store;
use fai_core::storage::{Checker, Received, RecordHeader, Refusal};
use tokio::sync::mpsc;

use super::contents::Contents;
use super::link::Heard;
use super::reconnect::Returned;
use crate::session::bases::{Ask, Offer};
use crate::session::schedule::LinkId;
use crate::wire::records::Answer;

/// What the driver hears.
pub(super) enum News {
    Record {
        link: LinkId,
        ask: Ask,
        received: Received,
        /// Raw bytes of an object, which lead on; chunks lead nowhere.
        raw: Vec<u8>,
    },
    Offer {
        link: LinkId,
        ask: Ask,
        offer: Offer,
    },
    /// A delta whose base cannot be read here.
    Baseless {
        link: LinkId,
        ask: Ask,
    },
    Absent {
        link: LinkId,
        ask: Ask,
    },
    Wrong {
        link: LinkId,
        ask: Ask,
        refusal: Refusal,
    },
    Ended {
        link: LinkId,
        error: std::io::Error,
    },
    Returned(Returned),
}

/// Checks answers until there are no more, or nobody listens. Bases are read from `store`.
pub(super) fn run(heard: &Mutex<mpsc::Receiver<Heard>>, news: &Sender<News>, contents: &Contents<'_>, store: &Store) {
    let Ok(mut checker) = Checker::new() else { return };
    loop {
        let next = heard.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let told = match next {
            None => return,
            Some(Heard::Ended { link, error }) => News::Ended { link, error },
            Some(Heard::Returned(returned)) => News::Returned(returned),
            Some(Heard::Answer { link, ask, answer }) => match answer {
                Answer::Absent => News::Absent { link, ask },
                Answer::Offer(offer) => News::Offer { link, ask, offer },
                Answer::Record(header, payload) => match check(&mut checker, store, &ask, header, payload) {
                    None => News::Baseless { link, ask },
                    Some(Err(refusal)) => News::Wrong { link, ask, refusal },
                    Some(Ok(received)) => News::Record {
                        link,
                        ask,
                        received,
                        raw: contents.take(header.kind, header.hash, &mut checker),
                    },
                },
            },
        };
        if news.send(told).is_err() {
            return;
        }
    }
}

/// Checks a record; `None` when it is a delta whose base cannot be read here.
fn check(
    checker: &mut Checker,
    store: &Store,
    ask: &Ask,
    header: RecordHeader,
    payload: Vec<u8>,
) -> Option<Result<Received, Refusal>> {
    let wanted = &ask.want.hash;
    if header.kind != ask.want.promise.kind() {
        return Some(Err(Refusal::Content(*wanted)));
    }
    let checked = match header.base {
        None => checker.check(wanted, header, payload),
        Some(base) => {
            let against = |raw: &[u8], _: &_| {
                let checked = checker.check_against(wanted, header, payload, raw);
                checked.map(|(received, _)| received)
            };
            let read = store.with(Kind::Chunk, &base, against);
            return read
                .inspect_err(|error| tracing::warn!(%error, "a base cannot be read"))
                .ok();
        }
    };
    Some(checked.map(|(received, _)| received))
}
