//! `[sink.NAME]` with `kind = "directory"`

use super::Checker;
use crate::config::raw;
use crate::config::value::{Codec, Directory};
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;

/// Files of a slow stream are finished at this age.
const ROLL: Duration = Duration::from_secs(300);
/// The smallest `keep`: the file that is written, and one that is finished.
const LEAST_KEEP: u64 = 32 << 20;

impl Checker<'_> {
    pub(super) fn directory(&mut self, span: &Range<usize>, raw: raw::Directory) -> Option<Directory> {
        let roll = raw.roll.as_ref().map_or(ROLL, |roll| roll.get_ref().0);
        if let Some(at) = raw.roll.filter(|_| roll < Duration::from_secs(1) || roll > Duration::from_secs(30 * 86_400))
        {
            self.problem(at.span(), "`roll` must be from 1s to 30d".into(), None);
        }
        let keep = raw.keep.as_ref().map(|keep| keep.get_ref().0);
        if let Some(at) = raw.keep.filter(|_| keep.is_some_and(|keep| keep < LEAST_KEEP)) {
            let hint = "a file has up to 16MiB, and the newest finished one is kept beside it";
            self.problem(at.span(), "`keep` must be at least 32MiB".into(), Some(hint.into()));
        }
        let mode = raw.mode.map_or(Some(0o600), |mode| self.mode(&mode));
        let packed = raw.compression.is_some_and(|codec| *codec.get_ref() == Codec::Gzip);
        let path = self.need(raw.path, span, "path", "\"/var/spool/forebay\"")?;
        if path.get_ref().is_empty() {
            self.problem(path.span(), "`path` is empty".into(), None);
        }
        Some(Directory { path: path.into_inner().into(), roll, keep, mode: mode?, packed })
    }

    /// Rights of files, as `chmod` takes them.
    fn mode(&mut self, mode: &Spanned<String>) -> Option<u32> {
        let text = mode.get_ref();
        let read = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && mode & 0o600 == 0o600);
        if read.is_none() || text.starts_with('+') {
            let hint = "for example \"0640\": the owner reads and writes, the group reads";
            self.problem(mode.span(), format!("`{text}` is no mode of files"), Some(hint.into()));
        }
        read
    }
}
