//! Log lines as entries of the systemd journal, each field by its name (systemd.journal-fields(7)).
//!
//! The message has the fields, too: `journalctl -u forebay` shows the message alone, and the reason why a target
//! cannot be reached is a field.

use crate::telemetry::people;
use std::fmt::{Debug, Write as _};
use std::os::unix::net::UnixDatagram;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// The socket of the journal.
const SOCKET: &str = "/run/systemd/journal/socket";
/// The longest text of a field, in bytes: a datagram of the journal has room for some 200 KiB.
const LONGEST: usize = 32 << 10;

/// Writes to the journal.
#[derive(Debug)]
pub struct Journal(UnixDatagram);

impl Journal {
    /// Connects to the journal.
    ///
    /// # Errors
    /// There is no journal.
    pub fn connect() -> std::io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        Ok(Self(socket))
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // An entry that the journal does not take is lost, as it is on any other output.
        let _ = self.0.send(&fields.entry(*event.metadata().level()));
    }
}

/// The message of an event and its other fields, in order.
#[derive(Debug, Default)]
pub struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    fn take(&mut self, field: &Field, mut text: String) {
        people::cut(&mut text, LONGEST);
        match field.name() {
            "message" => self.message = text,
            name => self.others.push((name, text)),
        }
    }

    /// The name of the event.
    pub fn event(&self) -> String {
        self.others.iter().find(|(name, _)| *name == "event").map(|(_, text)| text.clone()).unwrap_or_default()
    }

    /// The message with the fields.
    pub fn text(&self) -> String {
        let mut message = self.message.clone();
        // The name of the event is for programs.
        for (name, text) in self.others.iter().filter(|(name, _)| *name != "event") {
            let space = if message.is_empty() { "" } else { " " };
            // Text always takes more text.
            let _ = write!(message, "{space}{name}={}", shown(text));
        }
        people::cut(&mut message, LONGEST);
        message
    }

    /// The entry in the journal's own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).
    fn entry(&self, level: Level) -> Vec<u8> {
        let message = self.text();
        let priority = match level {
            Level::ERROR => "3",
            Level::WARN => "4",
            // A notice: the usual filter of programs that collect logs lets these through.
            Level::INFO => "5",
            Level::DEBUG => "6",
            _ => "7",
        };
        let mut entry = Vec::new();
        add(&mut entry, "MESSAGE", &message);
        add(&mut entry, "PRIORITY", priority);
        add(&mut entry, "SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
        for (name, text) in &self.others {
            add(&mut entry, &name.to_ascii_uppercase().replace('.', "_"), text);
        }
        entry
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, format!("{value:?}"));
    }
}

/// A value as it stands in the message: in quotes if it has spaces.
fn shown(text: &str) -> String {
    let is_plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"' || c.is_alphanumeric());
    if is_plain { text.into() } else { format!("{text:?}") }
}

/// Adds a field: its name, its length and its bytes, so that it may have any bytes.
fn add(entry: &mut Vec<u8>, name: &str, text: &str) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(text.len() as u64).to_le_bytes());
    entry.extend_from_slice(text.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_has_the_fields_and_each_field_stands_by_its_name() {
        let others = vec![("event", "sink_down".into()), ("sink", "hub".into()), ("error", "no\nroute \"x\"".into())];
        let entry = Fields { message: "cannot deliver".into(), others }.entry(Level::WARN);
        let field = |name: &str, text: &str| {
            let mut bytes = Vec::new();
            add(&mut bytes, name, text);
            bytes
        };
        let expected = [
            field("MESSAGE", "cannot deliver sink=hub error=\"no\\nroute \\\"x\\\"\""),
            field("PRIORITY", "4"),
            field("SYSLOG_IDENTIFIER", "forebay"),
            field("EVENT", "sink_down"),
            field("SINK", "hub"),
            field("ERROR", "no\nroute \"x\""),
        ];
        assert_eq!(entry, expected.concat());
        assert_eq!(field("A", "bc"), b"A\n\x02\0\0\0\0\0\0\0bc\n");
    }
}
