//! The numbers: in place on a terminal, line by line when piped.

use crate::platform::clock;
use crate::store::Backlog;
use crate::telemetry::people::{age, size};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Read, Write};
use std::time::Duration;
use tokio::sync::mpsc;

/// The width of a terminal.
const COLUMNS: usize = 80;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Cut the uplink, or restore it.
    Outage,
    /// End.
    Quit,
}

/// The numbers at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    /// Since the start.
    pub elapsed: Duration,
    /// Sent by the devices.
    pub sent: u64,
    /// On disk.
    pub safe: u64,
    /// At the hub, by value.
    pub delivered: u64,
    /// Not delivered.
    pub backlog: Backlog,
    /// On the wire.
    pub bytes_per_reading: f64,
    /// The uplink is cut.
    pub cut: bool,
    /// The uplink is back, and the agent tries again within so many seconds.
    pub reconnecting: Option<u64>,
}

/// See the module.
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
            // Without single keys, Enter after the key does.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &single);
            listen()
        });
        Self { terminal, before, keys, shown: None }
    }

    /// What is shown above the numbers.
    pub fn begin(&self, title: &str) {
        say!("{title}");
        if self.keys.is_some() {
            say!("keys: o cuts and restores the uplink, q ends");
        }
    }

    /// Shows the numbers; piped, once a second.
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
            // A terminal that is gone shows nothing; the demo goes on.
            let _ = write!(std::io::stdout(), "\r\x1b[2K{text}").and_then(|()| std::io::stdout().flush());
        } else {
            say!("{text}");
        }
    }

    /// The last words.
    pub fn end(&mut self, text: &str) {
        if self.terminal {
            say!("");
        }
        say!("{text}");
        self.give_back();
    }

    /// The next key; never, where there is no keyboard.
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

/// Reads keys on a thread of its own: a read of the terminal cannot be given up.
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
