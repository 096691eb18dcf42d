//! `[source.NAME]` with `kind = "file"`: which files are read, and how.

use crate::flow::header::{Header, LineBreaks};
use crate::flow::record::MAX_RECORD;
use crate::section::{Bytes, Claim, Section};
use crate::source::{Context, Kind, Probing, Routes, Running, Source};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// The row of this kind in the table of sources.
pub const KIND: Kind =
    Kind { name: "file", doc: "Lines of files, or whole files: one file or all that match a pattern.", read };

/// The settings of a source of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A path, or a pattern with `*`, `?`, `[..]`.
    pub path: String,
    /// Whether files that exist at the very first start are read from their end.
    pub from_end: bool,
    /// The time between two looks for new data and new files.
    pub poll: Duration,
    /// A last line without a newline is taken as it is after this long without a change. Without this setting,
    /// it is taken when the file was rotated, removed or is complete.
    pub unterminated_after: Option<Duration>,
    /// A file that was renamed or removed is no longer followed after this long without a change.
    pub gone_after: Duration,
    /// The longest line, in bytes; a longer line becomes a dead letter.
    pub max_line: usize,
    /// The character between the values of a file whose first line names its columns.
    pub header: Option<Header>,
    /// Where a line break in quotes does not end a line.
    pub breaks: Option<LineBreaks>,
    /// A line that matches this pattern begins a message; other lines belong to the message before them.
    pub message_start: Option<String>,
    /// A file whose last write is older than this is not begun.
    pub ignore_older: Option<Duration>,
    /// Each file is one message.
    pub whole: bool,
    /// What happens to a file that was read, when its records are safe.
    pub when_done: WhenDone,
    /// A file is taken to be complete after this long without change.
    pub done_after: Duration,
    /// The number of files that are kept open at a time.
    pub max_open: usize,
}

/// What happens to a file that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDone {
    /// The file stays, and reading goes on when it grows.
    Keep,
    /// The file moves to the folder `done` beside it.
    Move,
    /// The file is removed.
    Delete,
}

impl Settings {
    /// Settings for a path, with the defaults.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self {
            path: path.into(),
            from_end: false,
            poll: Duration::from_millis(250),
            unterminated_after: None,
            gone_after: Duration::from_secs(5),
            max_line: MAX_RECORD,
            header: None,
            breaks: None,
            message_start: None,
            ignore_older: None,
            whole: false,
            when_done: WhenDone::Keep,
            done_after: Duration::from_secs(5),
            max_open: 256,
        }
    }
}

impl Source for Settings {
    fn run(&self, context: Context) -> Running {
        Box::pin(super::run(self.clone(), context))
    }

    fn probe(&self) -> Probing<'_> {
        Box::pin(async { super::probe(self) })
    }

    fn for_tap(&self, whole: bool) -> Result<Arc<dyn Source>, &'static str> {
        // Files that were shown are not done with: nothing of them is stored.
        Ok(Arc::new(Self { from_end: !whole, when_done: WhenDone::Keep, ..self.clone() }))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Reads(self.path.clone())]
    }
}

fn read(section: &mut Section<'_>, routes: &mut dyn Routes) -> Option<Arc<dyn Source>> {
    let path = section
        .text("path")
        .doc("Path of a file, or a pattern with `*`, `?`, `[..]`, `**`.")
        .example("\"/var/log/plant/*.log\"")
        .not_empty()
        .check(|path| {
            let error = glob::Pattern::new(path).err()?;
            Some((format!("`{path}` is not a path or pattern: {error}"), None))
        })
        .need();
    let mut settings = Settings::new(path.as_deref().unwrap_or_default());
    settings.from_end = section
        .choice(
            "start",
            &[
                ("beginning", false, "The whole file is read."),
                ("end", true, "Files that are there at the very first start are read from their end."),
            ],
        )
        .doc("Where reading begins at the very first start.")
        .or(false);
    settings.poll = section
        .duration("poll")
        .doc("Forebay looks for new data and new files this often. With inotify it looks at once, and no more often than this.")
        .within(10 * MS..=60_000 * MS)
        .or(settings.poll);
    settings.unterminated_after = section
        .duration("unterminated_after")
        .doc("A last line without a newline is taken as it is after this long without change.")
        .example("\"30s\"")
        .get_or("when the file was rotated, removed or is complete");
    let max_line = section
        .bytes("max_line")
        .doc("A longer line becomes a dead letter.")
        .within(Bytes(1)..=Bytes(MAX_RECORD as u64))
        .or(Bytes(MAX_RECORD as u64));
    settings.max_line = usize::try_from(max_line.0).unwrap_or(MAX_RECORD);
    settings.message_start = section
        .text("message_start")
        .doc("Regular expression of lines that begin a message. Other lines belong to the message before them.")
        .example("'^\\d{4}-\\d\\d-\\d\\d '")
        .check(|pattern| {
            let error = regex_lite::Regex::new(pattern).err()?;
            let hint = "a regular expression, as in '^\\d{4}-\\d\\d-\\d\\d ' in single quotes";
            Some((format!("`message_start` is no pattern: {error}"), Some(hint.into())))
        })
        .get();
    settings.ignore_older = section
        .duration("ignore_older")
        .doc("Files that were not written to for longer are not begun.")
        .example("\"7d\"")
        .get();
    settings.whole = section.truth("whole").doc("Each file is one message.").or(false);
    settings.when_done = section
        .choice(
            "when_done",
            &[
                ("keep", WhenDone::Keep, "The file stays, and is read on when it grows."),
                ("move", WhenDone::Move, "The file goes to the folder `done` beside it."),
                ("delete", WhenDone::Delete, "The file is removed."),
            ],
        )
        .doc("What becomes of a complete file when its records are safe.")
        .or(WhenDone::Keep);
    settings.done_after = section
        .duration("done_after")
        .doc("A file is taken to be complete after this long without change.")
        .at_least(100 * MS)
        .or(settings.done_after);
    settings.max_open = section
        .whole::<usize>("max_open")
        .doc("Files that are open at a time.")
        .within(1..=100_000)
        .or(settings.max_open);
    let message = routes.read(section, "text");
    settings.header = message.header;
    settings.breaks = message.breaks;
    settings.refuse_contradictions(section, message.format);
    path.map(|_| Arc::new(settings) as Arc<dyn Source>)
}

impl Settings {
    fn refuse_contradictions(&self, section: &Section<'_>, format: &str) {
        if self.message_start.is_some() && format == "csv" {
            section.wrong("message_start", "`message_start` does not go with csv: a line is a record");
        }
        if self.whole && self.message_start.is_some() {
            section.wrong("whole", "`whole` does not go with `message_start`");
        }
        if self.whole && matches!(format, "csv" | "ndjson") {
            let hint = "leave `whole` out; `when_done` works for lines too";
            section.wrong_because("whole", "`whole` does not go with csv and ndjson: a line is a record", hint);
        }
        if self.from_end && self.when_done != WhenDone::Keep {
            let hint = "what was there at the first start would be put away without having been read";
            section.wrong_because("when_done", "`when_done` does not go with `start = \"end\"`", hint);
        }
        let folder = Path::new(&self.path).parent();
        if self.when_done == WhenDone::Move && folder.is_some_and(|folder| folder.ends_with("done")) {
            section.wrong("path", "files of a folder `done` are not read with `when_done = \"move\"`");
        }
    }
}
