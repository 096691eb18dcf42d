//! Readings of whole configurations, and kinds that exist in these tests only.

mod pushed;

use super::root::{read_sink_of, read_source_of};
use super::{Environment, Options, load, load_with};
use crate::decode::{About, Content, DecodeError, Decoder, Format};
use crate::flow::record::PayloadKind;
use crate::section::value::parse;
use crate::section::{Section, Session};
use crate::sink::{self, Sending, Sink, SinkSettings};
use crate::source::{self, Context, Probing, Routes, Running, Source};
use crate::telemetry::Metrics;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files and variables of a test.
#[derive(Default)]
struct Around {
    variables: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<PathBuf, &'static str>,
}

impl Environment for Around {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(ToString::to_string)
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        self.files.get(path).map(ToString::to_string).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    fn files(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let pattern = glob::Pattern::new(pattern).map_err(|error| error.to_string())?;
        Ok(self.files.keys().filter(|path| pattern.matches_path(path)).cloned().collect())
    }

    fn host_name(&self) -> String {
        "host".into()
    }
}

const SOURCE: &str = "[source.a]\nkind = \"file\"\npath = \"/a\"\n";
const SINK: &str = "[sink.d]\nkind = \"directory\"\npath = \"/d\"\n";

fn problems(text: &str, around: &Around) -> String {
    load(text, around).map_or_else(|report| report.to_string(), |_| String::new())
}

#[test]
fn values_come_from_the_environment_and_from_files() {
    let mut around = Around::default();
    around.variables.insert("SITE", "hall-3");
    around.variables.insert("OPEN", "12");
    around.files.insert("/etc/site".into(), "/var/log/x.log\n");
    let text = format!(
        "device = {{ env = \"SITE\", default = \"lab\" }}\n{SINK}roll = {{ env = \"NOT_SET\", default = \"2m\" }}\n\
         [source.a]\nkind = \"file\"\npath = {{ file = \"/etc/site\" }}\nmax_open = {{ env = \"OPEN\" }}\n"
    );
    let (config, _) = load(&text, &around).unwrap();
    assert_eq!(config.device, "hall-3");
    let shown = format!("{:?}{:?}", config.sources, config.sinks);
    assert!(
        shown.contains("/var/log/x.log") && shown.contains("max_open: 12") && shown.contains("roll: 120s"),
        "{shown}"
    );
    for (bad, message) in [
        ("{ env = \"NOT_SET\" }", "NOT_SET is not set, and there is no `default`"),
        ("{ env = \"SITE\" }", "another value stands here, and a whole number, 0 or more is wanted"),
        ("{ file = \"/nowhere\" }", "cannot read /nowhere"),
        ("{ env = \"SITE\", file = \"/etc/site\" }", "give one of `env` and `file`"),
        ("{ env = \"OPEN\", colour = 1 }", "unknown key `colour` beside `env`"),
    ] {
        let shown = problems(&format!("{SOURCE}max_open = {bad}\n{SINK}"), &around);
        assert!(shown.contains(message), "{message:?} is not in\n{shown}");
    }
}

#[test]
fn several_files_are_read_as_one_and_problems_name_theirs() {
    let mut around = Around::default();
    around.files.insert("/etc/forebay/conf.d/a.toml".into(), "[source.a]\nkind = \"file\"\npath = \"/a\"\n");
    around.files.insert("/etc/forebay/conf.d/b.toml".into(), "[source.b]\nkind = \"file\"\npath = \"/b\"\n");
    let options = Options { path: Some(Path::new("/etc/forebay/forebay.toml")), ..Options::default() };
    let text = format!("include = [\"conf.d/*.toml\"]\n{SINK}");
    let (config, _) = load_with(&text, &around, options).unwrap();
    assert_eq!(config.sources.iter().map(|source| &*source.name).collect::<Vec<_>>(), ["a", "b"]);
    for (name, included, message) in [
        (
            "c",
            "[sink.d]\nkind = \"directory\"\npath = \"/e\"\n",
            "c.toml: line 1, column 7: `d` stands in another file",
        ),
        ("c", "[source.c]\nkind = \"file\"\npath = 5\n", "c.toml: line 3, column 8: 5 stands here"),
        ("c", "include = [\"x\"]\n", "an included file includes no others"),
        ("c", "oops", "c.toml: line 1"),
    ] {
        let mut around = Around::default();
        around.files.insert(format!("/etc/forebay/conf.d/{name}.toml").into(), included);
        let shown = load_with(&format!("{text}{SOURCE}"), &around, options).unwrap_err().to_string();
        assert!(shown.contains(message), "{message:?} is not in\n{shown}");
    }
    let shown = problems(&format!("include = [\"nowhere.toml\"]\n{SOURCE}{SINK}"), &around);
    assert!(shown.contains("there is no file nowhere.toml"), "{shown}");
    assert!(problems(&format!("include = \"x\"\n{SOURCE}{SINK}"), &around).contains("a list of paths is wanted"));
}

