//! Checking threads: answers are decoded and compared with their hashes before anything else sees them.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::Sender;
use fai_core::storage::{Checker, Received, Refusal};
use tokio::sync::mpsc;

use super::contents::Contents;
use super::link::Heard;
use super::reconnect::Returned;
use crate::session::plan::Want;
use crate::session::schedule::LinkId;
use crate::wire::records::Answer;

/// What the driver hears.
pub(super) enum News {
    Record {
        link: LinkId,
        want: Want,
        received: Received,
        /// Raw bytes of an object, which lead on; chunks lead nowhere.
        raw: Vec<u8>,
    },
    Absent {
        link: LinkId,
        want: Want,
    },
    Wrong {
        link: LinkId,
        want: Want,
        refusal: Refusal,
    },
    Ended {
        link: LinkId,
        error: std::io::Error,
    },
    Returned(Returned),
}

/// Checks answers until there are no more, or nobody listens.
pub(super) fn run(heard: &Mutex<mpsc::Receiver<Heard>>, news: &Sender<News>, contents: &Contents) {
    let Ok(mut checker) = Checker::new() else { return };
    loop {
        let next = heard.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let told = match next {
            None => return,
            Some(Heard::Ended { link, error }) => News::Ended { link, error },
            Some(Heard::Returned(returned)) => News::Returned(returned),
            Some(Heard::Answer {
                link,
                want,
                answer: Answer::Absent,
            }) => News::Absent { link, want },
            Some(Heard::Answer {
                link,
                want,
                answer: Answer::Record(header, payload),
            }) => {
                let kind = want.promise.kind();
                match checker.check(&want.hash, header, payload) {
                    Ok((received, _)) if header.kind == kind => {
                        let raw = contents.take(kind, want.hash, &mut checker);
                        News::Record {
                            link,
                            want,
                            received,
                            raw,
                        }
                    }
                    Ok(_) => {
                        let refusal = Refusal::Content(want.hash);
                        News::Wrong { link, want, refusal }
                    }
                    Err(refusal) => News::Wrong { link, want, refusal },
                }
            }
        };
        if news.send(told).is_err() {
            return;
        }
    }
}
