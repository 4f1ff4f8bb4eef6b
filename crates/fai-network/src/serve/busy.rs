//! Answers in time: an asker takes a peer that says nothing for [`SILENCE`] for dead, so one that is too busy ends the wait
//! before that. What is given up here may go on reading on its thread, and takes what it needs for that with it.

use std::io;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};

use crate::wire::SILENCE;

/// How long an answer may take before the first byte of it is written.
const LONGEST: Duration = SILENCE.saturating_sub(Duration::from_secs(5));

/// Waits for `answer` as long as its asker does.
///
/// # Errors
/// When it takes longer.
pub(super) async fn soon<T>(answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(LONGEST, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "too much is asked for here at the moment: try again later",
        )),
    }
}

/// Prepares the next answer while one is written. As long as the asker takes that one, it hears something.
///
/// # Errors
/// When the writing fails.
pub(super) async fn meanwhile<T>(
    next: impl Future<Output = io::Result<T>>,
    writing: impl Future<Output = io::Result<()>>,
) -> io::Result<io::Result<T>> {
    match select(pin!(next), pin!(writing)).await {
        Either::Left((next, writing)) => writing.await.map(|()| next),
        Either::Right((written, next)) => {
            written?;
            Ok(soon(next).await)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    async fn after<T>(seconds: u64, result: T) -> io::Result<T> {
        sleep(Duration::from_secs(seconds)).await;
        Ok(result)
    }

    #[tokio::test(start_paused = true)]
    async fn an_asker_hears_something_before_it_gives_up() {
        assert!(soon(after(24, ())).await.is_ok());
        assert!(soon(after(26, ())).await.is_err());
        // However long it takes while something is on its way.
        assert_eq!(meanwhile(after(100, 1), after(90, ())).await.unwrap().unwrap(), 1);
        assert_eq!(meanwhile(after(10, 1), after(90, ())).await.unwrap().unwrap(), 1);
        assert!(meanwhile(after(100, 1), after(60, ())).await.unwrap().is_err());
        let broken = async { Err(io::Error::other("broken")) };
        assert!(meanwhile(after(1, 1), broken).await.is_err());
    }
}