#[test]
fn texts_and_lists_that_must_not_be_empty_say_so() {
    for (key, text) in [
        ("path", format!("{SINK}[source.a]\nkind = \"file\"\npath = \"\"\n")),
        ("path", format!("{SINK}[source.a]\nkind = \"serial\"\npath = \"\"\nframing = \"line\"\n")),
        ("path", format!("{SOURCE}[sink.d]\nkind = \"directory\"\npath = \"\"\n")),
        (
            "client_id",
            format!("{SINK}[source.a]\nkind = \"mqtt\"\nurl = \"mqtt://h\"\ntopics = [\"t\"]\nclient_id = \"\"\n"),
        ),
        ("columns", format!("{SINK}{SOURCE}decoder = \"csv\"\ncsv = {{ columns = [] }}\n")),
        ("brokers", format!("{SOURCE}[sink.k]\nkind = \"kafka\"\ntopic = \"t\"\nbrokers = []\n")),
    ] {
        let shown = problems(&text, &Around::default());
        assert!(shown.contains(&format!("`{key}` is empty")), "{shown}");
        assert_eq!(shown.matches("column ").count(), 1, "{shown}");
    }
}

#[test]
fn one_wrong_value_gives_one_problem() {
    for text in [
        format!("{SINK}[source.a]\nkind = \"file\"\npath = 5\n"),
        format!("{SINK}[source.a]\nkind = \"file\"\npth = \"/a\"\n"),
        format!("{SINK}[source.a]\nkind = \"flie\"\npath = \"/a\"\ncolour = 1\n[stream.x]\ncap = \"2MiB\"\n"),
        format!("{SINK}[source.a]\nkind = \"http\"\nlisten = \"0.0.0.0:80\"\ntoken = \"t\"\n"),
        format!("{SINK}[source.a]\nkind = \"mqtt\"\nurl = \"x\"\ntopics = [\"a\"]\n"),
        format!("{SOURCE}decoder = \"jsn\"\n{SINK}"),
        format!("{SOURCE}[sink.h]\nkind = \"eventhubs\"\nconnection = {{ env = \"NOT_SET\" }}\n"),
        format!("{SOURCE}[sink.h]\nkind = \"eventhubs\"\nnamespace = \"n\"\ncredential = 5\n"),
        format!("device = 5\n{SOURCE}{SINK}"),
        format!("{SOURCE}poll = {{ env = \"NOT_SET\", default = 5 }}\n{SINK}"),
        format!("{SOURCE}poll = {{ env = \"NOT_SET\", defalt = \"5s\" }}\n{SINK}"),
        format!("{SINK}[source.b]\nkind = \"modbus\"\ntcp = \"10.0.0.1\"\nslave = []\n"),
        format!("{SINK}[source.b]\nkind = \"modbus\"\ntcp = \"10.0.0.1\"\n[[source.b.slaves]]\nunit = 1\n"),
        format!(
            "{SINK}[source.b]\nkind = \"modbus\"\ntpc = \"10.0.0.1\"\n[[source.b.slave]]\nunit = 1\nregisters = [{{ name = \"t\", address = 1 }}]\n"
        ),
        format!(
            "{SINK}[source.b]\nkind = \"modbus\"\ntcp = \"h\"\n[[source.b.slave]]\nunit = 1\nregisters = [{{ name = \"t\", address = 1, table = \"coill\", type = \"bool\" }}]\n"
        ),
        format!("{SINK}[source.m]\nkind = \"mqtt\"\nurl = \"mqtt://h\"\ntopics = [5]\n"),
        format!("{SINK}[source.m]\nkind = \"mqtt\"\nurl = \"mqtt://h\"\nsubscription = []\n"),
        format!(
            "{SINK}[source.m]\nkind = \"mqtt\"\nurl = \"mqtt://h\"\ntopics = [\"a\"]\nprotocol = \"6\"\nreceive_maximum = 5\n"
        ),
        format!("{SINK}[source.s]\nkind = \"serial\"\npath = \"/dev/x\"\nframing = \"delimeter\"\ndelimiter = \"x\"\n"),
        format!(
            "{SINK}[source.s]\nkind = \"serial\"\npath = \"/dev/x\"\ndecoder = \"csv\"\ncsv = {{ columns = [] }}\n"
        ),
        format!(
            "{SINK}[source.s]\nkind = \"serial\"\npath = \"/dev/x\"\nframing = \"fixed\"\nlength = 5000\nmax_frame = 5000\n"
        ),
        format!("{SOURCE}decoder = \"jsn\"\nfields = [\"a\"]\n[[source.a.check]]\nfield = \"a\"\nmax = 1\n{SINK}"),
        format!("{SOURCE}decoder = \"cvs\"\ncsv = {{ delimiter = \";\" }}\n{SINK}"),
        format!(
            "{SOURCE}[sink.k]\nkind = \"kafka\"\nbrokers = [\"b\"]\ntopic = \"t\"\npartition_by = \"atribute\"\npartition_attribute = \"l\"\n"
        ),
        format!(
            "{SOURCE}[sink.h]\nkind = \"eventhubs\"\nnamespace = \"n\"\nevent_hub = \"e\"\ncredentail = {{ kind = \"managed-identity\" }}\n"
        ),
        format!(
            "{SOURCE}[sink.h]\nkind = \"eventhubs\"\nnamespace = \"n\"\nevent_hub = \"e\"\ncredential = {{ kind = \"managed-identity\" }}\nconnection = {{ env = \"NOT_SET\" }}\n"
        ),
        format!(
            "{SINK}[source.a]\nkind = \"http\"\nlisten = \"0.0.0.0:80\"\ntls = {{ certificate = \"/x\", client_ca = \"/y\" }}\n"
        ),
        format!("[store]\ncap = 3000000000\nreserve = \"2GiB\"\n[stream.readings]\nkeep = \"700MiB\"\n{SOURCE}{SINK}"),
        format!("[sourc.a]\nkind = \"file\"\npath = \"/a\"\n{SINK}"),
        format!("stat = \"/s\"\n{SOURCE}{SINK}"),
    ] {
        let report = load(&text, &Around::default()).unwrap_err();
        assert_eq!(report.problems().len(), 1, "{text}{report}");
    }
}

