//! `[source.NAME]`

use super::{Checker, Table};
use crate::config::value::{Bytes, CONTENT_TYPES, Csv, Decoder, File, Format, Route, WhenDone};
use crate::config::{Source, raw};
use crate::flow::record::MAX_RECORD;
use crate::source::Kind;
use serde::Deserialize;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

/// Held in memory by one source at most, in bytes.
const HELD: usize = 4 << 20;
const LEAST_HELD: usize = 2 << 20;
const MOST_HELD: usize = 1 << 30;

impl Checker<'_> {
    pub(super) fn source(&mut self, name: &str, span: Range<usize>, mut body: Table<'_>) -> Option<Source> {
        let kind = self.kind(&span, &mut body, &["mqtt", "file", "serial", "modbus", "http"])?;
        let held = self.held(body.remove("held"));
        let label = format!("source.{name}");
        match kind.as_str() {
            "mqtt" => {
                let (routes, subscriptions) = self.subscriptions(&label, &span, &mut body);
                let raw: raw::mqtt::Mqtt = self.fields(span.clone(), body);
                let window = raw.window.as_ref().map(|window| *window.get_ref());
                if let Some(at) = raw.window.as_ref().filter(|_| window == Some(0)) {
                    self.problem(at.span(), "`window` must be at least 1".into(), None);
                }
                let kind = self.mqtt(&label, &span, raw, subscriptions)?;
                Some(Source { name: name.into(), kind: Kind::Mqtt(kind), routes, window, held })
            }
            "http" => {
                let open = !body.contains_key("decoder");
                let route = self.route(&label, &span, &mut body, Format::Json);
                let by_type = [Format::Ndjson, Format::Csv(Csv::default()), Format::Text, Format::Bytes];
                let mut routes = vec![route.clone()];
                if open {
                    self.assume(format!("{label}: decoder by content-type: {}", CONTENT_TYPES.join(", ")));
                    routes.extend(by_type.map(|format| {
                        let decoder = Decoder { format, ..route.decoder.clone() };
                        // Text and bytes have no members that rules could be for.
                        let decoder = if decoder.format.has_members() { decoder } else { Decoder::new(decoder.format) };
                        Route { decoder, ..route.clone() }
                    }));
                }
                let raw: raw::Http = self.fields(span.clone(), body);
                let influx = matches!(route.decoder.format, Format::Influx(_));
                let kind = self.http(&label, &span, raw, open, influx)?;
                Some(Source { name: name.into(), kind: Kind::Http(kind), routes, window: None, held })
            }
            "modbus" => {
                let routes = vec![self.route(&label, &span, &mut body, Format::Json)];
                let line = self.line(&label, &span, &mut body);
                let raw: raw::modbus::Modbus = self.fields(span.clone(), body);
                let kind = self.modbus(&label, &span, line, raw)?;
                Some(Source { name: name.into(), kind: Kind::Modbus(kind), routes, window: None, held })
            }
            "serial" => {
                let routes = vec![self.route(&label, &span, &mut body, Format::Text)];
                if routes[0].decoder.wants_header() {
                    let hint = "csv = { columns = [\"time\", \"value\"] }";
                    self.problem(span.clone(), "a serial port has no header line".into(), Some(hint.into()));
                }
                let line = self.line(&label, &span, &mut body);
                let raw: raw::serial::Serial = self.fields(span.clone(), body);
                let kind = self.serial(&label, &span, line, raw)?;
                Some(Source { name: name.into(), kind: Kind::Serial(kind), routes, window: None, held })
            }
            _ => {
                let routes = vec![self.route(&label, &span, &mut body, Format::Text)];
                let raw: raw::File = self.fields(span.clone(), body);
                let mut kind = self.file(&span, raw)?;
                if let Format::Csv(csv) = &routes[0].decoder.format {
                    if kind.message_start.is_some() {
                        self.problem(
                            span.clone(),
                            "`message_start` does not go with csv: a line is a record".into(),
                            None,
                        );
                    }
                    kind.header = csv.columns.is_none().then_some(csv.delimiter);
                }
                if kind.whole && matches!(routes[0].decoder.format, Format::Csv(_) | Format::Ndjson) {
                    let hint = "leave `whole` out; `when_done` works for lines too";
                    self.problem(
                        span.clone(),
                        "`whole` does not go with csv and ndjson: a line is a record".into(),
                        Some(hint.into()),
                    );
                }
                Some(Source { name: name.into(), kind: Kind::File(kind), routes, window: None, held })
            }
        }
    }

    /// What may be held in memory.
    fn held(&mut self, value: Option<Spanned<DeValue<'_>>>) -> usize {
        let Some(value) = value else { return HELD };
        let span = value.span();
        let read = Bytes::deserialize(ValueDeserializer::from(value));
        match read.map(|bytes| usize::try_from(bytes.0).unwrap_or(usize::MAX)) {
            Ok(bytes) if (LEAST_HELD..=MOST_HELD).contains(&bytes) => return bytes,
            Ok(_) => self.problem(span, "`held` must be from 2MiB to 1GiB".into(), None),
            Err(error) => self.problem(span, error.message().into(), None),
        }
        HELD
    }

    fn file(&mut self, span: &Range<usize>, raw: raw::File) -> Option<File> {
        let path = self.need(raw.path, span, "path", "\"/var/log/plant/*.log\"")?;
        if let Err(error) = glob::Pattern::new(path.get_ref()) {
            self.problem(path.span(), format!("`{}` is not a path or pattern: {error}", path.get_ref()), None);
        }
        if path.get_ref().is_empty() {
            self.problem(path.span(), "`path` is empty".into(), None);
        }
        let mut file = File::new(path.get_ref());
        file.from_end = raw.start.is_some_and(|start| *start.get_ref() == raw::Start::End);
        if let Some(poll) = raw.poll {
            file.poll = poll.get_ref().0;
            if !(10..=60_000).contains(&file.poll.as_millis()) {
                self.problem(poll.span(), "`poll` must be from 10ms to 60s".into(), None);
            }
        }
        if let Some(after) = raw.unterminated_after {
            file.unterminated_after = Some(after.get_ref().0);
        }
        if let Some(most) = raw.max_line {
            file.max_line = usize::try_from(most.get_ref().0).unwrap_or(usize::MAX);
            if !(1..=MAX_RECORD).contains(&file.max_line) {
                self.problem(most.span(), "`max_line` must be from 1B to 1MiB".into(), None);
            }
        }
        if let Some(pattern) = raw.message_start {
            if let Err(error) = regex_lite::Regex::new(pattern.get_ref()) {
                let hint = "a regular expression, as in '^\\d{4}-\\d\\d-\\d\\d ' in single quotes";
                self.problem(pattern.span(), format!("`message_start` is no pattern: {error}"), Some(hint.into()));
            }
            file.message_start = Some(pattern.into_inner());
        }
        file.ignore_older = raw.ignore_older.map(|span| span.get_ref().0);
        if let Some(whole) = raw.whole {
            file.whole = *whole.get_ref();
            if file.whole && file.message_start.is_some() {
                self.problem(whole.span(), "`whole` does not go with `message_start`".into(), None);
            }
        }
        if let Some(when_done) = raw.when_done {
            file.when_done = *when_done.get_ref();
            if file.from_end && file.when_done != WhenDone::Keep {
                let hint = "what was there at the first start would be put away without having been read";
                let problem = "`when_done` does not go with `start = \"end\"`".into();
                self.problem(when_done.span(), problem, Some(hint.into()));
            }
        }
        let folder = std::path::Path::new(&file.path).parent();
        if file.when_done == WhenDone::Move && folder.is_some_and(|folder| folder.ends_with("done")) {
            self.problem(path.span(), "files of a folder `done` are not read with `when_done = \"move\"`".into(), None);
        }
        if let Some(after) = raw.done_after {
            file.done_after = after.get_ref().0;
            if file.done_after.as_millis() < 100 {
                self.problem(after.span(), "`done_after` must be at least 100ms".into(), None);
            }
        }
        if let Some(most) = raw.max_open {
            file.max_open = *most.get_ref();
            if !(1..=100_000).contains(&file.max_open) {
                self.problem(most.span(), "`max_open` must be from 1 to 100000".into(), None);
            }
        }
        Some(file)
    }
}
