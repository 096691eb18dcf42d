//! The checks of the parts of a configuration against each other.

use super::{Config, Sink, restrict};
use crate::flow::record::is_own_stream;
use crate::monitor::alert::What;
use crate::monitor::heartbeat::STREAM as HEARTBEAT;
use crate::section::{Claim, Session, nearest};
use crate::store::Selection;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

/// Checks a configuration whose parts are each good by themselves.
pub(super) struct Cross<'a, 'e> {
    pub session: &'a Session<'e>,
    pub config: &'a Config,
    /// The place of each section, by its label `source.NAME` or `sink.NAME`.
    pub places: &'a BTreeMap<String, Range<usize>>,
}

impl Cross<'_, '_> {
    pub fn check(&self) {
        let produced = self.config.produced();
        self.unread(&produced);
        self.alerts(&produced);
        self.unknown_streams(&produced);
        self.shared();
        self.folders();
    }

    /// Reports what a pushed document may not use.
    pub fn restricted(&self, other_state: Option<&Path>) {
        for (label, message, hint) in restrict::broken(self.config, other_state) {
            self.session.problem(self.place(&label), message, Some(hint.into()));
        }
    }

    fn place(&self, label: &str) -> Range<usize> {
        self.places.get(label).cloned().unwrap_or(0..0)
    }

    /// Reports a stream that no sink reads and that has no `keep`: it would fill the store.
    fn unread(&self, produced: &BTreeSet<&str>) {
        for stream in produced {
            let reads = |sink: &Sink| match &sink.reader.streams {
                Selection::All => true,
                Selection::Named(names) => names.iter().any(|name| name == stream),
            };
            let kept = self.config.store.streams.iter().any(|(name, rule)| name == stream && rule.keep.is_some());
            if !self.config.sinks.iter().any(reads) && !kept {
                let hint = format!("name it in a sink's `from`, or set `keep` in [stream.{stream}]");
                let message = format!("no sink reads the stream `{stream}`, and nothing says how much to keep");
                self.session.problem(0..0, message, Some(hint));
            }
        }
    }

    /// Reports a stream that a sink reads and no source writes.
    fn unknown_streams(&self, produced: &BTreeSet<&str>) {
        for sink in &self.config.sinks {
            let Selection::Named(names) = &sink.reader.streams else { continue };
            let ruled = |name: &String| self.config.store.streams.iter().any(|(known, _)| known == name);
            let is_known = |name: &String| produced.contains(&**name) || is_own_stream(name) || ruled(name);
            for name in names.iter().filter(|name| !is_known(name)) {
                let near = nearest(name, produced.iter().copied()).map(|near| format!("did you mean \"{near}\"?"));
                let all = || format!("there are: {}", produced.iter().copied().collect::<Vec<_>>().join(", "));
                let message = format!("sink `{}` reads the stream `{name}`, which no source writes", sink.name);
                let (at, hint) = (self.place(&format!("sink.{}", sink.name)), Some(near.unwrap_or_else(all)));
                // The store may still hold records that were written to the stream earlier. A sink that reads only
                // such streams is a mistake.
                if names.iter().any(is_known) {
                    self.session.warn(at, message, hint);
                } else {
                    self.session.problem(at, message, hint);
                }
            }
        }
    }

    /// Reports an alert over a stream or a part that is not there, and a stream of alerts that somebody else writes.
    fn alerts(&self, produced: &BTreeSet<&str>) {
        let alerts = &self.config.monitor.alerts;
        for rule in &alerts.rules {
            let at = self.place(&format!("alert.{}", rule.name));
            let problem = |message: String, hint: Option<String>| self.session.problem(at.clone(), message, hint);
            if let What::Field { stream, .. } = &rule.what
                && !produced.contains(&**stream)
                && !is_own_stream(stream)
            {
                let near = nearest(stream, produced.iter().copied()).map(|near| format!("did you mean \"{near}\"?"));
                problem(format!("alert `{}` watches the stream `{stream}`, which nobody writes", rule.name), near);
            }
            let Some(of) = &rule.of else { continue };
            let sources = self.config.sources.iter().map(|source| format!("source.{}", source.name));
            let parts: Vec<String> =
                sources.chain(self.config.sinks.iter().map(|sink| format!("sink.{}", sink.name))).collect();
            if !parts.contains(of) {
                let hint = format!("there are: {}", parts.join(", "));
                problem(format!("alert `{}` is of `{of}`, which is not there", rule.name), Some(hint));
            }
            for metric in rule.not_counted() {
                let hint = "docs/metrics.md says who counts each metric; leave `of` out for those of the agent";
                problem(format!("alert `{}`: `{of}` has no `{metric}`", rule.name), Some(hint.into()));
            }
        }
        let routes = self.config.sources.iter().flat_map(|source| &source.routes);
        let heartbeat = self.config.monitor.heartbeat.map(|_| HEARTBEAT);
        let written: BTreeSet<&str> = routes.map(|route| &*route.stream).chain(heartbeat).collect();
        if let Some(stream) = alerts.stream.as_deref().filter(|stream| written.contains(stream)) {
            let hint = "give the alerts a stream of their own";
            self.session.problem(
                0..0,
                format!("the stream of the alerts, `{stream}`, has another writer"),
                Some(hint.into()),
            );
        }
    }

