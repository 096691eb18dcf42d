//! Checks the bytes of a peer before the AMQP library reads them. The library reserves memory for as many bytes as
//! a value claims to have, and goes one call deeper for each level of nesting. So one frame of a
//! hostile peer would end the process.
//!
//! Invariant: a frame is handed on only when it is complete, no longer than the limit that we announced, and sound.
//! In a sound frame every length and count fits into the frame (OASIS AMQP 1.0, part 1, section 1.6, and part 2,
//! section 2.3).

use bytes::{Buf, BytesMut};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The length of a protocol header, and of the fixed beginning of each frame, in bytes.
const HEAD: usize = 8;
/// At most this many bytes are read at a time.
const STEP: usize = 8 << 10;
/// The deepest nesting of values that is accepted; the service never nests deeper.
const DEEPEST: u32 = 32;

/// A stream whose peer is not trusted.
#[derive(Debug)]
pub struct Guard<S> {
    stream: S,
    /// The longest frame, in bytes.
    limit: usize,
    received: BytesMut,
    /// The number of received bytes that were checked: whole frames that are sound.
    sound: usize,
}

impl<S> Guard<S> {
    /// Frames of up to `limit` bytes pass.
    pub fn new(stream: S, limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { stream, limit, received: BytesMut::new(), sound: 0 }
    }

    /// Checks the whole frames among the received bytes.
    fn look(&mut self) -> io::Result<()> {
        while let Some(head) = self.received[self.sound..].first_chunk::<HEAD>() {
            let length = if head.starts_with(b"AMQP") {
                HEAD
            } else {
                let [a, b, c, d, ..] = *head;
                usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX)
            };
            if !(HEAD..=self.limit).contains(&length) {
                return Err(unsound());
            }
            let Some(frame) = self.received[self.sound..].get(..length) else { return Ok(()) };
            if !frame.starts_with(b"AMQP") && !is_sound_frame(frame) {
                return Err(unsound());
            }
            self.sound += length;
        }
        Ok(())
    }
}

fn unsound() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what the peer sends is no AMQP, or damaged")
}

/// Whether all lengths in a frame, its header included, fit into the frame.
fn is_sound_frame(frame: &[u8]) -> bool {
    // The offset of the body is counted in words of four bytes.
    let body = frame.get(4).and_then(|words| frame.get(usize::from(*words) * 4..));
    body.is_some_and(is_sound)
}

/// Whether bytes are whole AMQP values, one after the other.
#[must_use]
pub fn is_sound(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match value(bytes, DEEPEST) {
            Some(rest) => bytes = rest,
            None => return false,
        }
    }
    true
}

/// The bytes after a value; `None` when the value is not sound.
fn value(bytes: &[u8], deeper: u32) -> Option<&[u8]> {
    let (code, rest) = constructor(bytes, deeper)?;
    content(code, rest, deeper)
}

/// The code of a type, after its descriptors, and the bytes after the code.
fn constructor(bytes: &[u8], deeper: u32) -> Option<(u8, &[u8])> {
    match bytes.split_first()? {
        (0, rest) => constructor(value(rest, deeper.checked_sub(1)?)?, deeper.checked_sub(1)?),
        (code, rest) => Some((*code, rest)),
    }
}

/// The bytes after the content of a value; `None` when the content is not sound.
fn content(code: u8, bytes: &[u8], deeper: u32) -> Option<&[u8]> {
    match code >> 4 {
        0x4 => Some(bytes),
        width @ 0x5..=0x9 => bytes.get(1 << (width - 5)..),
        kind @ 0xa..=0xf => {
            let wide = kind % 2 == 1;
            let (size, rest) = number(bytes, wide)?;
            let (inside, rest) = rest.split_at_checked(size)?;
            let fits = match kind {
                0xc | 0xd => is_compound(inside, wide, deeper.checked_sub(1)?),
                0xe | 0xf => is_array(inside, wide, deeper.checked_sub(1)?),
                _ => true,
            };
            fits.then_some(rest)
        }
        _ => None,
    }
}

fn number(bytes: &[u8], wide: bool) -> Option<(usize, &[u8])> {
    if wide {
        let (number, rest) = bytes.split_first_chunk::<4>()?;
        Some((usize::try_from(u32::from_be_bytes(*number)).ok()?, rest))
    } else {
        let (number, rest) = bytes.split_first()?;
        Some((usize::from(*number), rest))
    }
}

