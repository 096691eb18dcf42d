//! `[sink.NAME]`

use super::{Checker, Table};
use crate::config::value::{Bytes, Codec, Limit, Login, PartitionBy, Place, Proxy, Rate, Span};
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
                let codec = self.codec(name, raw.format.as_ref(), raw.compression.as_ref());
                let (reader, linger) = self.reading(name, raw.from.clone(), raw.begin.as_ref(), raw.linger.as_ref());
                let rate = raw.throughput_units.as_ref().map(|units| self.rate(units));
                let fixed = raw.partition.is_some() || raw.publisher.is_some();
                let partition_by =
                    self.partition_by(raw.partition_by.as_ref(), raw.partition_attribute.as_ref(), fixed);
                let live_first = self.live_first(raw.drain.as_ref(), &partition_by);
                let limit = self.limit(raw.max_behind.as_ref(), raw.give_up_after.as_ref(), live_first);
                let kind = self.event_hubs(&span, raw)?;
                Some(Sink { name: name.into(), kind, reader, codec, linger, rate, partition_by, live_first, limit })
            }
            "kafka" => {
                let raw: raw::kafka::Kafka = self.fields(span.clone(), body);
                let codec = self.codec(name, raw.format.as_ref(), raw.compression.as_ref());
                let (reader, linger) = self.reading(name, raw.from.clone(), raw.begin.as_ref(), raw.linger.as_ref());
                let fixed = raw.partition.is_some();
                let partition_by =
                    self.partition_by(raw.partition_by.as_ref(), raw.partition_attribute.as_ref(), fixed);
                let live_first = self.live_first(raw.drain.as_ref(), &partition_by);
                let limit = self.limit(raw.max_behind.as_ref(), raw.give_up_after.as_ref(), live_first);
                let kind = Kind::Kafka(self.kafka(&span, raw)?);
                Some(Sink {
                    name: name.into(),
                    kind,
                    reader,
                    codec,
                    linger,
                    rate: None,
                    partition_by,
                    live_first,
                    limit,
                })
            }
            _ => {
                let raw: raw::Directory = self.fields(span.clone(), body);
                let (reader, linger) = self.reading(name, raw.from.clone(), raw.begin.as_ref(), raw.linger.as_ref());
                let limit = self.limit(raw.max_behind.as_ref(), raw.give_up_after.as_ref(), false);
                let directory = self.directory(&span, raw)?;
                let codec = if directory.packed { Codec::Gzip } else { Codec::None };
                let (kind, partition_by) = (Kind::Directory(directory), PartitionBy::Stream);
                Some(Sink {
                    name: name.into(),
                    kind,
                    reader,
                    codec,
                    linger,
                    rate: None,
                    partition_by,
                    live_first: false,
                    limit,
                })
            }
        }
    }

    /// What decides the partition, unless that is `fixed`.
    fn partition_by(
        &mut self,
        by: Option<&Spanned<raw::PartitionBy>>,
        attribute: Option<&Spanned<String>>,
        fixed: bool,
    ) -> PartitionBy {
        let span = by.map(Spanned::span).or(attribute.map(Spanned::span));
        if let Some(span) = span.filter(|_| fixed) {
            let hint = "give one of `partition`, `publisher`, `partition_by`";
            self.problem(span, "the partition is decided twice".into(), Some(hint.into()));
        }
        match (by.map(|by| *by.get_ref()), attribute) {
            (Some(raw::PartitionBy::Attribute), Some(name)) => PartitionBy::Attribute(name.get_ref().clone()),
            (Some(raw::PartitionBy::Attribute), None) => {
                let span = by.map_or(0..0, Spanned::span);
                self.need(None::<()>, &span, "partition_attribute", "\"line\"");
                PartitionBy::Stream
            }
            (_, Some(name)) => {
                let hint = "write partition_by = \"attribute\"";
                self.problem(name.span(), "`partition_attribute` does nothing here".into(), Some(hint.into()));
                PartitionBy::Stream
            }
            (Some(raw::PartitionBy::Device), None) => PartitionBy::Device,
            (Some(raw::PartitionBy::RoundRobin), None) => PartitionBy::RoundRobin,
            (Some(raw::PartitionBy::Stream) | None, None) => PartitionBy::Stream,
        }
    }

    fn live_first(&mut self, drain: Option<&Spanned<raw::Drain>>, by: &PartitionBy) -> bool {
        let Some(drain) = drain.filter(|drain| *drain.get_ref() == raw::Drain::LiveFirst) else { return false };
        if matches!(by, PartitionBy::Attribute(_)) {
            let hint = "a record's lane is for life: take one of the two";
            let problem = "`drain = \"live-first\"` does not go with `partition_by = \"attribute\"`";
            self.problem(drain.span(), problem.into(), Some(hint.into()));
        }
        true
    }

    /// How far a sink may be behind.
    fn limit(&mut self, bytes: Option<&Spanned<Bytes>>, age: Option<&Spanned<Span>>, live_first: bool) -> Limit {
        let limit = Limit { bytes: bytes.map(|bytes| bytes.get_ref().0), age: age.map(|age| age.get_ref().0) };
        if let Some(at) = bytes.filter(|bytes| bytes.get_ref().0 < 1 << 20) {
            self.problem(at.span(), "`max_behind` must be at least 1MiB".into(), None);
        }
        if let Some(at) = age.filter(|age| age.get_ref().0 < Duration::from_secs(10)) {
            self.problem(at.span(), "`give_up_after` must be at least 10s".into(), None);
        }
        if let Some(at) = bytes.map(Spanned::span).or(age.map(Spanned::span)).filter(|_| live_first) {
            let hint = "with drain = \"fifo\" the oldest is given up first";
            self.problem(at, "this does not go with drain = \"live-first\"".into(), Some(hint.into()));
        }
        limit
    }

    /// How bodies are made.
    fn codec(
        &mut self,
        name: &str,
        format: Option<&Spanned<raw::Format>>,
        compression: Option<&Spanned<Codec>>,
    ) -> Codec {
        if format.is_none() && compression.is_none() {
            self.assume(format!("sink.{name}: format = \"ndjson\", compression = \"gzip\""));
        }
        compression.map_or(Codec::Gzip, |codec| *codec.get_ref())
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

    fn rate(&mut self, units: &Spanned<f64>) -> Rate {
        if !(0.01..=1000.0).contains(units.get_ref()) {
            let hint = "this device's share: 0.5 is 500 kB or 500 events a second";
            self.problem(units.span(), "`throughput_units` must be from 0.01 to 1000".into(), Some(hint.into()));
        }
        Rate::throughput_units(*units.get_ref())
    }

    pub(super) fn proxy(&mut self, proxy: Spanned<raw::Proxy>) -> Option<Proxy> {
        let span = proxy.span();
        let raw::Proxy { address, username, password } = proxy.into_inner();
        let address = self.need(address, &span, "address", "\"proxy.example.com:3128\"")?;
        let text = address.get_ref();
        let Some(Place { host, port }) = Place::parse(text, None) else {
            let hint = "for example \"proxy.example.com:3128\"; name and password have keys of their own";
            self.problem(address.span(), format!("`{text}` is not host:port"), Some(hint.into()));
            return None;
        };
        let login = match (username, password) {
            (Some(user), Some(password)) => Some(Login { user: user.into_inner(), password: self.secret(&password)? }),
            (None, None) => None,
            _ => {
                self.problem(span, "`username` and `password` go together".into(), None);
                None
            }
        };
        Some(Proxy { host, port, login })
    }
}
