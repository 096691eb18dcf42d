//! The rules by which the lines of all files of a source are read.

use crate::flow::header::{Header, LineBreaks, line_end};
use regex_lite::Regex;
use std::time::Duration;

/// The rules of one source.
#[derive(Debug)]
pub struct Rules {
    /// The longest line, in bytes.
    pub max_line: usize,
    /// Where the line is that names the columns, if there is one.
    pub header: Option<Header>,
    /// Where a line break in quotes does not end a line.
    pub breaks: Option<LineBreaks>,
    /// A line that matches begins a message.
    pub message_start: Option<Regex>,
    /// Each file is one message.
    pub whole: bool,
    /// A file is taken to be complete after this long without change.
    pub done_after: Duration,
}

impl Rules {
    /// Whether a line names columns, rather than having values. Programs write their header again when they
    /// start, perhaps with other columns. Such a line begins with the same name as the header before it. At
    /// least half of that header's names are in the line, and no value is a number. A line of values may also
    /// begin with the first column's name.
    pub fn is_header<'l>(&self, header: &'l [u8], line: &'l [u8]) -> bool {
        let Some(Header { delimiter, .. }) = &self.header else { return false };
        let line = trimmed(line);
        let header = trimmed(&header[..line_end(header, 0)]);
        // Columns that are aligned have any number of spaces between them.
        let split =
            |line: &'l [u8]| line.split(|byte| byte == delimiter).filter(|name| *delimiter != b' ' || !name.is_empty());
        let mut names = split(header);
        let first = names.next().unwrap_or_default();
        if first.is_empty() || !line.starts_with(first) {
            return false;
        }
        if line == header {
            return true;
        }
        let values: Vec<&[u8]> = split(line).collect();
        let is_number = |value: &&[u8]| {
            std::str::from_utf8(value).is_ok_and(|text| text.trim().trim_matches('"').parse::<f64>().is_ok())
        };
        let (all, again) =
            names.fold((0, 0), |(all, again), name| (all + 1, again + usize::from(values.contains(&name))));
        values.first() == Some(&first) && !values.iter().any(is_number) && again > 0 && again * 2 >= all
    }
}

/// A line without the LF or CR LF at its end.
pub fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_begins_with_the_first_columns_name_is_no_header() {
        let header = Some(Header { delimiter: b',', before: 0, rows: 1, after: 0, comment: None, breaks: None });
        let rules = Rules {
            max_line: 100,
            header,
            breaks: None,
            message_start: None,
            whole: false,
            done_after: Duration::ZERO,
        };
        let is = |header: &str, line: &str| rules.is_header(header.as_bytes(), line.as_bytes());
        for (header, line) in [
            ("a,b", "a,b\n"),
            ("a,b", "a,b,c"),
            ("a,b,c", "a,b"),
            ("a,b,c", "a,c,d\r\n"),
            ("t", "t"),
            ("ts,x", "ts,x,y"),
            ("a,b\nC,%", "a,b"),
        ] {
            assert!(is(header, line), "{header} then {line}");
        }
        for (header, line) in [
            ("device,t", "device,21.5"),
            ("name,state", "name,on"),
            ("a,b", "b,a"),
            ("a,b", "1,2"),
            ("", ""),
            ("t", "t2"),
            ("a,b", "a,b,1"),
        ] {
            assert!(!is(header, line), "{header} then {line}");
        }
    }
}
