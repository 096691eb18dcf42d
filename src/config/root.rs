//! Turns the whole table into a `Config`. Each section goes to the part that owns it.

use super::cross::Cross;
use super::{Config, Environment, Notes, Options, Sink, Source, StoreConfig};
use crate::control;
use crate::dashboard;
use crate::flow::record::is_own_stream;
use crate::intake::Route;
use crate::monitor;
use crate::section::{Bytes, Data, Key, Report, Section, Session, Texts, Value};
use crate::sink;
use crate::source::{self, Message, Routes};
use crate::store::{Begin, ReaderRule, Role, Selection};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

const STATE: &str = "/var/lib/forebay";
/// The least and the most memory that the agent may take.
const LEAST_MEMORY: Bytes = Bytes(16 << 20);
const MOST_MEMORY: Bytes = Bytes(1 << 40);
/// The bytes of messages that one source may hold in memory: the least, the default and the most.
const LEAST_HELD: Bytes = Bytes(2 << 20);
const HELD: Bytes = Bytes(4 << 20);
const MOST_HELD: Bytes = Bytes(1 << 30);

/// Reads and checks the whole table. See `config::load`.
pub(super) fn read(
    root: Vec<(Key, Value)>,
    texts: Texts,
    environment: &dyn Environment,
    (options, own): (Options<'_>, Vec<PathBuf>),
) -> Result<(Config, Notes), Report> {
    let session = Session::new(environment, options.without_secrets);
    let pushed = options.pushed.map(|_| own);
    let config = read_root(session.section("", "", 0..0, root), environment, (options.state, pushed));
    let (problems, warnings, assumed) = session.end();
    if problems.is_empty() {
        Ok((config, Notes { assumed, warnings: Report::new(texts, warnings) }))
    } else {
        Err(Report::new(texts, problems))
    }
}

/// `pushed` has the files that are the agent's own, when a document is over the local file.
pub(super) fn read_root(
    mut section: Section<'_>,
    environment: &dyn Environment,
    (other_state, pushed): (Option<&Path>, Option<Vec<PathBuf>>),
) -> Config {
    let (is_pushed, own_files) = (pushed.is_some(), pushed.unwrap_or_default());
    let session = section.session();
    let device = section
        .text("device")
        .doc("Name of this device. It is part of every event and of the MQTT client id.")
        .example("\"hall-3\"")
        .check(|name| name.is_empty().then(|| ("`device` must be text, and not empty".into(), None)))
        .get_or("the host's name");
    let device = match device {
        Some(device) => {
            session.name(section.at("device"), &device);
            device
        }
        None => {
            let device = environment.host_name();
            if !section.has("device") {
                session.assume(format!("device = \"{device}\" (the host's name)"));
            }
            device
        }
    };
    session.set_device(&device);
    let state = section
        .text("state")
        .doc("Folder of the store. It belongs to one agent; on an SD card it is what wears it.")
        .check(|path| path.is_empty().then(|| ("`state` must be text, and not empty".into(), None)))
        .or(STATE.into());
    if !section.has("state") {
        session.assume(format!("state = \"{STATE}\""));
    }
    let memory_max = section
        .bytes("memory_max")
        .doc("The memory that the agent may take for data. When it takes more, its sources wait until what they hold is on disk. A quarter of it is the largest MQTT packet.")
        .within(LEAST_MEMORY..=MOST_MEMORY)
        .example("\"192MiB\"")
        .get_or("three quarters of the memory of the service or of the machine")
        .map(|memory| memory.0);
    let secrets = section.tables_by_name(
        "secret",
        "A secret by name: `[secret.hub]` with `env`, `file` or `credential`. A pushed document names it: `{ secret = \"hub\" }`.",
    );
    session.name_secrets(secrets);
    let remote = control::Settings::read(&mut section);
    let restrict = control::Restrict::read(&mut section);
    let mut store = StoreConfig::read(&mut section);
    let page = dashboard::Settings::read(&mut section);
    let alerts = named(&mut section, "alert", "An alert: what is watched, and when somebody is told.");
    let mut places: BTreeMap<String, Range<usize>> =
        alerts.iter().map(|(name, at, _)| (format!("alert.{name}"), at.clone())).collect();
    let monitor = monitor::Settings::read(&mut section, alerts);
    let (mut sources, mut of) = (Vec::new(), 0);
    for (name, at, table) in named(&mut section, "source", "A source: where readings come from.") {
        places.insert(format!("source.{name}"), at);
        of += 1;
        sources.extend(read_source(&name, table));
    }
    let mut sinks = Vec::new();
    for (name, at, table) in named(&mut section, "sink", "A sink: where events go.") {
        places.insert(format!("sink.{name}"), at);
        sinks.extend(read_sink(&name, table));
    }
    let streams = named(&mut section, "stream", "Rules of one stream: what is kept, and what gives way.");
    store.read_streams(streams, &sources, &monitor.produced(), sources.len() == of);
    section.end();
    let kinds = |names: Vec<&str>| names.join("\", \"");
    let are_read = session.is_good();
    // The parts of a device that is told from afar come with the first document.
    let is_whole = remote.is_none() || is_pushed;
    if sources.is_empty() && are_read && is_whole {
        let kinds = kinds(source::KINDS.iter().map(|kind| kind.name).collect());
        let hint = format!("add a [source.NAME] with kind = one of \"{kinds}\"");
        session.problem(0..0, "there is no source", Some(hint));
    }
    if sinks.is_empty() && are_read && is_whole {
        let kinds = kinds(sink::KINDS.iter().map(|kind| kind.name).collect());
        let hint = format!("add a [sink.NAME] with kind = one of \"{kinds}\"");
        session.problem(0..0, "there is no sink", Some(hint));
    }
    let state = PathBuf::from(state);
    let config = Config {
        device,
        state,
        memory_max,
        store,
        page,
        monitor,
        remote,
        restrict,
        own_files,
        sources,
        sinks,
        generation: 1,
    };
    if session.is_good() {
        let cross = Cross { session, config: &config, places: &places };
        cross.check();
        if is_pushed {
            cross.restricted(other_state);
        }
    }
    config
}

/// The tables of `[source]`, `[sink]` or `[stream]`: the name, the place of the name, and the section.
fn named<'c>(
    section: &mut Section<'c>,
    what: &'static str,
    doc: &'static str,
) -> Vec<(String, Range<usize>, Section<'c>)> {
    let session = section.session();
    let mut found = Vec::new();
    for (key, value) in section.tables_by_name(what, doc) {
        if what != "stream" || !is_own_stream(&key.name) {
            session.name(key.span.clone(), &key.name);
        }
        let label = format!("{what}.{}", key.name);
        match value.data {
            Data::Table(table) => {
                let path = format!("{what}.NAME");
                found.push((key.name, key.span, session.section(&path, &label, value.span, table)));
            }
            other => {
                let hint = format!("write it as [{label}] on a line of its own");
                let message = format!("{} stands here, and a table is wanted", other.words(true));
                session.problem(value.span, message, Some(hint));
            }
        }
    }
    found
}

