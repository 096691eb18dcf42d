//! The messages to systemd: that the agent is ready, that it is alive, and the state of its parts. The state comes
//! from the health that the parts report. Without systemd nothing is sent.

use crate::agent::{Agent, PartId};
use crate::flow::health::Status;
use crate::telemetry::people;
use sd_notify::NotifyState;
use std::time::Duration;

/// The interval at which the status line is sent.
const STATUS: Duration = Duration::from_secs(10);
/// The most bytes of the status line, because systemd shows one line.
const MOST_STATUS_BYTES: usize = 500;

/// The connection to the service manager.
#[derive(Debug)]
pub(super) struct Systemd {
    /// The time that the manager waits for a sign of life, if it watches the agent.
    watchdog: Option<Duration>,
}

impl Systemd {
    pub fn new() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled() }
    }

    /// The interval for calls of `alive`: at most half of the time that the watchdog waits.
    pub fn interval(&self) -> Duration {
        self.watchdog.map_or(STATUS, |limit| (limit / 2).min(STATUS)).max(Duration::from_millis(10))
    }

    pub fn ready(agent: &Agent) {
        send(&[NotifyState::Ready, NotifyState::Status(&line(&agent.health()))]);
    }

    /// A sign of life, unless a task hangs for good. Parts that wait or fail have their own health.
    pub fn alive(&self, agent: &Agent) {
        let status = line(&agent.health());
        let status = NotifyState::Status(&status);
        // Without a sign of life the service manager starts the agent again.
        if self.watchdog.is_some() && !agent.is_stuck() {
            send(&[NotifyState::Watchdog, status]);
        } else {
            send(&[status]);
        }
    }

    /// Sends signs of life until the work is done.
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
        // The manager needs the time at which the reload began, on the clock that both share.
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
    // Without a manager there is nobody to notify. A manager that does not listen is no reason to stop.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

/// The status line: `2 of 3 up; sink.hub waiting: connection refused`.
fn line(parts: &[(PartId, Status)]) -> String {
    let up = parts.iter().filter(|(_, status)| status.health.is_good()).count();
    let mut line = format!("{up} of {} up", parts.len());
    for (part, status) in parts.iter().filter(|(_, status)| !status.health.is_good()) {
        line.push_str(&format!("; {part} {}", status.health).replace('\n', " "));
    }
    people::cut(&mut line, MOST_STATUS_BYTES);
    line
}
