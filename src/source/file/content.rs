//! How the bytes of a file become text: plain text, UTF-16, or packed with gzip or zstd.
//!
//! Invariant: an offset counts bytes of the file for plain text and UTF-16, and bytes of the unpacked text for
//! packed files. Reading at an offset gives the same text at any time.

use super::saved::{FINGERPRINT, Fingerprint, read_at};
use crate::platform::unpack::ZSTD_WINDOW_LOG;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read};

/// The marks that files may begin with, and the encoding that each mark means.
const MARKS: [(&[u8], Mark); 5] = [
    (&[0xef, 0xbb, 0xbf], Mark::Utf8),
    (&[0xff, 0xfe], Mark::Utf16Little),
    (&[0xfe, 0xff], Mark::Utf16Big),
    (&[0x1f, 0x8b, 0x08], Mark::Gzip),
    (&[0x28, 0xb5, 0x2f, 0xfd], Mark::Zstd),
];
/// The longest mark, in bytes.
const LONGEST_MARK: usize = 4;
/// Unpacked text is read in steps of this many bytes.
const STEP: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Utf8,
    Utf16Little,
    Utf16Big,
    Gzip,
    Zstd,
}

/// The encoding of a file.
#[derive(Debug)]
pub enum Content {
    /// Plain text; it begins after a byte order mark of this many bytes.
    Plain(u64),
    /// UTF-16, big-endian or little-endian, after a byte order mark.
    Utf16 {
        /// Whether the high byte of each unit comes first.
        big: bool,
    },
    /// Packed with gzip or zstd.
    Packed(Box<Unpacked>),
}

/// A piece of text.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// UTF-8; the text of a plain file may have any bytes.
    pub text: Vec<u8>,
    /// No text follows this piece at the moment.
    pub at_end: bool,
}

impl Content {
    /// Finds the encoding by the first bytes of a file; `None` while too few bytes are there. `rest` says that
    /// no more bytes will come.
    pub fn of(file: &File, rest: bool) -> io::Result<Option<Self>> {
        let mut head = [0; LONGEST_MARK];
        let n = read_at(file, &mut head, 0)?;
        let head = &head[..n];
        let found = MARKS.iter().find(|(mark, _)| head.starts_with(mark)).map(|(_, meaning)| *meaning);
        let may_become = MARKS.iter().any(|(mark, _)| mark.starts_with(head));
        Ok(match found {
            None if may_become && !rest => None,
            None => Some(Self::Plain(0)),
            Some(Mark::Utf8) => Some(Self::Plain(3)),
            Some(Mark::Utf16Little) => Some(Self::Utf16 { big: false }),
            Some(Mark::Utf16Big) => Some(Self::Utf16 { big: true }),
            Some(packed) => Some(Self::Packed(Box::new(Unpacked::new(packed == Mark::Zstd)))),
        })
    }

    /// The offset at which the text begins.
    pub fn start(&self) -> u64 {
        match self {
            Self::Plain(mark) => *mark,
            Self::Utf16 { .. } => 2,
            Self::Packed(_) => 0,
        }
    }

    /// The offset at which the text ends, in a file of `size` bytes. It is `u64::MAX` while the end of a packed
    /// file is not known.
    pub fn end(&self, size: u64) -> u64 {
        match self {
            Self::Plain(_) | Self::Utf16 { .. } => size,
            Self::Packed(unpacked) => unpacked.end.unwrap_or(u64::MAX),
        }
    }

    /// The number that a piece of text adds to the offset.
    pub fn width(&self, text: &[u8]) -> u64 {
        match self {
            Self::Plain(_) | Self::Packed(_) => text.len() as u64,
            // A bad unit of UTF-16 became a replacement character, which takes one unit as well.
            Self::Utf16 { .. } => {
                String::from_utf8_lossy(text).chars().map(|character| 2 * character.len_utf16() as u64).sum()
            }
        }
    }

    /// Reads up to `want` bytes at an offset. `size` is the number of bytes in the file that may be read, and
    /// `rest` says that no more bytes will come.
    pub fn read(&mut self, file: &File, offset: u64, want: usize, size: u64, rest: bool) -> io::Result<Piece> {
        let big = match self {
            Self::Packed(unpacked) => return unpacked.read(file, offset, want),
            Self::Plain(_) => None,
            Self::Utf16 { big } => Some(*big),
        };
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; want.min(left)];
        let n = read_at(file, &mut bytes, offset)?;
        bytes.truncate(n);
        let at_end = n < want || want >= left;
        let text = match big {
            Some(big) => utf8_of_utf16(&bytes, big, rest && at_end),
            None => bytes,
        };
        Ok(Piece { text, at_end })
    }

    /// Frees the memory for unpacking. Later reads give the same text as before.
    pub fn close(&mut self) {
        if let Self::Packed(unpacked) = self {
            (unpacked.reader, unpacked.window) = (None, Vec::new());
        }
    }

    /// A packed file has changed: its end is not known any more.
    pub fn begin_again(&mut self) {
        if let Self::Packed(unpacked) = self {
            **unpacked = Unpacked::new(unpacked.is_zstd);
        }
    }

    /// Whether it holds memory for unpacking.
    pub fn holds_decoder(&self) -> bool {
        matches!(self, Self::Packed(unpacked) if unpacked.reader.is_some())
    }

    /// The reason why a packed file ends too early, if it does. The reason is returned once.
    pub fn trouble(&mut self) -> Option<String> {
        match self {
            Self::Packed(unpacked) => unpacked.trouble.take(),
            _ => None,
        }
    }
}

