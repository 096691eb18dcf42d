//! Reads the next part of a file: whole lines, messages of several lines, or the whole file.

use super::super::content::{Content, Piece};
use super::super::rules::trimmed;
use super::{TooLong, Track, opened};
use crate::flow::frame::{Frame, Payload};
use crate::flow::header::line_end;
use crate::flow::record::DEAD_LETTER_KEEP;
use crate::telemetry::event;
use bytes::Bytes;
use regex_lite::Regex;
use std::io;

/// The kind of end that is accepted when nothing follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Newlines end lines; a message of several lines may go on.
    Newline,
    /// The last message is over; a line without newline may go on.
    Message,
    /// The end of the file: a last line needs no newline.
    Line,
}

/// NULs are read in pieces of this many bytes, after a first small piece of `FEW_NULS` bytes.
const NULS: usize = 1 << 20;
const FEW_NULS: usize = 4 << 10;
/// If a text is followed by at least this many NULs, they are reserved space.
const RESERVED: u64 = 512;
/// A frame holds about this much, in bytes.
const BLOCK: usize = 64 << 10;
/// The records of a frame weigh at most this much besides their bytes; an atom's limit is 2 MiB.
const FRAME_WEIGHT: usize = 1 << 20;
/// The weight of each line besides its bytes and key, in bytes: as a dead letter it has attributes.
const RECORD_WEIGHT: usize = 256;

impl Track {
    /// The next whole lines, or `None`. `end` is the kind of end that is accepted.
    pub fn next(&mut self, end: End) -> io::Result<Option<Frame>> {
        let rest = end == End::Line;
        if !self.knows_content(rest)? || self.is_finished() {
            return Ok(None);
        }
        if self.rules.whole {
            return if self.quiet_for() >= self.rules.done_after { self.all() } else { Ok(None) };
        }
        // A packed file is written in one go. Text that is read before the writing ends would be read twice.
        if self.is_packed() && self.quiet_for() < self.rules.done_after {
            return Ok(None);
        }
        let end = if self.is_packed() { End::Line } else { end };
        let rest = end == End::Line;
        if !self.skip_nuls(rest)? {
            return Ok(None);
        }
        if self.too_long.is_some() {
            return self.skip(rest);
        }
        let max_line = self.rules.max_line;
        // A block, or as much as the longest line needs.
        let mut want = BLOCK;
        loop {
            let Piece { text: mut block, at_end } = self.read(self.offset, want, rest)?;
            let n = block.len();
            if let Some(newline) = self.cut(&block) {
                // After the last newline, more of the last message may follow.
                let more = !at_end || !rest && newline + 1 < n;
                block.truncate(newline + 1);
                if let Some(end) = hole(&block) {
                    block.truncate(end);
                }
                match self.messages(block, more, end != End::Newline, n > max_line || rest && at_end) {
                    None if !at_end && n <= max_line => {}
                    found => return Ok(found),
                }
            } else if let Some(text) = self.before_nuls(self.offset, &block, rest)? {
                // Space that a program has reserved is NULs until it is written.
                block.truncate(text);
                return Ok(if rest && text > 0 { self.messages(block, false, true, true) } else { None });
            } else if n > max_line {
                let head = block[..DEAD_LETTER_KEEP.min(n)].to_vec();
                let at = self.offset + self.width(&block);
                self.too_long = Some(TooLong { length: n as u64, crc: crc32c::crc32c(&block), head, at });
                return self.skip(rest);
            } else if at_end {
                return Ok(if rest && n > 0 { self.messages(block, false, true, true) } else { None });
            }
            want *= 2;
        }
    }

    /// Skips NULs at the beginning of a line. A program without O_APPEND that goes on after its file was
    /// truncated leaves such a hole. Returns false if nothing follows the NULs.
    fn skip_nuls(&mut self, rest: bool) -> io::Result<bool> {
        if !matches!(self.content, Some(Content::Plain(_))) || self.too_long.is_some() {
            return Ok(true);
        }
        let first = self.read(self.offset, 1, rest)?.text;
        if first.first() != Some(&0) {
            return Ok(true);
        }
        let (at, is_end) = self.nuls_from(self.offset, rest)?;
        let is_cut = self.is_cut && self.offset == self.start();
        if at - self.offset < RESERVED && !is_cut {
            // A few NULs are part of the text.
            return Ok(true);
        }
        if is_end {
            // The NULs may be reserved space that is written later.
            self.is_reserved = true;
            return Ok(false);
        }
        let (path, bytes) = (self.path.display(), at - self.offset);
        if !std::mem::replace(&mut self.has_reported_nuls, true) {
            tracing::info!(
                event = event::SOURCE_NOTE, %path, bytes,
                "skipping NUL bytes, told once a file: \
                 a program that does not append went on after the file was truncated"
            );
        }
        self.go_to(at);
        Ok(at < self.end())
    }

