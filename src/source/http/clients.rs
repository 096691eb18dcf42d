//! The open connections: how many there are, what each is doing, and which has to give way.
//!
//! Invariant: a new client is never kept out by one that does nothing. When all places are taken, the
//! connection that has been idle for longest is closed in order; a client that is told so connects again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A connection without a request for longer than this is not expected to send one soon.
const ASLEEP: Duration = Duration::from_secs(5);

/// What a connection is doing.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing, since.
    Idle(Instant),
    /// A request is on its way to us.
    Sending,
    /// Its request waits for the commit.
    Waiting,
}

#[derive(Debug)]
struct Client {
    state: State,
    leave: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    clients: HashMap<u64, Client>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Clients {
    open: Mutex<Open>,
    /// A connection has ended.
    left: Notify,
    /// A client waits for a commit, or has done what others might wait for.
    changed: Notify,
}

/// One of them; ends with this value.
#[derive(Debug)]
pub struct Place {
    clients: Arc<Clients>,
    id: u64,
    /// Told when it has to give way.
    pub leave: Arc<Notify>,
}

impl Clients {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection, of `most`; waits while all that are open have a request under way.
    pub async fn enter(self: &Arc<Self>, most: usize) -> Place {
        loop {
            let left = self.left.notified();
            {
                let mut open = self.open();
                if open.clients.len() < most {
                    let id = open.next;
                    open.next += 1;
                    let leave = Arc::<Notify>::default();
                    open.clients.insert(id, Client { state: State::Idle(Instant::now()), leave: leave.clone() });
                    return Place { clients: self.clone(), id, leave };
                }
                let idle = open.clients.values().filter_map(|client| match client.state {
                    State::Idle(since) => Some((since, client.leave.clone())),
                    State::Sending | State::Waiting => None,
                });
                if let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) {
                    longest.notify_one();
                }
            }
            // One that has just begun a request ends it first: another is asked then.
            let _ = tokio::time::timeout(Duration::from_millis(100), left).await;
        }
    }

    /// Whether some wait for a commit and nobody is about to send more before it.
    pub fn only_wait(&self) -> bool {
        let open = self.open();
        let mut waiting = 0;
        for client in open.clients.values() {
            match client.state {
                State::Waiting => waiting += 1,
                State::Sending => return false,
                State::Idle(since) if since.elapsed() < ASLEEP => return false,
                State::Idle(_) => {}
            }
        }
        waiting > 0
    }

    /// Waits until `only_wait` may have become true.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Place {
    fn set(&self, state: State) {
        if let Some(client) = self.clients.open().clients.get_mut(&self.id) {
            client.state = state;
        }
        self.clients.changed.notify_one();
    }

    /// A request has begun.
    pub fn sending(&self) {
        self.set(State::Sending);
    }

    /// Its request is handed over.
    pub fn waiting(&self) {
        self.set(State::Waiting);
    }

    /// It was answered.
    pub fn idle(&self) {
        self.set(State::Idle(Instant::now()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.open().clients.remove(&self.id);
        self.clients.left.notify_one();
        self.clients.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_one_that_is_idle_for_longest_gives_way_and_busy_ones_do_not() {
        let clients = Arc::<Clients>::default();
        let first = clients.enter(2).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = clients.enter(2).await;
        first.sending();
        let entering = tokio::spawn({
            let clients = clients.clone();
            async move { clients.enter(2).await }
        });
        second.leave.notified().await;
        drop(second);
        let third = entering.await.unwrap();
        third.waiting();
        let timeout = tokio::time::timeout(Duration::from_secs(60), clients.enter(2)).await;
        assert!(timeout.is_err(), "both have a request under way");
        first.idle();
        let entering = tokio::spawn({
            let clients = clients.clone();
            async move { clients.enter(2).await }
        });
        first.leave.notified().await;
        drop(first);
        entering.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_is_made_when_all_wait_who_may_send_soon() {
        let clients = Arc::<Clients>::default();
        let (one, two) = (clients.enter(9).await, clients.enter(9).await);
        assert!(!clients.only_wait());
        one.waiting();
        assert!(!clients.only_wait(), "the other has just come");
        two.sending();
        tokio::time::advance(ASLEEP).await;
        assert!(!clients.only_wait());
        two.waiting();
        assert!(clients.only_wait());
        two.idle();
        assert!(!clients.only_wait());
        tokio::time::advance(ASLEEP).await;
        assert!(clients.only_wait(), "it has been silent for long");
        drop(one);
        assert!(!clients.only_wait());
    }
}