/// UTF-8 of UTF-16. Half a character at the end is left out, unless `rest` says that nothing follows.
fn utf8_of_utf16(bytes: &[u8], big: bool, rest: bool) -> Vec<u8> {
    let unit = |pair: &[u8]| match pair {
        [a, b] if big => u16::from_be_bytes([*a, *b]),
        [a, b] => u16::from_le_bytes([*a, *b]),
        _ => 0xfffd,
    };
    let mut units: Vec<u16> = bytes.chunks(2).filter(|pair| pair.len() == 2 || rest).map(unit).collect();
    if !rest && units.last().is_some_and(|last| (0xd800..0xdc00).contains(last)) {
        units.pop();
    }
    char::decode_utf16(units).map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>().into_bytes()
}

/// Whether the unpacked text of a packed file begins like another file, which was plain.
pub fn unpacks_to(file: &File, beginning: Fingerprint) -> bool {
    let read = || {
        let Some(Content::Packed(mut unpacked)) = Content::of(file, true)? else { return Ok(false) };
        let length = usize::try_from(beginning.length).unwrap_or(FINGERPRINT);
        let text = unpacked.read(file, 0, length)?.text;
        Ok::<_, io::Error>(length > 0 && text.len() == length && crc32c::crc32c(&text) == beginning.crc)
    };
    read().unwrap_or(false)
}

/// Reads a file from its beginning, without moving the position of other readers.
struct Forward {
    file: File,
    at: u64,
}

impl Read for Forward {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = read_at(&self.file, buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// The text of a packed file: it is unpacked forwards, and a window of it is kept.
pub struct Unpacked {
    is_zstd: bool,
    reader: Option<Box<dyn Read + Send>>,
    window: Vec<u8>,
    /// The offset in the text at which the window begins.
    at: u64,
    end: Option<u64>,
    trouble: Option<String>,
}

impl std::fmt::Debug for Unpacked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacked").field("at", &self.at).field("end", &self.end).finish_non_exhaustive()
    }
}

impl Unpacked {
    fn new(is_zstd: bool) -> Self {
        Self { is_zstd, reader: None, window: Vec::new(), at: 0, end: None, trouble: None }
    }

    fn read(&mut self, file: &File, offset: u64, want: usize) -> io::Result<Piece> {
        if self.reader.is_none() || offset < self.at {
            *self = Self { reader: Some(self.open(file)?), ..Self::new(self.is_zstd) };
        }
        // What lies before the offset is not wanted again.
        let mut step = vec![0; STEP];
        loop {
            let past = usize::try_from(offset - self.at).unwrap_or(usize::MAX).min(self.window.len());
            self.window.drain(..past);
            self.at += past as u64;
            if self.at == offset && self.window.len() >= want || self.end.is_some() {
                break;
            }
            self.step(&mut step)?;
        }
        let known = if self.at == offset { &self.window[..want.min(self.window.len())] } else { &[] };
        let text = known.to_vec();
        let at_end = self.end.is_some_and(|end| offset + text.len() as u64 >= end);
        Ok(Piece { text, at_end })
    }

    fn open(&self, file: &File) -> io::Result<Box<dyn Read + Send>> {
        let forward = BufReader::new(Forward { file: file.try_clone()?, at: 0 });
        Ok(if self.is_zstd {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(forward)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        } else {
            Box::new(MultiGzDecoder::new(forward))
        })
    }