    /// The end of the NULs that begin at an offset, and whether the file ends with them.
    fn nuls_from(&mut self, offset: u64, rest: bool) -> io::Result<(u64, bool)> {
        let mut at = offset;
        let mut want = FEW_NULS;
        loop {
            // Programs write one line after the other: NULs far behind the last line are still NULs.
            if at > offset + NULS as u64 {
                at = at.max(self.nuls_to);
            }
            let Piece { text, at_end } = self.read(at, want, rest)?;
            let nuls = text.iter().position(|byte| *byte != 0);
            at += nuls.unwrap_or(text.len()) as u64;
            if nuls.is_some() {
                return Ok((at, false));
            }
            if at_end {
                self.nuls_to = at;
                return Ok((at, true));
            }
            want = NULS;
        }
    }

    /// The length of a text before the NULs that follow it, if nothing else follows in the file. The text has
    /// no newline and begins at `from`.
    fn before_nuls(&mut self, from: u64, text: &[u8], rest: bool) -> io::Result<Option<usize>> {
        if text.last() != Some(&0) || !matches!(self.content, Some(Content::Plain(_))) {
            return Ok(None);
        }
        let before = text.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        // A few NULs are part of the text.
        if self.size.saturating_sub(from + before as u64) < RESERVED {
            return Ok(None);
        }
        let (_, is_end) = self.nuls_from(from + before as u64, rest)?;
        Ok(is_end.then_some(before))
    }

    /// Whether it is a packed file whose reading begins now.
    pub fn begins_packed(&mut self) -> bool {
        self.is_unread()
            && self.quiet_for() >= self.rules.done_after
            && self.knows_content(false).unwrap_or(false)
            && self.is_packed()
    }

    /// Reads text at an offset.
    pub(super) fn read(&mut self, offset: u64, want: usize, rest: bool) -> io::Result<Piece> {
        let file = opened(&mut self.file, &self.path, self.part.id)?;
        match &mut self.content {
            Some(content) => content.read(file, offset, want, self.size, rest),
            None => Ok(Piece { text: Vec::new(), at_end: true }),
        }
    }

    /// The reason why a packed file ended too early. The reason is returned once.
    pub fn trouble(&mut self) -> Option<String> {
        self.content.as_mut()?.trouble()
    }

    /// Finds the encoding of the file, if enough bytes are there.
    fn knows_content(&mut self, rest: bool) -> io::Result<bool> {
        if self.content.is_none() && self.size > 0 {
            self.content = Content::of(opened(&mut self.file, &self.path, self.part.id)?, rest)?;
            self.offset = self.offset.max(self.start());
        }
        Ok(self.content.is_some())
    }

    pub(super) fn width(&self, text: &[u8]) -> u64 {
        self.content.as_ref().map_or(0, |content| content.width(text))
    }

    /// Moves the offset past a text. Half a character at the very end of UTF-16 has fewer bytes than its text.
    fn advance(&mut self, text: &[u8]) {
        self.go_to(self.offset.saturating_add(self.width(text)).min(self.end()));
    }

    /// The whole file as one message; `None` if the file is empty.
    fn all(&mut self) -> io::Result<Option<Frame>> {
        let (mut head, mut length, mut crc, mut at) = (Vec::new(), 0, 0, self.offset);
        loop {
            let piece = self.read(at, BLOCK, true)?;
            at += self.width(&piece.text);
            length += piece.text.len() as u64;
            crc = crc32c::crc32c_append(crc, &piece.text);
            if head.len() <= self.rules.max_line {
                head.extend(&piece.text);
            }
            if piece.at_end {
                break;
            }
        }
        self.offset = at.min(self.end());
        if length == 0 {
            return Ok(None);
        }
        let is_too_large = head.len() > self.rules.max_line;
        head.truncate(if is_too_large { DEAD_LETTER_KEEP } else { head.len() });
        let head = Bytes::from(head);
        let payload = if is_too_large { Payload::TooLarge { length, crc, head } } else { Payload::One(head) };
        Ok(Some(self.frame(payload)))
    }

