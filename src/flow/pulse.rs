//! Finds tasks that hang: work that has begun and does not end, such as an endless loop or a call that blocks.
//!
//! A task notes when it begins to work, and when it is done. A watcher counts its looks; work that is older than some
//! looks hangs. So the tasks themselves never read a clock. A task that waits for data is not at work.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

/// The task that a pulse belongs to, and what follows if it hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The task shares its thread with others: when it hangs, they do, too. Only a new start of the agent helps.
    Shared,
    /// The work has a thread of its own, for a device that may be slow: nothing else hangs.
    Apart,
}

#[derive(Debug)]
struct Beat {
    part: Arc<str>,
    task: &'static str,
    work: Work,
    /// The look of the watcher after which the work began; 0 while there is no work.
    began: AtomicU64,
}

/// All tasks that are watched; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Pulses {
    beats: Arc<Mutex<Vec<Weak<Beat>>>>,
    looks: Arc<AtomicU64>,
}

/// A task that hangs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hang {
    /// The part that the task belongs to, such as `source.plant`.
    pub part: Arc<str>,
    /// The name of the task.
    pub task: &'static str,
    /// What follows.
    pub work: Work,
    /// The number of looks since the work began.
    pub looks: u64,
}

impl Pulses {
    /// The pulse of a new task. It is forgotten when the last clone is dropped.
    #[must_use]
    pub fn add(&self, part: &str, task: &'static str, work: Work) -> Pulse {
        let beat = Arc::new(Beat { part: part.into(), task, work, began: AtomicU64::new(0) });
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.retain(|beat| beat.strong_count() > 0);
        beats.push(Arc::downgrade(&beat));
        Pulse { beat, looks: self.looks.clone() }
    }

    /// Looks at all tasks. Returns the tasks whose work began at least `most` looks ago.
    #[must_use]
    pub fn look(&self, most: u64) -> Vec<Hang> {
        let now = self.looks.fetch_add(1, Relaxed) + 1;
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let hang = |beat: Arc<Beat>| {
            // Work that begins before the first look has begun at look 1.
            let looks = now.saturating_sub(Some(beat.began.load(Relaxed)).filter(|began| *began > 0)?);
            (looks >= most).then(|| Hang { part: beat.part.clone(), task: beat.task, work: beat.work, looks })
        };
        beats.iter().filter_map(Weak::upgrade).filter_map(hang).collect()
    }
}

/// The pulse of one task.
#[derive(Debug, Clone)]
pub struct Pulse {
    beat: Arc<Beat>,
    looks: Arc<AtomicU64>,
}

impl Default for Pulse {
    /// The pulse of a task that nobody watches.
    fn default() -> Self {
        Pulses::default().add("", "", Work::Apart)
    }
}

impl Pulse {
    /// Work begins. It is done when the returned value is dropped.
    #[must_use]
    pub fn begin(&self) -> Busy<'_> {
        self.beat.began.store(self.looks.load(Relaxed).max(1), Relaxed);
        Busy(&self.beat)
    }

    /// Watches a future: each of its polls is work.
    pub fn watch<F: Future + Send>(self, future: F) -> Watched<F> {
        Watched { future: Box::pin(future), pulse: self }
    }
}

/// Work in progress.
#[derive(Debug)]
pub struct Busy<'a>(&'a Beat);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.began.store(0, Relaxed);
    }
}

/// A future that is watched.
pub struct Watched<F> {
    future: Pin<Box<F>>,
    pulse: Pulse,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let watched = &mut *self;
        let _busy = watched.pulse.begin();
        watched.future.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn work_that_does_not_end_is_found_and_waiting_is_no_work() {
        let pulses = Pulses::default();
        let (go_on, blocked) = mpsc::channel::<()>();
        let (say, entered) = mpsc::channel();
        let waits = pulses.add("source.quiet", "run", Work::Shared).watch(std::future::pending::<()>());
        let hangs = pulses.add("source.plant", "run", Work::Shared).watch(async move {
            say.send(()).unwrap();
            let _ = blocked.recv();
        });
        let thread = std::thread::spawn(move || {
            let mut context = Context::from_waker(std::task::Waker::noop());
            let mut waits = std::pin::pin!(waits);
            assert!(waits.as_mut().poll(&mut context).is_pending());
            assert!(std::pin::pin!(hangs).poll(&mut context).is_ready());
        });
        entered.recv().unwrap();
        assert_eq!(pulses.look(2), [], "the first look");
        assert_eq!(pulses.look(2), [], "one look later");
        let found = Hang { part: "source.plant".into(), task: "run", work: Work::Shared, looks: 2 };
        assert_eq!(pulses.look(2), [found]);
        go_on.send(()).unwrap();
        thread.join().unwrap();
        assert_eq!(pulses.look(0), [], "the task has ended and is forgotten");
    }

    #[test]
    fn blocking_work_is_done_when_its_value_is_dropped() {
        let pulses = Pulses::default();
        let pulse = pulses.add("store", "commit", Work::Apart);
        let busy = pulse.begin();
        let _ = pulses.look(1);
        assert_eq!(pulses.look(1).len(), 1);
        drop(busy);
        assert_eq!(pulses.look(1), []);
    }
}
