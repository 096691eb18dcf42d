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
    /// Where line breaks in quotes do not end a line.
    pub breaks: Option<LineBreaks>,
}

/// Line breaks in quotes do not end a line; quotes in comments do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineBreaks {
    /// A line that begins with this is a comment.
    pub comment: Option<Arc<str>>,
}

impl LineBreaks {
    /// Whether a row is open behind a line, which it was or was not before it.
    #[must_use]
    pub fn is_open(&self, before: bool, line: &[u8]) -> bool {
        let quotes = line.iter().filter(|byte| **byte == b'"').count();
        if !before && is_skipped(line, self.comment.as_deref()) { false } else { before ^ (quotes % 2 == 1) }
    }
}

impl Header {
    /// The place of the header in a text that begins with so many lines that are not read. The place includes the
    /// end of its last line. `None` if the text ends before it.
    #[must_use]
    pub fn locate(&self, text: &[u8], before: usize) -> Option<Range<usize>> {
        let mut at = self.behind(text, 0, before)?;
        loop {
            let end = self.behind(text, at, 1)?;
            if !is_skipped(&text[at..end], self.comment.as_deref()) {
                return Some(at..self.behind(text, end, self.rows.saturating_sub(1))?);
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
        self.behind(text, end, self.after)
    }

    /// The offset behind so many lines; `None` if the text ends before.
    fn behind(&self, text: &[u8], from: usize, lines: usize) -> Option<usize> {
        (0..lines).try_fold(from, |at, _| (at < text.len()).then(|| row_end(text, at, self.breaks.as_ref())))
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

/// The end of the row that begins at an offset, with its newline.
#[must_use]
pub fn row_end(text: &[u8], at: usize, breaks: Option<&LineBreaks>) -> usize {
    let (mut end, mut is_open) = (at, false);
    loop {
        let next = line_end(text, end);
        is_open = breaks.is_some_and(|breaks| breaks.is_open(is_open, &text[end..next]));
        end = next;
        if !is_open || end == text.len() {
            return end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_before_and_behind_the_header_are_counted_and_comments_are_not() {
        let header = Header { delimiter: b',', before: 1, rows: 1, after: 2, comment: Some("#".into()), breaks: None };
        let text = b"\n# made by\n\na,b\nV,A\nAvg,Avg\n1,2\n";
        let place = header.locate(text, header.before).unwrap();
        assert_eq!(&text[place.clone()], b"a,b\n");
        assert_eq!(&text[header.values(text, place.end).unwrap()..], b"1,2\n");
        assert_eq!(header.values(&text[..20], place.end), None);
        assert_eq!((header.locate(b"", 0), header.locate(b"x\n#", 1)), (None, None));
        assert_eq!(header.locate(b"x\na,b", 1), Some(2..5), "a last line needs no newline");
        let breaks = Some(LineBreaks { comment: Some("#".into()) });
        let quoted = Header { breaks: breaks.clone(), rows: 1, before: 0, after: 0, comment: None, delimiter: b',' };
        assert_eq!(quoted.locate(b"\"a\n(C)\",\"b\"\n1,2\n", 0), Some(0..12));
        let text = b"# 5\" pipe\n1,\"# 6\"\" \n2\"\n3\n";
        assert_eq!((row_end(text, 0, breaks.as_ref()), row_end(text, 10, breaks.as_ref())), (10, 23));
        assert_eq!(row_end(text, 10, None), 20);
        let text = b"\n# made by\n\na,b\nV,A\nAvg,Avg\n1,2\n";
        let two = Header { rows: 2, after: 0, ..header };
        assert_eq!((two.locate(text, 1), two.locate(b"#\na,b\n", 0)), (Some(place.start..place.end + 4), None));
    }
}