    fn step(&mut self, step: &mut [u8]) -> io::Result<()> {
        match self.reader.as_mut().map_or(Ok(0), |reader| reader.read(step)) {
            Ok(0) => self.end = Some(self.at + self.window.len() as u64),
            Ok(n) => self.window.extend_from_slice(&step[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The file could not be read: this says nothing about its content.
            Err(error) if error.raw_os_error().is_some() => {
                self.reader = None;
                return Err(error);
            }
            Err(error) => {
                let end = self.at + self.window.len() as u64;
                self.trouble = Some(format!("damaged or cut: it unpacks to {end} bytes and no more ({error})"));
                self.end = Some(end);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(text).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn what_a_file_is_shows_in_its_first_bytes_as_soon_as_they_are_there() {
        let of = |bytes: &[u8], rest| {
            let content = Content::of(&file(bytes), rest).unwrap();
            content.map(|content| format!("{content:?}"))
        };
        let is = |bytes: &[u8], expected: Option<&str>| {
            let found = of(bytes, false);
            assert_eq!(found.as_deref().map(|text| text.split_once(" at").map_or(text, |(kind, _)| kind)), expected);
        };
        is(b"", None);
        is(b"a", Some("Plain(0)"));
        is(b"\xef\xbb", None);
        is(b"\xef\xbb\xbfa", Some("Plain(3)"));
        is(b"\xff", None);
        is(b"\xff\xfe", Some("Utf16 { big: false }"));
        is(b"\xfe\xffa", Some("Utf16 { big: true }"));
        is(b"\x28\xb5\x2f", None);
        is(b"\x28\xb5\x2f\xfd", Some("Packed(Unpacked {"));
        is(b"\x1f\x8b\x08", Some("Packed(Unpacked {"));
        assert_eq!(of(b"\x1f", true).as_deref(), Some("Plain(0)"), "no more will come");
    }

    #[test]
    fn packed_text_is_read_at_any_offset_also_backwards_and_says_where_it_ends() {
        let text: Vec<u8> = (0..40_000).flat_map(|n: u32| format!("{n}\n").into_bytes()).collect();
        // Two members one after the other, as `cat` makes them.
        let (first, second) = text.split_at(100_000);
        let gz = [gzip(first), gzip(second)].concat();
        let zst = [zstd::encode_all(first, 3).unwrap(), zstd::encode_all(second, 3).unwrap()].concat();
        for packed in [gz, zst] {
            let packed = file(&packed);
            let mut content = Content::of(&packed, false).unwrap().unwrap();
            assert_eq!(content.end(1), u64::MAX);
            for (offset, want) in [(0, 10), (5, 100_000), (150_000, 7), (3, 9), (text.len() - 4, 100)] {
                let piece = content.read(&packed, offset as u64, want, 1, false).unwrap();
                let expected = &text[offset..(offset + want).min(text.len())];
                assert_eq!(piece, Piece { text: expected.to_vec(), at_end: offset + want > text.len() });
            }
            assert_eq!(content.end(1), text.len() as u64);
            let beyond = content.read(&packed, u64::MAX, 10, 1, false).unwrap();
            assert_eq!(beyond, Piece { text: Vec::new(), at_end: true });
            assert_eq!(content.trouble(), None);
        }
    }

    #[test]
    fn a_packed_file_that_is_cut_or_damaged_gives_what_it_can_and_says_so_once() {
        let text: Vec<u8> = (0..40_000).flat_map(|n: u32| format!("{n}\n").into_bytes()).collect();
        for whole in [gzip(&text), zstd::encode_all(&text[..], 3).unwrap()] {
            let packed = file(&whole[..whole.len() / 2]);
            let mut content = Content::of(&packed, false).unwrap().unwrap();
            let piece = content.read(&packed, 0, 1 << 20, 1, false).unwrap();
            assert!(piece.at_end && text.starts_with(&piece.text));
            assert!(content.trouble().unwrap().contains("damaged or cut"));
            assert_eq!(content.trouble(), None);
        }
    }

    #[test]
    fn utf_16_becomes_utf_8_and_offsets_stay_those_of_the_file() {
        let text = "Wärme 21°\n😀 ok\n";
        for big in [false, true] {
            let encode = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
            let mut bytes = encode(0xfeff).to_vec();
            bytes.extend(text.encode_utf16().flat_map(encode));
            // A lone half of a pair, and a lone byte.
            bytes.extend(encode(0xd83d));
            bytes.push(b'x');
            let (size, file) = (bytes.len() as u64, file(&bytes));
            let mut content = Content::of(&file, false).unwrap().unwrap();
            let (mut offset, mut seen) = (content.start(), Vec::new());
            for want in [6, 19, 8, 2, 4, 100, 100] {
                let piece = content.read(&file, offset, want, size, false).unwrap();
                offset += content.width(&piece.text);
                seen.extend(piece.text);
            }
            assert_eq!(String::from_utf8(seen).unwrap(), text);
            let rest = content.read(&file, offset, 100, size, true).unwrap();
            assert_eq!(rest, Piece { text: "\u{fffd}\u{fffd}".into(), at_end: true });
            assert!(offset + content.width(&rest.text) >= size, "nothing is left over");
        }
    }

    #[test]
    fn a_packed_copy_is_known_by_how_its_text_begins() {
        let plain = file(b"one\ntwo\n");
        let beginning = Fingerprint::of(&plain, FINGERPRINT).unwrap();
        assert!(unpacks_to(&file(&gzip(b"one\ntwo\nthree\n")), beginning));
        assert!(!unpacks_to(&file(&gzip(b"one\n")), beginning), "shorter");
        assert!(!unpacks_to(&file(&gzip(b"one\nTWO\nthree\n")), beginning));
        assert!(!unpacks_to(&plain, beginning), "not packed");
        assert!(!unpacks_to(&file(&gzip(b"one\n")), Fingerprint::default()), "nothing says nothing");
    }
}
