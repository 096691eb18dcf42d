//! The bounded queue of frames from a source to its intake, with acknowledgements ("safe") in the other direction.
//!
//! Every frame carries a permit for its bytes; the permit is given back when the frame has
//! settled and is dropped. Frames are numbered from 1 and settle in the order of their numbers.

use super::frame::Frame;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// A source that holds at most so many bytes has no share in a shortage of memory: a quarter of the usual budget.
const LITTLE: usize = 1 << 20;
/// The smallest share of the budget that one frame takes, in bytes.
const LEAST: usize = 128;

/// The bytes that a source may hold, for whoever must ask for them back.
#[derive(Debug, Clone)]
pub struct Budget {
    free: Arc<Semaphore>,
    total: usize,
}

impl Budget {
    /// Whether the source holds so little that nothing is gained by asking for it.
    #[must_use]
    pub fn holds_little(&self) -> bool {
        self.total - self.free.available_permits() <= LITTLE
    }

    /// Lets the source hand over nothing until all that it holds is safe. Cancel safe.
    pub async fn drain(&self) {
        let all = u32::try_from(self.total).unwrap_or(u32::MAX);
        // The semaphore is never closed. It serves in order: whoever asks for room now waits for this.
        drop(self.free.acquire_many(all).await);
    }
}

/// A frame with its number and the permit for its bytes.
#[derive(Debug)]
pub struct Held {
    /// The number of the frame, from 1.
    pub id: u64,
    /// The frame itself.
    pub frame: Frame,
    /// The frame's share of the budget; dropping the permit gives the share back.
    pub permit: OwnedSemaphorePermit,
}

/// The source's end: it hands frames over and learns which frames are safe.
#[derive(Debug)]
pub struct Giver {
    frames: mpsc::Sender<Held>,
    budget: Arc<Semaphore>,
    total: usize,
    settled: watch::Receiver<u64>,
    next: u64,
    /// The number of the last frame that the source waits for; it rises when the source must wait for a commit.
    hurry: watch::Sender<u64>,
}

/// The intake's end: it takes frames and settles them.
#[derive(Debug)]
pub struct Taker {
    frames: mpsc::Receiver<Held>,
    settled: watch::Sender<u64>,
    hurry: watch::Receiver<u64>,
}

/// Makes a connected pair of ends with room for `budget` bytes.
#[must_use]
pub fn handover(budget: usize) -> (Giver, Taker) {
    let (frames, taken) = mpsc::channel((budget / LEAST).max(1));
    let (settled, told) = watch::channel(0);
    let (hurry, hurried) = watch::channel(0);
    let giver =
        Giver { frames, budget: Arc::new(Semaphore::new(budget)), total: budget, settled: told, next: 1, hurry };
    (giver, Taker { frames: taken, settled, hurry: hurried })
}

impl Giver {
    fn share(&self, frame: &Frame) -> u32 {
        u32::try_from(frame.weight().clamp(LEAST, self.total.max(LEAST))).unwrap_or(u32::MAX)
    }

    fn number(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        id
    }

    /// Hands a frame over if there is room.
    ///
    /// # Errors
    /// Gives the frame back when there is no room, or when the intake is gone.
    pub fn try_push(&mut self, frame: Frame) -> Result<u64, Box<Frame>> {
        let permit = self.budget.clone().try_acquire_many_owned(self.share(&frame));
        let (Ok(permit), Ok(slot)) = (permit, self.frames.clone().try_reserve_owned()) else {
            return Err(Box::new(frame));
        };
        let id = self.number();
        slot.send(Held { id, frame, permit });
        Ok(id)
    }

    /// Hands a frame over, waiting for room; `None` when the intake is gone.
    pub async fn push(&mut self, frame: Frame) -> Option<u64> {
        let permit = self.budget.clone().acquire_many_owned(self.share(&frame)).await.ok()?;
        let id = self.number();
        self.frames.send(Held { id, frame, permit }).await.ok()?;
        Some(id)
    }

    /// The budget that the frames of this source take from.
    #[must_use]
    pub fn budget(&self) -> Budget {
        Budget { free: self.budget.clone(), total: self.total }
    }

    /// Tells the intake that no frame follows until all handed-over frames are safe, so waiting gains nothing.
    pub fn hurry(&self) {
        self.hurry.send_replace(self.next - 1);
    }

    /// The number of the last settled frame: all frames up to it are safe.
    #[must_use]
    pub fn settled(&self) -> u64 {
        *self.settled.borrow()
    }

    /// Waits until more frames have settled; `None` when the intake is gone. Cancel safe.
    pub async fn more_settled(&mut self) -> Option<u64> {
        self.settled.changed().await.ok()?;
        Some(*self.settled.borrow_and_update())
    }

    /// Waits until the intake is gone. Cancel safe.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let frames = self.frames.clone();
        async move { frames.closed().await }
    }

    /// Whether at least half of the budget is free.
    #[must_use]
    pub fn is_roomy(&self) -> bool {
        self.budget.available_permits() * 2 >= self.total
    }
}

impl Taker {
    /// The next frame; `None` when the source has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Held> {
        self.frames.recv().await
    }

    /// The number of the last frame that the source waits for. It changes when the source calls `hurry`.
    #[must_use]
    pub fn hurry(&self) -> watch::Receiver<u64> {
        self.hurry.clone()
    }

    /// Whether no frame waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Tells the source that everything up to `id` is safe.
    pub fn settle(&self, id: u64) {
        self.settled.send_replace(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::frame::Payload;
    use bytes::Bytes;

    fn frame(size: usize) -> Frame {
        Frame::new("", Payload::One(Bytes::from(vec![0; size])))
    }

    #[tokio::test]
    async fn what_is_not_settled_holds_its_share() {
        let (mut giver, mut taker) = handover(1000);
        assert_eq!(giver.try_push(frame(600)), Ok(1));
        assert!(giver.try_push(frame(600)).is_err());
        let held = taker.next().await.unwrap();
        assert!(giver.try_push(frame(600)).is_err(), "taken is not settled");
        taker.settle(held.id);
        drop(held);
        assert_eq!(giver.more_settled().await, Some(1));
        assert_eq!(giver.try_push(frame(600)), Ok(2), "and numbers have no holes");
    }

    #[tokio::test]
    async fn while_the_budget_drains_nothing_is_taken() {
        let (mut giver, mut taker) = handover(8000);
        let budget = giver.budget();
        budget.drain().await;
        giver.try_push(frame(600)).unwrap();
        let mut drain = std::pin::pin!(budget.drain());
        assert!(futures_poll(drain.as_mut()).is_pending(), "a frame is held");
        assert!(giver.try_push(frame(100)).is_err());
        drop(taker.next().await);
        drain.await;
        assert!(giver.try_push(frame(100)).is_ok());
    }

    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[tokio::test]
    async fn a_frame_larger_than_the_budget_passes_alone() {
        let (mut giver, _taker) = handover(1000);
        assert_eq!(giver.push(frame(5000)).await, Some(1));
    }
}
