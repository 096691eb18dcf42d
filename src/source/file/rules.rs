//! How the lines of all files of a source are read.

use regex_lite::Regex;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Rules {
    /// The longest line, in bytes.
    pub max_line: usize,
    /// Between values, where the first line names the columns.
    pub header: Option<u8>,
    /// A line that matches begins a message.
    pub message_start: Option<Regex>,
    /// Each file is one message.
    pub whole: bool,
    /// A file is taken to be complete after this long without change.
    pub done_after: Duration,
}

impl Rules {
    /// Whether a line names columns rather than having values: its first value is the first name of
    /// the header before it. Programs write their header again when they start, perhaps with more columns.
    pub fn is_header(&self, header: &str, line: &[u8]) -> bool {
        let Some(delimiter) = self.header else { return false };
        let first = |line: &[u8]| line.split(|byte| *byte == delimiter).next().unwrap_or_default().to_vec();
        let name = first(header.as_bytes());
        let is_number = std::str::from_utf8(&name).is_ok_and(|text| text.trim().parse::<f64>().is_ok());
        !name.is_empty() && !is_number && first(trimmed(line)) == name
    }
}

/// A line without its end.
pub fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