fn is_compound(bytes: &[u8], wide: bool, deeper: u32) -> bool {
    let all = || {
        let (count, rest) = number(bytes, wide)?;
        (0..count).try_fold(rest, |rest, _| value(rest, deeper))
    };
    all().is_some_and(<[u8]>::is_empty)
}

fn is_array(bytes: &[u8], wide: bool, deeper: u32) -> bool {
    let all = || {
        let (count, rest) = number(bytes, wide)?;
        if count == 0 && rest.is_empty() {
            return Some(rest);
        }
        let (code, rest) = constructor(rest, deeper)?;
        // Elements without bytes take no room in the frame, so their number needs a limit of its own.
        if code >> 4 == 0x4 && count > bytes.len() {
            return None;
        }
        (0..count).try_fold(rest, |rest, _| content(code, rest, deeper))
    };
    all().is_some_and(<[u8]>::is_empty)
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.sound == 0 {
            let mut step = [0; STEP];
            let mut read = ReadBuf::new(&mut step);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.received.extend_from_slice(read.filled());
            this.look()?;
        }
        let count = this.sound.min(buffer.remaining());
        buffer.put_slice(&this.received[..count]);
        this.received.advance(count);
        this.sound -= count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn lengths_and_counts_that_do_not_fit_are_found_and_sound_values_are_not_refused() {
        let nested = |levels: usize| {
            let mut bytes = vec![0x45];
            for _ in 0..levels {
                let size = u32::try_from(bytes.len() + 4).unwrap().to_be_bytes();
                bytes = [&[0xd0][..], &size, &[0, 0, 0, 1], &bytes].concat();
            }
            bytes
        };
        let good: [&[u8]; 9] = [
            b"",
            &[0x40],
            &[0x00, 0x53, 0x10, 0xc0, 6, 2, 0xa1, 1, b'a', 0xa1, 0],
            &[0x00, 0x53, 0x75, 0xa0, 2, 1, 2, 0x41],
            &[0xe0, 6, 2, 0xa3, 1, b'a', 1, b'b'],
            &[0xf0, 0, 0, 0, 7, 0, 0, 0, 2, 0x50, 1, 2],
            &[0x98, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0xd1, 0, 0, 0, 8, 0, 0, 0, 2, 0xa3, 1, b'k', 0x42],
            &nested(30),
        ];
        for bytes in good {
            assert!(is_sound(bytes), "{bytes:02x?}");
        }
        let bad: [&[u8]; 10] = [
            &[0x00],
            &[0x10],
            &[0xa1, 2, b'a'],
            &[0xb1, 0x7f, 0xff, 0xff, 0xff, b'a'],
            &[0xd0, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x40],
            &[0xd0, 0, 0, 0, 5, 0x7f, 0xff, 0xff, 0xff, 0x40],
            &[0xc0, 3, 1, 0x40, 0x40],
            &[0xf0, 0, 0, 0, 5, 0x7f, 0xff, 0xff, 0xff, 0x40],
            &nested(40),
            &[0; 100],
        ];
        for bytes in bad {
            assert!(!is_sound(bytes), "{bytes:02x?}");
        }
    }

    #[tokio::test]
    async fn whole_frames_pass_in_any_pieces_and_nothing_follows_a_bad_one() {
        let (mut peer, ours) = tokio::io::duplex(7);
        let mut ours = Guard::new(ours, 512);
        let good =
            [&b"AMQP\x03\x01\x00\x00"[..], &[0, 0, 0, 10, 2, 0, 0, 0, 0x50, 7], &[0, 0, 0, 8, 2, 0, 0, 0]].concat();
        let sent = good.clone();
        tokio::spawn(async move {
            peer.write_all(&sent).await.unwrap();
            // 16 MiB, it says.
            let _ = peer.write_all(&[1, 0, 0, 0, 2, 0, 0, 0, 0x40]).await;
        });
        let mut read = vec![0; good.len()];
        ours.read_exact(&mut read).await.unwrap();
        assert_eq!(read, good);
        assert_eq!(ours.read(&mut read).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
