//! How a line of a table is divided into values.

use super::{DecodeError, Utf8};
use csv_core::{ReadRecordResult, ReaderBuilder};

/// How a line is divided into values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// By a character.
    Delimited,
    /// By any number of spaces and tabulators.
    Spaced,
    /// Each value has its place: the widths of the columns, in characters.
    Fixed(Vec<usize>),
}

/// The values of a line.
///
/// # Errors
/// The line is not UTF-8, has a line break in it, ends within quotes, or is longer than its columns.
pub fn values(layout: &Layout, delimiter: u8, line: &[u8]) -> Result<Vec<String>, DecodeError> {
    match layout {
        Layout::Delimited => delimited(delimiter, line),
        Layout::Spaced => delimited(delimiter, &with_single_spaces(line)),
        Layout::Fixed(widths) => fixed(widths, Utf8::check(line)?),
    }
}

/// A line with one space where it has several, or tabulators, outside of quotes.
fn with_single_spaces(line: &[u8]) -> Vec<u8> {
    let (mut out, mut is_quoted) = (Vec::with_capacity(line.len()), false);
    for byte in line.trim_ascii() {
        is_quoted ^= *byte == b'"';
        let is_space = matches!(byte, b' ' | b'\t') && !is_quoted;
        match (is_space, out.last()) {
            (true, Some(b' ')) => {}
            (true, _) => out.push(b' '),
            (false, _) => out.push(*byte),
        }
    }
    out
}

/// The values of a line by the widths of its columns. A line may end before its last columns.
fn fixed(widths: &[usize], line: &str) -> Result<Vec<String>, DecodeError> {
    let mut rest = line;
    let mut values = Vec::with_capacity(widths.len());
    for width in widths {
        let end = rest.char_indices().nth(*width).map_or(rest.len(), |(at, _)| at);
        values.push(rest[..end].trim().to_string());
        rest = &rest[end..];
    }
    if rest.trim().is_empty() {
        Ok(values)
    } else {
        Err(DecodeError::Csv(format!(
            "the line is longer than its columns of {} characters",
            widths.iter().sum::<usize>()
        )))
    }
}

fn delimited(delimiter: u8, line: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).build();
    let (mut out, mut ends) = (vec![0; line.len() + 1], vec![0; line.len() + 2]);
    let (mut read, mut written, mut fields) = (0, 0, 0);
    let mut ended = false;
    loop {
        // The second, empty read tells the reader that the line has ended.
        let input = if ended { &[][..] } else { &line[read..] };
        let (result, n, o, e) = reader.read_record(input, &mut out[written..], &mut ends[fields..]);
        (read, written, fields) = (read + n, written + o, fields + e);
        match result {
            ReadRecordResult::InputEmpty if !ended => ended = true,
            // A bare CR ends a record for the reader. The bytes after it must not vanish.
            ReadRecordResult::Record if read < line.len() => {
                return Err(DecodeError::Csv("a line break within the line".into()));
            }
            ReadRecordResult::Record | ReadRecordResult::End | ReadRecordResult::InputEmpty => break,
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                return Err(DecodeError::Csv("more values than the line has characters".into()));
            }
        }
    }
    if line.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
        return Err(DecodeError::Csv("a quoted value does not end on its line".into()));
    }
    let mut values = Vec::with_capacity(fields);
    let mut start = 0;
    for end in &ends[..fields] {
        values.push(Utf8::check(&out[start..*end])?.to_string());
        start = *end;
    }
    Ok(values)
}