/// The routes of one source.
#[derive(Default)]
struct Found(Vec<Route>);

impl Routes for Found {
    fn read(&mut self, section: &mut Section<'_>, usual: &'static str) -> Message {
        let route = Route::read(section, usual);
        let format = &route.decoder.format;
        let (name, header, breaks) = (format.name(), format.header(), format.line_breaks());
        self.0.push(route);
        Message { route: self.0.len() - 1, format: name, header, breaks }
    }

    fn like(&mut self, route: usize, decoder: &'static str) {
        if let Some(route) = self.0.get(route).cloned() {
            let decoder = route.decoder.like(decoder);
            self.0.push(Route { decoder, ..route });
        }
    }
}

fn read_source(name: &str, mut section: Section<'_>) -> Option<Source> {
    let kinds: Vec<_> = source::KINDS.iter().enumerate().map(|(at, kind)| (kind.name, at, kind.doc)).collect();
    // Without the kind, the keys of a section are not known. So nothing more is reported about the section.
    let kind =
        &source::KINDS[section.choice("kind", &kinds).doc("The kind of source.").example("\"mqtt\"").or_missing()?];
    read_source_of(kind, name, section)
}

pub(super) fn read_source_of(kind: &source::Kind, name: &str, mut section: Section<'_>) -> Option<Source> {
    let held = section.grouped("every source", |section| {
        section
            .bytes("held")
            .doc("Messages that are not on disk yet take at most this much memory. When more come, the source makes its peer wait.")
            .within(LEAST_HELD..=MOST_HELD)
            .or(HELD)
    });
    let mut routes = Found::default();
    let settings = (kind.read)(&mut section, &mut routes);
    section.end();
    let held = usize::try_from(held.0).unwrap_or(usize::MAX);
    Some(Source { name: name.into(), kind: kind.name, settings: settings?, routes: routes.0, held })
}

fn read_sink(name: &str, mut section: Section<'_>) -> Option<Sink> {
    let kinds: Vec<_> = sink::KINDS.iter().enumerate().map(|(at, kind)| (kind.name, at, kind.doc)).collect();
    let kind =
        &sink::KINDS[section.choice("kind", &kinds).doc("The kind of sink.").example("\"eventhubs\"").or_missing()?];
    read_sink_of(kind, name, section)
}

pub(super) fn read_sink_of(kind: &sink::Kind, name: &str, mut section: Section<'_>) -> Option<Sink> {
    let reader = section.grouped("every sink", |section| {
        let from = section
            .texts("from")
            .doc("The streams that the sink reads.")
            .example("[\"readings\"]")
            .check(|from| {
                let hint = "leave it out to read every stream";
                from.is_empty().then(|| ("`from` is empty".into(), Some(hint.into())))
            })
            .get_or("every stream that is not Forebay's own");
        if !section.has("from") {
            section.assume("from = every stream that is not Forebay's own");
        }
        let begin = section
            .choice(
                "begin",
                &[
                    ("oldest", Begin::Oldest, "All that the store still has."),
                    ("newest", Begin::Newest, "What arrives from now on."),
                ],
            )
            .doc("Where a new sink begins to read.")
            .or(Begin::Oldest);
        let streams =
            from.map_or(Selection::All, |from| Selection::Named(from.into_iter().map(|stream| stream.value).collect()));
        ReaderRule { name: name.into(), streams, begin, role: Role::Sink }
    });
    let settings = (kind.read)(&mut section);
    section.end();
    let (settings, sending) = settings?;
    Some(Sink { name: name.into(), settings, reader, sending })
}