#[test]
fn secrets_are_not_looked_up_where_they_are_not_wanted() {
    let text = format!(
        "{SOURCE}[sink.h]\nkind = \"eventhubs\"\nconnection = {{ env = \"NOT_SET\" }}\nevent_hub = \"e\"\n\
         proxy = {{ address = \"p:1\", username = \"u\", password = {{ file = \"/nowhere\" }} }}\n"
    );
    assert_eq!(load(&text, &Around::default()).unwrap_err().problems().len(), 2);
    let options = Options { without_secrets: true, ..Options::default() };
    let (_, notes) = load_with(&text, &Around::default(), options).unwrap();
    assert!(notes.warnings.problems().is_empty(), "{}", notes.warnings);
    // What is no secret is still checked.
    let text = text.replace("\"p:1\"", "\"p\"");
    assert_eq!(load_with(&text, &Around::default(), options).unwrap_err().problems().len(), 1);
}

/// A value from outside may be a secret that is in the wrong place.
#[test]
fn what_comes_from_outside_is_never_repeated() {
    let mut around = Around::default();
    around.variables.insert("PW", "hunter2");
    around.files.insert("/pw".into(), "correct horse\n");
    for wrong in [
        "start = { env = \"PW\" }",
        "when_done = { file = \"/pw\" }",
        "message_start = { env = \"PW\" }\nstart = { env = \"PW\" }",
        "stream = { file = \"/pw\" }",
    ] {
        let shown = problems(&format!("{SOURCE}{wrong}\n{SINK}"), &around);
        assert!(!shown.is_empty() && !shown.contains("hunter2") && !shown.contains("horse"), "{shown}");
    }
}

#[test]
fn includes_are_read_once_and_folders_are_no_patterns() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("we[i]rd");
    std::fs::create_dir(&folder).unwrap();
    let main = folder.join("forebay.toml");
    std::fs::write(&main, format!("include = [\"*.toml\", \"m*.toml\"]\n{SINK}")).unwrap();
    std::fs::write(folder.join("more.toml"), SOURCE).unwrap();
    let text = std::fs::read_to_string(&main).unwrap();
    let options = Options { path: Some(&main), ..Options::default() };
    let (config, _) = load_with(&text, &super::System, options).unwrap();
    assert_eq!((config.sources.len(), config.sinks.len()), (1, 1));
}

