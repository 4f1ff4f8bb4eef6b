//! Frames: a length of four bytes, little-endian, and as many bytes. A stream that ends inside a frame was cut.

use std::future::Future;
use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{PATIENCE, SILENCE};

/// Reads one frame of at most `max` bytes; `None` when the stream ends before it.
///
/// # Errors
/// When the frame is longer, cut, or does not come in time.
pub async fn read(stream: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Option<Vec<u8>>> {
    read_within(stream, max, SILENCE).await
}

/// The same for the next request of a peer that may have to think first.
///
/// # Errors
/// As [`read`].
pub async fn read_patiently(stream: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Option<Vec<u8>>> {
    read_within(stream, max, PATIENCE).await
}

async fn read_within(
    stream: &mut (impl AsyncRead + Unpin),
    max: usize,
    patience: Duration,
) -> io::Result<Option<Vec<u8>>> {
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
    let mut bytes = vec![0; len];
    fill(stream, &mut bytes).await?;
    Ok(Some(bytes))
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

/// Fills `buffer`. The peer may take as long as it wants, but must not fall silent.
///
/// # Errors
/// When the stream ends before, or nothing comes for a while.
pub async fn fill(stream: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> io::Result<()> {
    let mut rest = buffer;
    while !rest.is_empty() {
        let count = in_time(stream.read(rest)).await?;
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
/// When the stream fails, or the peer takes nothing for a while.
pub async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = in_time(stream.write(rest)).await?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "the peer hung up"));
        }
        rest = rest.get(count..).unwrap_or_default();
    }
    Ok(())
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
        Err(_) => {
            let reason = format!("the peer was silent for {} seconds", time.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, reason))
        }
    }
}