    /// Reports resources that two sources may not share: a client id at one broker, an address, a serial port.
    fn shared(&self) {
        let mut sessions: BTreeMap<(String, String), &str> = BTreeMap::new();
        let mut lines: BTreeMap<PathBuf, &str> = BTreeMap::new();
        let mut clashing: BTreeSet<(&str, &str)> = BTreeSet::new();
        let mut listeners: Vec<(SocketAddr, &str)> = Vec::new();
        if let Some(page) = &self.config.page {
            listeners.extend(page.listen.map(|listen| (listen, "page")));
        }
        for source in &self.config.sources {
            let at = self.place(&format!("source.{}", source.name));
            let name = source.name.as_str();
            let problem = |message: String, hint: &str| self.session.problem(at.clone(), message, Some(hint.into()));
            for claim in source.settings.claims() {
                match claim {
                    Claim::Session { broker, client_id } => {
                        // One source may name a broker twice. Two sources that share several brokers are reported
                        // once.
                        let other = sessions.insert((broker, client_id), name).filter(|other| *other != name);
                        if other.is_some_and(|other| clashing.insert((other, name))) {
                            let hint =
                                "a broker ends the older of two connections with one id; set client_id in one of them";
                            problem(
                                format!("source `{name}` has the client id of another one at the same broker"),
                                hint,
                            );
                        }
                    }
                    Claim::Listener(address) => {
                        if let Some((there, other)) = listeners.iter().find(|(there, _)| is_same(*there, address)) {
                            let message = format!("source `{name}` listens where `{other}` does ({there})");
                            problem(message, "give one of them another port");
                        }
                        listeners.push((address, name));
                    }
                    Claim::SerialPort(path) => {
                        if let Some(other) = lines.insert(plain(&path), name) {
                            let hint = "one port, one source: several Modbus devices are `slave`s of one source";
                            problem(format!("source `{name}` uses the serial port of `{other}`"), hint);
                        }
                    }
                    Claim::Reads(_)
                    | Claim::Writes(_)
                    | Claim::Certificate(_)
                    | Claim::Host(_)
                    | Claim::File(_)
                    | Claim::Program(_)
                    | Claim::Signature(_)
                    | Claim::Target(..) => {}
                }
            }
        }
    }

    /// Reports a sink's folder that also belongs to the store, to a source or to another sink.
    fn folders(&self) {
        let mut folders: BTreeMap<PathBuf, &str> = BTreeMap::new();
        let state = &self.config.state;
        for sink in &self.config.sinks {
            let at = self.place(&format!("sink.{}", sink.name));
            let name = &sink.name;
            let problem = |message: String, hint: &str| self.session.problem(at.clone(), message, Some(hint.into()));
            let written = sink.settings.claims().into_iter().filter_map(|claim| match claim {
                Claim::Writes(path) => Some(plain(&path)),
                _ => None,
            });
            for folder in written {
                if folder.starts_with(plain(state)) {
                    let message = format!("sink `{name}` writes into the state directory {}", state.display());
                    problem(message, "give it a folder of its own");
                }
                for source in &self.config.sources {
                    for claim in source.settings.claims() {
                        if let Claim::Reads(path) = claim
                            && pattern_reaches(&plain(Path::new(&path)), &folder)
                        {
                            let message =
                                format!("source `{}` ({path}) would read what sink `{name}` writes", source.name);
                            problem(message, "give the sink another folder");
                        }
                    }
                }
                if let Some(other) = folders.insert(folder, name) {
                    problem(
                        format!("sink `{name}` writes to the folder of `{other}`"),
                        "give one of them another folder",
                    );
                }
            }
        }
    }
}

/// Whether two listeners conflict.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    // `[::]` covers all addresses; `0.0.0.0` covers all addresses of IPv4.
    let covers = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    let (here, there) = (one.ip(), other.ip());
    one.port() == other.port() && other.port() != 0 && (here == there || covers(here, there) || covers(there, here))
}

/// The absolute path without `.` and `..`, as far as it can be known without the disk.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.into());
    for part in whole.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// Whether a source's pattern may match a file that a sink writes into a folder.
fn pattern_reaches(pattern: &Path, folder: &Path) -> bool {
    let name = "readings.0000000000000001.00000000000000000001.ndjson";
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    glob::Pattern::new(&pattern.to_string_lossy()).is_ok_and(|pattern| {
        let reaches = |ending: &str| pattern.matches_path_with(&folder.join(format!("{name}{ending}")), options);
        reaches("") || reaches(".gz")
    })
}
