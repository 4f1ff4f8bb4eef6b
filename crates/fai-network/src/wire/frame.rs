//! Frames: a length of four bytes, little-endian, and as many bytes. A stream that ends inside a frame was cut.

use std::future::Future;
use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::{PATIENCE, SILENCE};

/// Reads one frame of at most `max` bytes; `None` when the stream ends before it.
///
/// # Errors
/// When the frame is longer, cut, or does not come in time.
pub async fn read(stream: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Option<Vec<u8>>> {
    let read = read_within(stream, max, SILENCE, |_| Ok(())).await?;
    Ok(read.map(|(bytes, ())| bytes))
}

/// The same for the next request of a peer that may have to think first.
///
/// # Errors
/// As [`read`].
pub async fn read_patiently(stream: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Option<Vec<u8>>> {
    let read = read_within(stream, max, PATIENCE, |_| Ok(())).await?;
    Ok(read.map(|(bytes, ())| bytes))
}

/// Reads one frame that begins within `patience`, after `room` was found for its bytes.
///
/// # Errors
/// As [`read`], and when there is no room.
pub async fn read_within<R>(
    stream: &mut (impl AsyncRead + Unpin),
    max: usize,
    patience: Duration,
    room: impl FnOnce(usize) -> io::Result<R>,
) -> io::Result<Option<(Vec<u8>, R)>> {
    let mut head = [0; 4];
    let first = within(patience, stream.read(&mut head)).await?;
    if first == 0 {
        return Ok(None);
    }
    in_time(stream.read_exact(head.get_mut(first..).unwrap_or_default())).await?;
    let len = u32::from_le_bytes(head) as usize;
    if len > max {
        let reason = format!("a message of {len} bytes, where {max} are the most");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let room = room(len)?;
    let mut bytes = vec![0; len];
    match tokio::time::timeout(PATIENCE, fill(stream, &mut bytes)).await {
        Ok(filled) => filled?,
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "a message that does not end")),
    }
    Ok(Some((bytes, room)))
}

/// Writes one frame.
///
/// # Errors
/// When the stream fails or takes too long.
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(|_| io::Error::other("a message longer than 4 GiB"))?;
    send(stream, &len.to_le_bytes()).await?;
    send(stream, bytes).await?;
    in_time(stream.flush()).await
}

/// Fills `buffer`. The peer may take as long as it wants, but must neither fall silent nor trickle.
///
/// # Errors
/// When the stream ends before, or hardly anything comes for a while.
pub async fn fill(stream: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> io::Result<()> {
    let (mut rest, mut pace) = (buffer, Pace::new());
    while !rest.is_empty() {
        let count = pace.within(stream.read(rest)).await?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer hung up"));
        }
        rest = rest.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}

/// Writes all of `bytes`.
///
/// # Errors
/// When the stream fails, or the peer takes hardly anything for a while.
pub async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let (mut rest, mut pace) = (bytes, Pace::new());
    while !rest.is_empty() {
        let count = pace.within(stream.write(rest)).await?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "the peer hung up"));
        }
        rest = rest.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// What a peer must move of one message in [`SILENCE`] not to count as silent: one that sends a byte now and then would hold
/// a stream, and whoever waits for it, for ever.
const LEAST: usize = 1024;

/// Holds a peer to [`LEAST`].
struct Pace {
    until: Instant,
    moved: usize,
}

impl Pace {
    fn new() -> Self {
        Self {
            until: Instant::now() + SILENCE,
            moved: 0,
        }
    }

    /// Waits for a step, as long as the pace allows.
    async fn within(&mut self, step: impl Future<Output = io::Result<usize>>) -> io::Result<usize> {
        let Ok(count) = tokio::time::timeout_at(self.until, step).await else {
            return Err(silent(SILENCE));
        };
        self.moved += *count.as_ref().unwrap_or(&0);
        if self.moved >= LEAST {
            *self = Self::new();
        }
        count
    }
}

/// Pushes out what was written.
///
/// # Errors
/// When the stream fails or the peer takes nothing.
pub async fn flush(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    in_time(stream.flush()).await
}

/// Ends the wait for a silent peer.
async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    within(SILENCE, step).await
}

async fn within<T>(time: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(time, step).await {
        Ok(result) => result,
        Err(_) => Err(silent(time)),
    }
}

fn silent(time: Duration) -> io::Error {
    let reason = format!("the peer was silent for {} seconds", time.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// Gives, and takes, so many bytes every second.
    struct Slow {
        at_once: usize,
        pause: Pin<Box<tokio::time::Sleep>>,
    }

    impl Slow {
        fn new(at_once: usize) -> Self {
            let pause = Box::pin(tokio::time::sleep(Duration::from_secs(1)));
            Self { at_once, pause }
        }

        fn poll(&mut self, context: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
            std::task::ready!(self.pause.as_mut().poll(context));
            *self = Self::new(self.at_once);
            Poll::Ready(Ok(self.at_once.min(room)))
        }
    }

    impl AsyncRead for Slow {
        fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
            self.poll(context, out.len())
        }
    }

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.poll(context, bytes.len())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_silence_and_a_slow_line_is_not() {
        let mut message = vec![0; 100_000];
        for (a_second, passes) in [(1, false), (30, false), (40, true), (5000, true)] {
            let read = fill(&mut Slow::new(a_second), &mut message).await;
            assert_eq!(read.is_ok(), passes, "reading {a_second} bytes a second: {read:?}");
            let written = send(&mut Slow::new(a_second), &message).await;
            assert_eq!(
                written.is_ok(),
                passes,
                "writing {a_second} bytes a second: {written:?}"
            );
        }
        let head = 1_000_000u32.to_le_bytes();
        let mut endless = head.as_slice().chain(Slow::new(1000));
        let cut = read(&mut endless, 1 << 20).await;
        assert!(cut.is_err(), "a message is not waited for without end: {cut:?}");
        let short = fill(&mut Slow::new(1), &mut message[..20]).await;
        assert!(short.is_ok(), "what is short may be slow: {short:?}");
    }
}