    /// Reads on towards the end of a line that is too long, and returns its frame when the end is reached.
    fn skip(&mut self, rest: bool) -> io::Result<Option<Frame>> {
        while let Some(mut line) = self.too_long.take() {
            if line.at > self.end() {
                // The file has become shorter: the line is begun again.
                break;
            }
            let Piece { mut text, mut at_end } = self.read(line.at, BLOCK, rest)?;
            if let Some(before) = self.before_nuls(line.at, &text, rest)?.filter(|_| !text.contains(&b'\n')) {
                text.truncate(before);
                at_end = true;
            }
            let newline = text.iter().position(|byte| *byte == b'\n');
            let part = &text[..newline.unwrap_or(text.len())];
            line.length += part.len() as u64;
            line.crc = crc32c::crc32c_append(line.crc, part);
            line.at += self.width(&text[..newline.map_or(text.len(), |at| at + 1)]);
            if newline.is_none() && !(rest && at_end) {
                self.too_long = Some(line);
                if at_end {
                    break;
                }
                continue;
            }
            self.go_to(line.at.min(self.end()));
            let payload = Payload::TooLarge { length: line.length, crc: line.crc, head: Bytes::from(line.head) };
            return Ok(Some(self.frame(payload)));
        }
        Ok(None)
    }

    /// The last newline of a block that still goes into one frame: many short lines are many records.
    fn cut(&self, block: &[u8]) -> Option<usize> {
        let most = FRAME_WEIGHT / (RECORD_WEIGHT + self.key.len());
        let newlines = block.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        newlines.take(most.max(1)).last()
    }

    /// A frame of whole lines; `None` while a message may still go on. `more` says that more of the file is
    /// there, `over` that the last message is complete, `enough` that the longest length is reached.
    fn messages(&mut self, mut block: Vec<u8>, more: bool, over: bool, enough: bool) -> Option<Frame> {
        if let Some(rule) = &self.rules.header {
            let first = line_end(&block, 0);
            let begins = self.header.as_ref().is_none_or(|(_, header)| self.rules.is_header(header, &block[..first]));
            if begins {
                let line = rule.locate(&block, if self.header.is_none() { rule.before } else { 0 });
                let values = line.as_ref().and_then(|line| rule.values(&block, line.end));
                if values.is_none() && !enough {
                    // All rows up to the values are read in one step, so that a stop cannot fall between them.
                    return None;
                }
                if let Some(line) = line {
                    let at = self.offset + self.width(&block[..line.start]);
                    self.header = Some((at, trimmed(&block[line]).into()));
                }
                self.advance(&block[..values.unwrap_or(block.len())]);
                return Some(self.frame(Payload::Nothing));
            }
            if let Some((_, header)) = &self.header {
                // Stop at the next header, which begins a frame of its own.
                let mut at = first;
                while at < block.len() {
                    let end = line_end(&block, at);
                    if self.rules.is_header(header, &block[at..end]) {
                        block.truncate(at);
                    }
                    at = end;
                }
            }
        }
        if self.rules.message_start.is_none() && self.rules.breaks.is_none() {
            self.advance(&block);
            return Some(self.frame(Payload::Lines(Bytes::from(block))));
        }
        // The offsets at which messages begin. Lines before the first match are a message of their own.
        let (mut starts, mut at, mut is_open) = (vec![0], 0, false);
        while at < block.len() {
            let line = &block[at..line_end(&block, at)];
            let matches = |start: &Regex| std::str::from_utf8(trimmed(line)).is_ok_and(|line| start.is_match(line));
            if at > 0 && self.rules.message_start.as_ref().map_or(!is_open, matches) {
                starts.push(at);
            }
            is_open = self.rules.breaks.as_ref().is_some_and(|breaks| breaks.is_open(is_open, line));
            at += line.len();
        }
        // The last message may go on.
        let is_closed = self.rules.breaks.is_some() && !is_open;
        let all = is_closed || over && !more || enough && starts.len() == 1;
        let end = if all { block.len() } else { starts.pop().unwrap_or(0) };
        if end == 0 {
            return None;
        }
        block.truncate(end);
        self.advance(&block[..end]);
        let block = Bytes::from(block);
        let ends = starts.iter().skip(1).copied().chain([end]);
        let list = starts.iter().zip(ends).map(|(from, to)| block.slice_ref(trimmed(&block[*from..to]))).collect();
        Some(self.frame(Payload::Messages(list)))
    }
}

/// The end of the first line that is followed by many NULs, or by NULs up to the end of the block.
fn hole(block: &[u8]) -> Option<usize> {
    let most = usize::try_from(RESERVED).unwrap_or(usize::MAX);
    let mut from = 0;
    while let Some(at) = block[from..].windows(2).position(|pair| pair == b"\n\0") {
        let begin = from + at + 1;
        let nuls = block[begin..].iter().take_while(|byte| **byte == 0).count();
        if nuls >= most || begin + nuls == block.len() {
            return Some(begin);
        }
        from = begin;
    }
    None
}
