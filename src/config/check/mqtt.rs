//! `[source.NAME]` with `kind = "mqtt"`

use super::{Checker, Table};
use crate::config::raw::mqtt as raw;
use crate::config::value::{Broker, Format, Mqtt, Place, Route, Status, Subscription};
use crate::flow::record::MAX_RECORD;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// Filters of one source.
const MOST_FILTERS: usize = 100;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

impl Checker<'_> {
    /// The routes of a source, and what is subscribed to for each: `topics` of the source itself, and
    /// `[[source.NAME.subscription]]`.
    pub(super) fn subscriptions(
        &mut self,
        label: &str,
        span: &Range<usize>,
        body: &mut Table<'_>,
    ) -> (Vec<Route>, Vec<Subscription>) {
        let (mut routes, mut wanted) = (Vec::new(), Vec::new());
        let more = body.remove("subscription");
        if body.contains_key("topics") || more.is_none() {
            let route = self.route(label, span, body, Format::Json);
            let mut own = Table::new();
            for key in ["topics", "qos"] {
                own.extend(body.remove_entry(key));
            }
            self.subscription(label, span, own, routes.len(), &mut wanted);
            routes.push(route);
        }
        let Some(more) = more else { return (routes, wanted) };
        let at = more.span();
        let DeValue::Array(tables) = more.into_inner() else {
            let hint = "write it as [[source.NAME.subscription]] on a line of its own";
            self.problem(at, "`subscription` must be a list of tables".into(), Some(hint.into()));
            return (routes, wanted);
        };
        for (n, table) in tables.into_iter().enumerate() {
            let label = format!("{label}.subscription {}", n + 1);
            if let Some((span, mut body)) = self.table(table, &label) {
                let route = self.route(&label, &span, &mut body, Format::Json);
                self.subscription(&label, &span, body, routes.len(), &mut wanted);
                routes.push(route);
            }
        }
        if wanted.len() > MOST_FILTERS {
            self.problem(at, format!("more than {MOST_FILTERS} topic filters"), None);
        }
        (routes, wanted)
    }

    fn subscription(
        &mut self,
        label: &str,
        span: &Range<usize>,
        body: Table<'_>,
        route: usize,
        wanted: &mut Vec<Subscription>,
    ) {
        let raw: raw::Subscription = self.fields(span.clone(), body);
        let qos = raw.qos.as_ref().map_or(1, |qos| *qos.get_ref());
        if let Some(at) = raw.qos.as_ref().filter(|_| qos > 2) {
            self.problem(at.span(), "`qos` must be 0, 1 or 2".into(), None);
        }
        if raw.qos.is_none() {
            self.assume(format!("{label}: qos = 1, acknowledged when the reading is on disk"));
        }
        let Some(topics) = self.need(raw.topics, span, "topics", "[\"plant/#\"]") else { return };
        if topics.get_ref().is_empty() {
            self.problem(topics.span(), "`topics` is empty".into(), Some("use [\"#\"] for everything".into()));
        }
        for topic in topics.get_ref() {
            let subscription = Subscription::new(topic.get_ref(), qos, route);
            if !rumqttc::valid_filter(&subscription.filter) || topic.get_ref().len() > 65_535 {
                let hint = "`+` or `{name}` stands for one whole level, `#` for all that follow and only at the end";
                self.problem(topic.span(), format!("`{}` is not a topic filter", topic.get_ref()), Some(hint.into()));
            }
            for (_, name) in &subscription.names {
                self.name(topic.span(), name);
            }
            wanted.push(subscription);
        }
    }

    pub(super) fn mqtt(
        &mut self,
        label: &str,
        span: &Range<usize>,
        raw: raw::Mqtt,
        subscriptions: Vec<Subscription>,
    ) -> Option<Mqtt> {
        let url = self.need(raw.url, span, "url", "\"mqtt://localhost\"");
        let urls: Vec<Spanned<String>> = url.into_iter().chain(raw.fallback.into_iter().flatten()).collect();
        let brokers: Vec<Broker> = urls.iter().filter_map(|url| self.broker(url)).collect();
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
        let v5 = raw.protocol.is_some_and(|protocol| *protocol.get_ref() == raw::Protocol::V5);
        for at in [raw.session_expiry.as_ref().map(Spanned::span), raw.receive_maximum.as_ref().map(Spanned::span)] {
            if let Some(at) = at.filter(|_| !v5) {
                self.problem(at, "this belongs to protocol = \"5\"".into(), None);
            }
        }
        let receive_maximum = raw.receive_maximum.as_ref().map(|most| *most.get_ref());
        if let Some(at) = raw.receive_maximum.as_ref().filter(|_| receive_maximum == Some(0)) {
            self.problem(at.span(), "`receive_maximum` must be at least 1".into(), None);
        }
        let expiry = raw.session_expiry.as_ref().map_or(WEEK, |expiry| expiry.get_ref().0);
        let max_payload = raw.max_payload.as_ref().map_or(MAX_RECORD as u64, |most| most.get_ref().0);
        if let Some(at) = raw.max_payload.as_ref().filter(|_| !(1..=MAX_RECORD as u64).contains(&max_payload)) {
            self.problem(at.span(), "`max_payload` must be from 1B to 1MiB".into(), None);
        }
        let client_id = match raw.client_id {
            Some(id) if !id.get_ref().is_empty() => id.into_inner(),
            Some(id) => {
                self.problem(id.span(), "`client_id` is empty".into(), None);
                String::new()
            }
            None => {
                let id = format!("forebay-{}", self.device);
                self.assume(format!("{label}: client_id = \"{id}\", persistent session"));
                id
            }
        };
        if let Some(tls) = raw.tls.as_ref().filter(|_| !brokers.is_empty() && !brokers.iter().any(|broker| broker.tls))
        {
            self.problem(tls.span(), "`tls` is for mqtts:// and wss://".into(), None);
        }
        let tls = raw.tls.map(|tls| self.client_tls(tls)).unwrap_or_default();
        let status = raw.status.and_then(|status| self.status(status));
        if brokers.is_empty() {
            return None;
        }
        Some(Mqtt {
            brokers,
            v5,
            subscriptions,
            client_id,
            login,
            keep_alive: u16::try_from(keep_alive.as_secs()).unwrap_or(60),
            clean_session: raw.clean_session.as_ref().is_some_and(|clean| *clean.get_ref()),
            session_expiry: u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX),
            receive_maximum,
            max_payload: usize::try_from(max_payload).unwrap_or(MAX_RECORD),
            retained: raw.retained.is_none_or(|retained| *retained.get_ref() == raw::Retained::Take),
            tls,
            status,
        })
    }

    fn status(&mut self, status: Spanned<raw::Status>) -> Option<Status> {
        let span = status.span();
        let raw::Status { topic, online, offline } = status.into_inner();
        let topic = self.need(topic, &span, "topic", "\"gateways/7/status\"")?;
        if topic.get_ref().is_empty() || topic.get_ref().contains(['+', '#']) {
            self.problem(topic.span(), "a status topic has no wildcards".into(), None);
        }
        Some(Status {
            topic: topic.into_inner(),
            online: online.unwrap_or_else(|| "online".into()),
            offline: offline.unwrap_or_else(|| "offline".into()),
        })
    }

    fn broker(&mut self, url: &Spanned<String>) -> Option<Broker> {
        let text = url.get_ref();
        let hint = "for example mqtt://localhost, mqtt://10.0.0.5:1884, mqtts://broker.example.com, mqtt://[fd00::5], wss://broker.example.com/mqtt";
        let parsed = text.split_once("://").and_then(|(scheme, rest)| {
            let (tls, websocket, usual) = match scheme {
                "mqtt" | "tcp" => (false, false, 1883),
                "mqtts" | "ssl" => (true, false, 8883),
                "ws" => (false, true, 80),
                "wss" => (true, true, 443),
                _ => return None,
            };
            let (place, path) = match rest.split_once('/') {
                Some((place, path)) if websocket => (place, format!("/{path}")),
                None if websocket => (rest, "/mqtt".into()),
                _ => (rest.trim_end_matches('/'), String::new()),
            };
            let Place { host, port } = Place::parse(place, Some(usual)).filter(|_| !path.contains([' ', '#']))?;
            Some(Broker { host, port, tls, websocket: websocket.then_some(path) })
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
}

/// A wrong URL may have a password in it.
fn without_login(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        (None, Some((_, host))) => format!("…@{host}"),
        _ => url.into(),
    }
}
