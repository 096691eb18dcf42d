//! `[source.NAME]`

use super::{Checker, Table};
use crate::config::value::{Bytes, CONTENT_TYPES, Csv, Decoder, File, Format, Mqtt, Route};
use crate::config::{Source, raw};
use crate::source::Kind;
use serde::Deserialize;
use std::ops::Range;
use std::time::Duration;
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
                let routes = vec![self.route(&label, &span, &mut body, Format::Json)];
                let raw: raw::Mqtt = self.fields(span.clone(), body);
                let window = raw.window.as_ref().map(|window| *window.get_ref());
                if let Some(at) = raw.window.as_ref().filter(|_| window == Some(0)) {
                    self.problem(at.span(), "`window` must be at least 1".into(), None);
                }
                let kind = self.mqtt(name, &span, raw)?;
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
                let kind = self.http(&label, &span, raw, open)?;
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
                let line = self.line(&label, &span, &mut body);
                let raw: raw::serial::Serial = self.fields(span.clone(), body);
                let kind = self.serial(&label, &span, line, raw)?;
                Some(Source { name: name.into(), kind: Kind::Serial(kind), routes, window: None, held })
            }
            _ => {
                let routes = vec![self.route(&label, &span, &mut body, Format::Text)];
                let raw: raw::File = self.fields(span.clone(), body);
                let kind = self.file(&span, raw)?;
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

    fn mqtt(&mut self, name: &str, span: &Range<usize>, raw: raw::Mqtt) -> Option<Mqtt> {
        let url = self.need(raw.url, span, "url", "\"mqtt://localhost\"");
        let topics = self.need(raw.topics, span, "topics", "[\"plant/#\"]");
        let address = url.and_then(|url| self.broker(&url));
        for topic in topics.iter().flat_map(Spanned::get_ref) {
            if !rumqttc::valid_filter(topic.get_ref()) || topic.get_ref().len() > 65_535 {
                let hint = "`+` stands for one whole level, `#` for all that follow and only at the end";
                self.problem(topic.span(), format!("`{}` is not a topic filter", topic.get_ref()), Some(hint.into()));
            }
        }
        if let Some(topics) = topics.as_ref().filter(|topics| topics.get_ref().is_empty()) {
            self.problem(topics.span(), "`topics` is empty".into(), Some("use [\"#\"] for everything".into()));
        }
        let qos = raw.qos.as_ref().map_or(1, |qos| *qos.get_ref());
        if let Some(at) = raw.qos.as_ref().filter(|_| qos > 2) {
            self.problem(at.span(), "`qos` must be 0, 1 or 2".into(), None);
        }
        if raw.qos.is_none() {
            self.assume(format!("source.{name}: qos = 1, acknowledged when the reading is on disk"));
        }
        let keep_alive = raw.keep_alive.as_ref().map_or(Duration::from_secs(60), |span| span.get_ref().0);
        if let Some(at) = raw.keep_alive.as_ref().filter(|_| !(5..=3600).contains(&keep_alive.as_secs())) {
            self.problem(at.span(), "`keep_alive` must be from 5s to 1h".into(), None);
        }
        let login = match (raw.username, raw.password) {
            (Some(user), Some(password)) => self.secret(&password).map(|password| (user.into_inner(), password)),
            (None, None) => None,
            (Some(at), None) => {
                let hint = "for example: password = { env = \"MQTT_PASSWORD\" }";
                self.problem(at.span(), "`username` without `password`".into(), Some(hint.into()));
                None
            }
            (None, Some(at)) => {
                self.problem(at.span(), "`password` without `username`".into(), None);
                None
            }
        };
        let clean_session = raw.clean_session.as_ref().is_some_and(|clean| *clean.get_ref());
        let client_id = match raw.client_id {
            Some(id) if !id.get_ref().is_empty() => id.into_inner(),
            Some(id) => {
                self.problem(id.span(), "`client_id` is empty".into(), None);
                String::new()
            }
            None => {
                let id = format!("forebay-{}", self.device);
                self.assume(format!("source.{name}: client_id = \"{id}\", persistent session"));
                id
            }
        };
        let (host, port, tls) = address?;
        Some(Mqtt {
            host,
            port,
            tls,
            topics: topics?.into_inner().into_iter().map(Spanned::into_inner).collect(),
            qos,
            client_id,
            login,
            keep_alive: u16::try_from(keep_alive.as_secs()).unwrap_or(60),
            clean_session,
        })
    }

    /// Host, port, TLS.
    fn broker(&mut self, url: &Spanned<String>) -> Option<(String, u16, bool)> {
        let text = url.get_ref();
        let hint = "for example mqtt://localhost, mqtt://10.0.0.5:1884, mqtts://broker.example.com";
        let parsed = text.split_once("://").and_then(|(scheme, rest)| {
            let tls = match scheme {
                "mqtt" | "tcp" => false,
                "mqtts" | "ssl" => true,
                _ => return None,
            };
            let rest = rest.trim_end_matches('/');
            let (host, port) = match rest.rsplit_once(':') {
                Some((host, port)) => (host, port.parse().ok()?),
                None => (rest, if tls { 8883 } else { 1883 }),
            };
            let plain = !host.is_empty() && !host.contains(['/', '@', ' ', ':', '[']);
            plain.then(|| (host.to_string(), port, tls))
        });
        if parsed.is_none() {
            let hint = if text.contains('@') {
                "user name and password have keys of their own: username = \"..\", password = { env = \"..\" }"
            } else {
                hint
            };
            self.problem(url.span(), format!("`{}` is not a broker's address", without_login(text)), Some(hint.into()));
        }
        parsed
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
            file.unterminated_after = after.get_ref().0;
        }
        Some(file)
    }
}

/// A wrong URL may have a password in it.
fn without_login(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.into(),
    }
}
