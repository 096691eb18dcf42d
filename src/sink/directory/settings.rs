//! `[sink.NAME]` with `kind = "directory"`

use crate::flow::codec::Codec;
use crate::section::{Bytes, Claim, Section};
use crate::sink::{Kind, Sending, Sink, SinkSettings};
use crate::telemetry::Metrics;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The smallest `keep`: one file that is being written, and one finished file.
const LEAST_KEEP: Bytes = Bytes(32 << 20);
const SECOND: Duration = Duration::from_secs(1);

/// The row of this kind in the table of sinks.
pub const KIND: Kind = Kind { name: "directory", doc: "Files of one JSON object a line, in a folder.", read };

/// The settings of a sink that writes files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder; made if missing.
    pub path: PathBuf,
    /// A file is finished at this age.
    pub roll: Duration,
    /// The largest size of all files, in bytes; the oldest finished files are removed. `None`: nothing is removed.
    pub keep: Option<u64>,
    /// The rights of files (`0o600`). Users who may read the files may also search the folder.
    pub mode: u32,
    /// True when the files are compressed with gzip.
    pub packed: bool,
}

impl SinkSettings for Settings {
    fn open(&self, metrics: Arc<Metrics>) -> Arc<dyn Sink> {
        Arc::new(super::Directory::new(self.clone(), metrics))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Writes(self.path.clone())]
    }
}

/// Names the target, for people.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "files in {}", self.path.display())
    }
}

fn read(section: &mut Section<'_>) -> Option<(Arc<dyn SinkSettings>, Sending)> {
    let path = section
        .text("path")
        .doc("The folder. It is made if it is missing. No other sink and no source may use it.")
        .example("\"/var/spool/forebay\"")
        .not_empty()
        .need();
    let roll = section
        .duration("roll")
        .doc("A file is finished at this age, or when it has 16 MiB.")
        .within(SECOND..=30 * 86_400 * SECOND)
        .or(300 * SECOND);
    let keep = section
        .bytes("keep")
        .doc("The folder holds at most this much. The oldest finished files are removed.")
        .example("\"1GiB\"")
        .at_least(LEAST_KEEP)
        .hint("a file has up to 16MiB, and the newest finished one is kept beside it")
        .get_or("nothing is removed");
    let mode = section
        .text("mode")
        .doc("Rights of the files, in octal. The folder may also be searched by whoever may read the files.")
        .check(|text| {
            let hint = "for example \"0640\": the owner reads and writes, the group reads";
            of_octal(text).is_none().then(|| (format!("`{text}` is no mode of files"), Some(hint.into())))
        })
        .or("0600".into());
    let codec = Sending::read_codec(section, Codec::None);
    let sending = Sending { codec, ..Sending::read(section) };
    let (keep, packed) = (keep.map(|keep| keep.0), codec == Codec::Gzip);
    let mode = of_octal(&mode)?;
    Some((Arc::new(Settings { path: path?.into(), roll, keep, mode, packed }), sending))
}

/// The rights of files in octal, as `chmod` takes them; the owner must be able to read and write.
fn of_octal(text: &str) -> Option<u32> {
    let read = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && mode & 0o600 == 0o600);
    read.filter(|_| !text.starts_with('+'))
}
