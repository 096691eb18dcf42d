//! Shows the numbers: in place on a terminal, line by line in a pipe.

use crate::platform::clock;
use crate::store::Backlog;
use crate::telemetry::people::{age, size};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Read, Write};
use std::time::Duration;
use tokio::sync::mpsc;

/// The width of a terminal.
const COLUMNS: usize = 80;

/// The action that a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Cut the uplink, or restore it.
    Outage,
    /// End the demo.
    Quit,
}

/// The numbers at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    /// The time since the start.
    pub elapsed: Duration,
    /// The number of readings that the devices sent.
    pub sent: u64,
    /// The number of records on disk.
    pub safe: u64,
    /// The number of distinct values at the hub.
    pub delivered: u64,
    /// The records that are not delivered.
    pub backlog: Backlog,
    /// The bytes on the wire for each reading.
    pub bytes_per_reading: f64,
    /// Whether the uplink is cut.
    pub cut: bool,
    /// The seconds until the agent tries again, when the uplink is back.
    pub reconnecting: Option<u64>,
}

/// The display of the demo, with its keyboard.
#[derive(Debug)]
pub struct Screen {
    terminal: bool,
    before: Option<Termios>,
    keys: Option<mpsc::Receiver<Key>>,
    shown: Option<(u64, bool)>,
}

impl Screen {
    /// Takes the keyboard if there is one.
    pub fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let before = (terminal && std::io::stdin().is_terminal()).then(|| tcgetattr(std::io::stdin()).ok()).flatten();
        let keys = before.as_ref().map(|before| {
            let mut single = before.clone();
            single.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            // If single keys are not possible, the user presses Enter after the key.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &single);
            listen()
        });
        Self { terminal, before, keys, shown: None }
    }

    /// Shows the title above the numbers.
    pub fn begin(&self, title: &str) {
        say!("{title}");
        if self.keys.is_some() {
            say!("keys: o cuts and restores the uplink, q ends");
        }
    }

    /// Shows the numbers; in a pipe, once a second.
    pub fn show(&mut self, now: &Snapshot) {
        let second = (now.elapsed.as_secs(), now.cut);
        if !self.terminal && self.shown.replace(second) == Some(second) {
            return;
        }
        let oldest = now.backlog.oldest_ms.filter(|_| now.backlog.records > 0);
        let oldest = oldest.map_or("-".into(), |oldest| age(clock::wall_ms() - oldest));
        let link = match (now.cut, &now.reconnecting) {
            (true, _) => "uplink CUT".to_string(),
            (false, Some(seconds)) => format!("reconnecting in {seconds} s"),
            (false, None) => "uplink up".into(),
        };
        let elapsed = age(i64::try_from(now.elapsed.as_millis()).unwrap_or(0));
        let Snapshot { sent, safe, delivered, backlog, .. } = now;
        let waits = size(backlog.bytes);
        let text = if self.terminal {
            line(&format!("{elapsed:>4} {link}"), [*sent, *safe, *delivered, backlog.records], &waits)
        } else {
            format!(
                "{elapsed:>5} {link}  sent {sent:>8}  safe {safe:>8}  delivered {delivered:>8}  backlog {:>7} ({waits}, \
                 oldest {oldest})  {:.1} B/reading",
                backlog.records, now.bytes_per_reading,
            )
        };
        if self.terminal {
            // If the terminal is gone, nothing is shown, and the demo goes on.
            let _ = write!(std::io::stdout(), "\r\x1b[2K{text}").and_then(|()| std::io::stdout().flush());
        } else {
            say!("{text}");
        }
    }

    /// Shows the result, and gives the keyboard back.
    pub fn end(&mut self, text: &str) {
        if self.terminal {
            say!("");
        }
        say!("{text}");
        self.give_back();
    }

    /// Waits for the next key; for ever without a keyboard.
    pub async fn key(&mut self) -> Key {
        match &mut self.keys {
            Some(keys) => match keys.recv().await {
                Some(key) => key,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    fn give_back(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Reads keys on a thread of its own, because a read of the terminal cannot be cancelled.
fn listen() -> mpsc::Receiver<Key> {
    let (sender, keys) = mpsc::channel(8);
    std::thread::spawn(move || {
        for byte in std::io::stdin().lock().bytes().map_while(Result::ok) {
            let key = match byte {
                b'o' | b'O' => Key::Outage,
                b'q' | b'Q' => Key::Quit,
                _ => continue,
            };
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}

/// The line of a terminal of 80 columns: with the bytes that wait, where there is room for them.
fn line(link: &str, [sent, safe, delivered, waits]: [u64; 4], bytes: &str) -> String {
    let short = format!("{link} | sent {sent} safe {safe} at hub {delivered} | waits {waits}");
    let long = format!("{short} ({bytes})");
    if long.chars().count() < COLUMNS { long } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_into_80_columns() {
        let line = |number: u64| line(" 18s reconnecting in 10 s", [number; 4], "28.6 KiB");
        assert_eq!(line(137), " 18s reconnecting in 10 s | sent 137 safe 137 at hub 137 | waits 137 (28.6 KiB)");
        assert_eq!(line(3770), " 18s reconnecting in 10 s | sent 3770 safe 3770 at hub 3770 | waits 3770");
        assert!(line(99_999).chars().count() < COLUMNS);
    }
}
