//! What systemd is told: that the agent is ready, alive, and how its parts are. All of it is read off the parts'
//! own health. Outside of systemd nothing is sent.

use crate::agent::{Agent, PartId};
use crate::flow::health::Status;
use sd_notify::NotifyState;
use std::time::Duration;

/// The status line is sent this often.
const STATUS: Duration = Duration::from_secs(10);
/// systemd shows one line.
const MOST_STATUS_BYTES: usize = 500;

/// The service manager.
#[derive(Debug)]
pub(super) struct Systemd {
    /// How long the manager waits for a sign of life, where it watches.
    watchdog: Option<Duration>,
}

impl Systemd {
    pub fn new() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled() }
    }

    /// How often `alive` is to be called: in half the time that the watchdog waits.
    pub fn interval(&self) -> Duration {
        self.watchdog.map_or(STATUS, |limit| (limit / 2).min(STATUS)).max(Duration::from_millis(10))
    }

    pub fn ready(agent: &Agent) {
        send(&[NotifyState::Ready, NotifyState::Status(&line(&agent.health()))]);
    }

    /// A sign of life. It comes from the loop that serves signals: the parts have their own health.
    pub fn alive(&self, agent: &Agent) {
        let status = line(&agent.health());
        let status = NotifyState::Status(&status);
        if self.watchdog.is_some() {
            send(&[NotifyState::Watchdog, status]);
        } else {
            send(&[status]);
        }
    }

    /// Gives signs of life while something takes its time.
    pub async fn alive_while<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut tick = tokio::time::interval(self.interval());
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = tick.tick() => if self.watchdog.is_some() {
                    send(&[NotifyState::Watchdog]);
                },
            }
        }
    }

    pub fn reloading() {
        // The manager wants to know when it began, by the clock that it has too.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(_) => send(&[NotifyState::Reloading]),
        }
    }

    pub fn stopping() {
        send(&[NotifyState::Stopping]);
    }
}

fn send(states: &[NotifyState<'_>]) {
    // Without a manager there is nobody to tell; one that does not listen is no reason to stop.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

/// `2 of 3 up; sink.hub waiting: connection refused`.
fn line(parts: &[(PartId, Status)]) -> String {
    let up = parts.iter().filter(|(_, status)| status.health.is_good()).count();
    let mut line = format!("{up} of {} up", parts.len());
    for (part, status) in parts.iter().filter(|(_, status)| !status.health.is_good()) {
        line.push_str(&format!("; {part} {}", status.health).replace('\n', " "));
    }
    let mut end = line.len().min(MOST_STATUS_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}
