//! `[sink.NAME]`

use super::{Checker, Table};
use crate::config::value::{Codec, ConnectionString, Directory, EventHubs, Span};
use crate::config::{Sink, raw};
use crate::sink::Kind;
use crate::store::{ReaderRule, Selection};
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;

impl Checker<'_> {
    pub(super) fn sink(&mut self, name: &str, span: Range<usize>, mut body: Table<'_>) -> Option<Sink> {
        match self.kind(&span, &mut body, &["eventhubs", "kafka", "directory"])?.as_str() {
            "eventhubs" => {
                let raw: raw::EventHubs = self.fields(span.clone(), body);
                let codec = raw.compression.as_ref().map_or(Codec::Gzip, |codec| *codec.get_ref());
                if raw.format.is_none() && raw.compression.is_none() {
                    self.assume(format!("sink.{name}: format = \"ndjson\", compression = \"gzip\""));
                }
                let (reader, linger) = self.reading(name, raw.from.clone(), raw.begin.as_ref(), raw.linger.as_ref());
                let kind = Kind::EventHubs(self.event_hubs(&span, raw)?);
                Some(Sink { name: name.into(), kind, reader, codec, linger })
            }
            "kafka" => {
                let raw: raw::kafka::Kafka = self.fields(span.clone(), body);
                let codec = raw.compression.as_ref().map_or(Codec::Gzip, |codec| *codec.get_ref());
                if raw.format.is_none() && raw.compression.is_none() {
                    self.assume(format!("sink.{name}: format = \"ndjson\", compression = \"gzip\""));
                }
                let (reader, linger) = self.reading(name, raw.from.clone(), raw.begin.as_ref(), raw.linger.as_ref());
                let kind = Kind::Kafka(self.kafka(&span, raw)?);
                Some(Sink { name: name.into(), kind, reader, codec, linger })
            }
            _ => {
                let raw: raw::Directory = self.fields(span.clone(), body);
                let path = self.need(raw.path, &span, "path", "\"/var/spool/forebay\"")?;
                let (reader, linger) = self.reading(name, raw.from, raw.begin.as_ref(), raw.linger.as_ref());
                let kind = Kind::Directory(Directory { path: path.into_inner().into() });
                Some(Sink { name: name.into(), kind, reader, codec: Codec::None, linger })
            }
        }
    }

    /// What every sink says of the streams that it reads.
    fn reading(
        &mut self,
        name: &str,
        from: Option<Spanned<Vec<Spanned<String>>>>,
        begin: Option<&Spanned<raw::Begin>>,
        linger: Option<&Spanned<Span>>,
    ) -> (ReaderRule, Duration) {
        let streams = match from {
            None => {
                self.assume(format!("sink.{name}: from = every stream that is not Forebay's own"));
                Selection::All
            }
            Some(from) => {
                if from.get_ref().is_empty() {
                    self.problem(
                        from.span(),
                        "`from` is empty".into(),
                        Some("leave it out to read every stream".into()),
                    );
                }
                Selection::Named(from.into_inner().into_iter().map(Spanned::into_inner).collect())
            }
        };
        let newest = begin.is_some_and(|begin| *begin.get_ref() == raw::Begin::Newest);
        let wait = linger.map_or(Duration::from_secs(1), |linger| linger.get_ref().0);
        if let Some(at) = linger.filter(|_| wait > Duration::from_secs(3600)) {
            self.problem(at.span(), "`linger` must be at most 1h".into(), None);
        }
        (ReaderRule { name: name.into(), streams, newest }, wait)
    }

    fn event_hubs(&mut self, span: &Range<usize>, raw: raw::EventHubs) -> Option<EventHubs> {
        let reference = self.need(raw.connection, span, "connection", "{ env = \"EVENTHUB_CONNECTION\" }")?;
        let secret = self.secret(&reference)?;
        let connection = match ConnectionString::parse(secret.expose()) {
            Ok(connection) => connection,
            Err(error) => {
                let hint = "copy it from the portal: Event Hubs namespace, shared access policies";
                self.problem(reference.span(), error.to_string(), Some(hint.into()));
                return None;
            }
        };
        let entity = raw.event_hub.map(Spanned::into_inner).or_else(|| connection.entity.clone());
        let Some(entity) = entity.filter(|entity| !entity.is_empty()) else {
            let hint = "add `;EntityPath=NAME` to the connection string, or set event_hub = \"NAME\"";
            self.problem(reference.span(), "nothing says which event hub".into(), Some(hint.into()));
            return None;
        };
        if let Some(at) = raw.partition.as_ref().filter(|at| at.get_ref().parse::<u16>().is_err()) {
            self.problem(at.span(), "`partition` must be a partition's number, as text".into(), None);
        }
        let partition = raw.partition.map(Spanned::into_inner);
        Some(EventHubs { connection, entity, partition, device: self.device.clone() })
    }
}
