//! Acknowledgements that wait for a commit, in the order in which their messages came.

use super::wire::{Ack, Acked, Client};
use std::collections::VecDeque;

/// Each entry: the frame that must be safe, and the acknowledgement to send then.
#[derive(Debug, Default)]
pub struct Acks(VecDeque<(u64, Ack)>);

impl Acks {
    /// Adds an acknowledgement, which is sent when a frame is safe.
    pub fn push(&mut self, frame: u64, ack: Option<Ack>) {
        self.0.extend(ack.map(|ack| (frame, ack)));
    }

    /// Whether no acknowledgement waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends the acknowledgements of all frames that are safe.
    pub fn send(&mut self, client: &Client, settled: u64) {
        while let Some((_, ack)) = self.0.front().filter(|(frame, _)| *frame <= settled) {
            match client.acknowledge(ack) {
                Acked::Sent => {
                    self.0.pop_front();
                }
                // The queue holds more than MQTT allows in flight; the next settlement tries again.
                Acked::Full => return,
                // The connection is gone, and its acknowledgements with it: the broker sends the messages again.
                Acked::Gone => self.0.clear(),
            }
        }
    }
}
