//! The open connections: their number, the state of each, and which one must give way.
//!
//! Invariant: an idle client never keeps out a new one. When all places are taken, the connection that has been
//! idle for longest is closed in order. A client whose connection is closed in this way connects again.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A connection without a request for longer than this is not expected to send one soon.
const ASLEEP: Duration = Duration::from_secs(5);

/// The most addresses of ended connections that are remembered.
const LATELY: usize = 1024;

/// The state of a connection.
#[derive(Debug, Clone, Copy)]
enum State {
    /// The connection has had no request since this time.
    Idle(Instant),
    /// The client is sending a request.
    Sending,
    /// The request waits for its answer, for example for a commit.
    Waiting,
}

#[derive(Debug)]
struct Client {
    address: IpAddr,
    state: State,
    /// Whether the connection was asked to give way.
    is_leaving: bool,
    leave: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    clients: HashMap<u64, Client>,
    /// The addresses of connections that ended lately, and the time of the end. Many devices open a connection for
    /// each request.
    lately: HashMap<IpAddr, Instant>,
}

/// The open connections of a listener.
#[derive(Debug, Default)]
pub struct Clients {
    open: Mutex<Open>,
    /// Notified when a connection has ended.
    left: Notify,
    /// Notified when a connection ends or changes its state.
    changed: Notify,
}

/// The place of one connection. Dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    clients: Arc<Clients>,
    id: u64,
    /// Notified when the connection must give way.
    pub leave: Arc<Notify>,
}

impl Clients {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of `most` places for a new connection. Waits while all open connections have a request in
    /// progress.
    pub async fn enter(self: &Arc<Self>, most: usize, address: IpAddr) -> Place {
        loop {
            let left = self.left.notified();
            {
                let mut open = self.open();
                if open.clients.len() < most {
                    let id = open.next;
                    open.next += 1;
                    let leave = Arc::<Notify>::default();
                    let state = State::Idle(Instant::now());
                    open.clients.insert(id, Client { address, state, is_leaving: false, leave: leave.clone() });
                    return Place { clients: self.clone(), id, leave };
                }
                // A connection that was asked before and is still open may hang. So the next one is asked.
                let idle = open.clients.values_mut().filter_map(|client| match client.state {
                    State::Idle(since) if !client.is_leaving => Some((since, client)),
                    _ => None,
                });
                if let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) {
                    longest.is_leaving = true;
                    longest.leave.notify_one();
                }
            }
            // A connection that has just begun a request ends the request first. Then another connection is asked.
            let _ = tokio::time::timeout(Duration::from_millis(100), left).await;
        }
    }

    /// Whether some clients wait for a commit and no client is about to send more before it.
    pub fn only_wait(&self) -> bool {
        let mut open = self.open();
        open.lately.retain(|_, ended| ended.elapsed() < ASLEEP);
        let mut waiting = HashSet::new();
        for client in open.clients.values() {
            match client.state {
                State::Waiting => {
                    waiting.insert(client.address);
                }
                State::Sending => return false,
                State::Idle(since) if since.elapsed() < ASLEEP => return false,
                State::Idle(_) => {}
            }
        }
        !waiting.is_empty() && open.lately.keys().all(|address| waiting.contains(address))
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

    /// Notes that a request has begun.
    pub fn sending(&self) {
        self.set(State::Sending);
    }

    /// Notes that the request was handed over and waits for its answer.
    pub fn waiting(&self) {
        self.set(State::Waiting);
    }

    /// Whether no request is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let open = self.clients.open();
        open.clients.get(&self.id).is_none_or(|client| matches!(client.state, State::Idle(_)))
    }

    /// Notes that the request was answered.
    pub fn idle(&self) {
        self.set(State::Idle(Instant::now()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut open = self.clients.open();
            if let Some(client) = open.clients.remove(&self.id).filter(|_| open.lately.len() < LATELY) {
                open.lately.insert(client.address, Instant::now());
            }
        }
        self.clients.left.notify_one();
        self.clients.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test(start_paused = true)]
    async fn the_one_that_is_idle_for_longest_gives_way_and_busy_ones_do_not() {
        let clients = Arc::<Clients>::default();
        let first = clients.enter(2, HERE).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = clients.enter(2, HERE).await;
        first.sending();
        let entering = tokio::spawn({
            let clients = clients.clone();
            async move { clients.enter(2, HERE).await }
        });
        second.leave.notified().await;
        drop(second);
        let third = entering.await.unwrap();
        third.waiting();
        let timeout = tokio::time::timeout(Duration::from_secs(60), clients.enter(2, HERE)).await;
        assert!(timeout.is_err(), "both have a request under way");
        first.idle();
        let entering = tokio::spawn({
            let clients = clients.clone();
            async move { clients.enter(2, HERE).await }
        });
        first.leave.notified().await;
        drop(first);
        entering.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_is_made_when_all_wait_who_may_send_soon() {
        let clients = Arc::<Clients>::default();
        let (one, two) = (clients.enter(9, HERE).await, clients.enter(9, HERE).await);
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

    #[tokio::test(start_paused = true)]
    async fn devices_that_connect_for_each_request_may_come_again() {
        let clients = Arc::<Clients>::default();
        let there = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
        drop(clients.enter(9, there).await);
        let one = clients.enter(9, HERE).await;
        one.waiting();
        assert!(!clients.only_wait(), "the other may send soon");
        let again = clients.enter(9, there).await;
        again.waiting();
        assert!(clients.only_wait());
        drop(again);
        assert!(!clients.only_wait());
        tokio::time::advance(ASLEEP).await;
        assert!(clients.only_wait());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_go_does_not_keep_others_from_being_asked() {
        let clients = Arc::<Clients>::default();
        let hung = clients.enter(2, HERE).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = clients.enter(2, HERE).await;
        let entering = tokio::spawn({
            let clients = clients.clone();
            async move { clients.enter(2, HERE).await }
        });
        hung.leave.notified().await;
        second.leave.notified().await;
        drop(second);
        entering.await.unwrap();
    }
}