#[test]
fn configurations_can_be_compared() {
    let read = |text: &str| load(text, &Around::default()).unwrap().0;
    let text = format!("{SOURCE}{SINK}");
    assert_eq!(read(&text), read(&text));
    assert_ne!(read(&text), read(&text.replace("\"/a\"", "\"/b\"")));
    assert_ne!(read(&text), read(&text.replace("\"/d\"", "\"/e\"")));
    assert_ne!(read(&text), read(&format!("{SINK}{SOURCE}decoder = \"json\"\n")));
    assert_ne!(read(&text), read(&format!("{text}linger = \"2s\"\n")));
}

/// A source that needs nothing but its file and its row.
#[derive(Debug, Clone, PartialEq)]
struct Toy {
    every: std::time::Duration,
}

impl Source for Toy {
    fn run(&self, _: Context) -> Running {
        Box::pin(async {})
    }

    fn probe(&self) -> Probing<'_> {
        Box::pin(async { Ok(format!("every {:?}", self.every)) })
    }

    fn for_tap(&self, _whole: bool) -> Result<Arc<dyn Source>, &'static str> {
        Ok(Arc::new(self.clone()))
    }
}

fn read_toy(section: &mut Section<'_>, routes: &mut dyn Routes) -> Option<Arc<dyn Source>> {
    let every = section.duration("every").doc("Time between toys.").example("\"1s\"").need();
    routes.read(section, "json");
    Some(Arc::new(Toy { every: every? }))
}

/// A sink of the same sort.
#[derive(Debug, Clone, PartialEq)]
struct Shelf {
    board: String,
}

impl std::fmt::Display for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "board {}", self.board)
    }
}

impl SinkSettings for Shelf {
    fn open(&self, _: Arc<Metrics>) -> Arc<dyn Sink> {
        unimplemented!("no toy is delivered")
    }
}

fn read_shelf(section: &mut Section<'_>) -> Option<sink::Settings> {
    let board = section.text("board").doc("The board.").example("\"top\"").need();
    let sending = Sending::read(section);
    Some((Arc::new(Shelf { board: board? }), sending))
}

/// And a format: a message is its first byte.
#[derive(Debug, Clone, PartialEq)]
struct FirstByte;

impl Format for FirstByte {
    fn name(&self) -> &'static str {
        "first-byte"
    }

    fn is_by_line(&self) -> bool {
        false
    }

    fn decode<'m>(&self, message: &'m [u8], _: &About<'_>) -> Result<Content<'m>, DecodeError> {
        if message.is_empty() { Err(DecodeError::Empty("a byte")) } else { Ok(Content::Verbatim(PayloadKind::Bytes)) }
    }
}

#[test]
fn a_new_kind_is_a_row_and_what_it_brings_itself() {
    let around = Around::default();
    let session = Session::new(&around, false);
    let section = |text: &str| session.section("source.NAME", "source.toy", 0..0, parse(text, 0).unwrap());
    let kind = source::Kind { name: "toy", doc: "Toys.", read: read_toy };
    let source = read_source_of(&kind, "toy", section("every = \"2s\"\nstream = \"toys\"\nheld = \"3MiB\"\n")).unwrap();
    assert_eq!((source.kind, source.held, &*source.routes[0].stream), ("toy", 3 << 20, "toys"));
    let kind = sink::Kind { name: "shelf", doc: "Shelves.", read: read_shelf };
    let sink = read_sink_of(&kind, "shelf", section("board = \"top\"\nlinger = \"5s\"\n")).unwrap();
    assert_eq!((sink.settings.to_string(), sink.sending.linger.as_secs()), ("board top".into(), 5));
    assert!(session.is_good());
    assert!(
        read_source_of(&source::Kind { name: "toy", doc: "", read: read_toy }, "toy", section("evry = 5\n")).is_none()
    );
    let (problems, ..) = session.end();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let decoder = Decoder::new(FirstByte);
    let one = decoder.decode(b"x", &About::default()).unwrap().remove(0).unwrap();
    assert_eq!(one.kind, PayloadKind::Bytes);
    assert!(decoder.decode(b"", &About::default()).is_err());
}
