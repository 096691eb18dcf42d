//! The lines that name the columns, and the rows around them that are not read.

use std::ops::Range;
use std::sync::Arc;

/// Where the lines that name the columns are, in a file or message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The character between values.
    pub delimiter: u8,
    /// Lines before it that are not read.
    pub before: usize,
    /// Lines that it takes, at least one.
    pub rows: usize,
    /// Lines behind it that are not read, such as one with units.
    pub after: usize,
    /// A line before it that begins with this is a comment.
    pub comment: Option<Arc<str>>,
}

impl Header {
    /// The place of the header in a text that begins with so many lines that are not read. The place includes the
    /// end of its last line. `None` if the text ends before it.
    #[must_use]
    pub fn locate(&self, text: &[u8], before: usize) -> Option<Range<usize>> {
        let mut at = behind(text, 0, before)?;
        loop {
            let end = behind(text, at, 1)?;
            if !is_skipped(&text[at..end], self.comment.as_deref()) {
                return Some(at..behind(text, end, self.rows.saturating_sub(1))?);
            }
            at = end;
        }
    }

    /// The header of a whole message and the lines behind it, of which there are none if the message ends before.
    #[must_use]
    pub fn split<'t>(&self, message: &'t [u8]) -> (Option<&'t [u8]>, &'t [u8]) {
        let Some(place) = self.locate(message, self.before) else { return (None, message) };
        let values = self.values(message, place.end).unwrap_or(message.len());
        (Some(&message[place]), &message[values..])
    }

    /// The offset at which the values begin, in a text whose header ends at `end`. `None` if the text ends before.
    #[must_use]
    pub fn values(&self, text: &[u8], end: usize) -> Option<usize> {
        behind(text, end, self.after)
    }
}

/// Whether a line is blank or a comment.
#[must_use]
pub fn is_skipped(line: &[u8], comment: Option<&str>) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || comment.is_some_and(|comment| line.starts_with(comment.as_bytes()))
}

/// The end of the line that begins at an offset, with its newline.
#[must_use]
pub fn line_end(text: &[u8], at: usize) -> usize {
    text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |n| at + n + 1)
}

/// The offset behind so many lines; `None` if the text ends before.
fn behind(text: &[u8], from: usize, lines: usize) -> Option<usize> {
    (0..lines).try_fold(from, |at, _| (at < text.len()).then(|| line_end(text, at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_before_and_behind_the_header_are_counted_and_comments_are_not() {
        let header = Header { delimiter: b',', before: 1, rows: 1, after: 2, comment: Some("#".into()) };
        let text = b"\n# made by\n\na,b\nV,A\nAvg,Avg\n1,2\n";
        let place = header.locate(text, header.before).unwrap();
        assert_eq!(&text[place.clone()], b"a,b\n");
        assert_eq!(&text[header.values(text, place.end).unwrap()..], b"1,2\n");
        assert_eq!(header.values(&text[..20], place.end), None);
        assert_eq!((header.locate(b"", 0), header.locate(b"x\n#", 1)), (None, None));
        assert_eq!(header.locate(b"x\na,b", 1), Some(2..5), "a last line needs no newline");
        let two = Header { rows: 2, after: 0, ..header };
        assert_eq!((two.locate(text, 1), two.locate(b"#\na,b\n", 0)), (Some(place.start..place.end + 4), None));
    }
}
