//! Reads `[source.NAME]` with `kind = "mqtt"`.

use super::settings::{Broker, Settings, Status};
use super::subscription::Subscription;
use crate::flow::record::MAX_RECORD;
use crate::section::{Bytes, ClientTls, Login, Place, Section};
use crate::source::{Routes, Source};
use std::sync::Arc;
use std::time::Duration;

/// A source has at most this many topic filters.
const MOST_FILTERS: usize = 100;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// A broker may keep a session for at most 2^32 - 1 seconds (MQTT 5.0, section 3.1.2.11.2): whole days of that.
const MOST_EXPIRY: Duration = Duration::from_secs(49_710 * 86_400);

pub fn read(section: &mut Section<'_>, routes: &mut dyn Routes) -> Option<Arc<dyn Source>> {
    let url = section
        .text("url")
        .doc("Address of the broker: `mqtt://host[:port]`, `mqtts://` (TLS), `ws://` or `wss://` (WebSocket). The usual ports are 1883, 8883, 80 and 443.")
        .example("\"mqtt://localhost\"")
        .need();
    let url_at = section.at("url");
    let fallback = section
        .texts("fallback")
        .doc("Brokers that are tried in turn when the first one does not answer. Each has a session of its own.")
        .example("[\"mqtt://10.0.0.6\"]")
        .get();
    let subscriptions = read_subscriptions(section, routes);
    let v5 = section
        .choice("protocol", &[("3.1.1", false, "MQTT 3.1.1."), ("5", true, "MQTT 5.")])
        .doc("Version of MQTT.")
        .or(false);
    let client_id = read_client_id(section);
    let login = Login::read(section);
    let keep_alive = section
        .duration("keep_alive")
        .doc("The client sends a ping when nothing was sent for this long. The broker gives up after one and a half times this.")
        .within(5 * SECOND..=HOUR)
        .or(60 * SECOND);
    let clean_session = section
        .truth("clean_session")
        .doc("`true`: the broker forgets the session when the connection ends, and what arrives meanwhile is lost.")
        .or(false);
    let session_expiry = section
        .duration("session_expiry")
        .doc("The broker keeps the session for this long after the connection ended. MQTT 5 only.")
        .at_most(MOST_EXPIRY)
        .or(7 * 24 * HOUR);
    let receive_maximum = section
        .whole::<u16>("receive_maximum")
        .doc("The broker may have this many messages unacknowledged. MQTT 5 only.")
        .example("100")
        .at_least(1)
        .get_or("the broker's own limit");
    let max_payload = section
        .bytes("max_payload")
        .doc("A longer message becomes a dead letter.")
        .within(Bytes(1)..=Bytes(MAX_RECORD as u64))
        .or(Bytes(MAX_RECORD as u64));
    let retained = section
        .choice(
            "retained",
            &[("take", true, "They are taken, and marked as retained."), ("ignore", false, "They are left out.")],
        )
        .doc("Messages that the broker kept from before the subscription.")
        .or(true);
    let window = section
        .whole::<usize>("window")
        .doc("The broker sends at most this many unacknowledged messages. Forebay commits early when so many wait, or the broker would stop sending. Set it where the broker's limit is known and small.")
        .example("20")
        .at_least(1)
        .get_or("found out while running");
    let tls = ClientTls::read(section, "TLS for `mqtts://` and `wss://`: roots, client certificate, pinned keys.");
    let status =
        section.table("status", "Topic on which Forebay says whether it is connected, retained.").and_then(read_status);
    let urls = url
        .iter()
        .map(|url| (url_at.clone(), url))
        .chain(fallback.iter().flatten().map(|at| (at.span.clone(), &at.value)));
    let brokers: Vec<Broker> = urls.filter_map(|(at, url)| broker(section, at, url)).collect();
    if !v5 && !section.is_bad("protocol") {
        section.only_for(&["session_expiry", "receive_maximum"], "protocol = \"5\"");
    }
    if section.has("tls") && !brokers.is_empty() && !brokers.iter().any(|broker| broker.tls) {
        section.wrong("tls", "`tls` is for mqtts:// and wss://");
    }
    if brokers.is_empty() {
        return None;
    }
    let settings = Settings {
        brokers,
        v5,
        subscriptions,
        client_id,
        login,
        keep_alive: u16::try_from(keep_alive.as_secs()).unwrap_or(60),
        clean_session,
        session_expiry: u32::try_from(session_expiry.as_secs()).unwrap_or(u32::MAX),
        receive_maximum,
        max_payload: usize::try_from(max_payload.0).unwrap_or(MAX_RECORD),
        retained,
        tls: tls.unwrap_or_default(),
        status,
        window,
    };
    settings.warn_of_overlaps(section);
    Some(Arc::new(settings))
}

/// The topics of the source itself, and those of each `[[source.NAME.subscription]]`.
fn read_subscriptions(section: &mut Section<'_>, routes: &mut dyn Routes) -> Vec<Subscription> {
    let more = section.tables(
        "subscription",
        "Topics with a stream, a decoder and checks of their own. All keys of messages are allowed here.",
    );
    // An empty list counts as no list.
    let more = more.filter(|list| !list.is_empty() || section.is_bad("subscription"));
    let mut subscriptions = Vec::new();
    if section.has("topics") || more.is_none() || section.is_catalog() {
        subscribe(section, routes, &mut subscriptions);
    }
    let more_at = section.at(if section.has("subscription") { "subscription" } else { "topics" });
    for mut table in more.into_iter().flatten() {
        subscribe(&mut table, routes, &mut subscriptions);
        table.end();
    }
    if subscriptions.len() > MOST_FILTERS {
        section.session().problem(more_at, format!("more than {MOST_FILTERS} topic filters"), None);
    }
    subscriptions
}

fn read_client_id(section: &mut Section<'_>) -> String {
    let given = section
        .text("client_id")
        .doc("Client id. It must stay the same, so that the broker keeps the session and the messages in it.")
        .example("\"forebay-hall-3\"")
        .not_empty()
        .get_or("`forebay-` and the device's name");
    given.unwrap_or_else(|| {
        let id = format!("forebay-{}", section.device());
        if !section.has("client_id") {
            section.assume(format_args!("client_id = \"{id}\", persistent session"));
        }
        id
    })
}

/// Reads the topics of a source or of one of its subscriptions, and the keys that say how their messages are
/// decoded.
fn subscribe(section: &mut Section<'_>, routes: &mut dyn Routes, wanted: &mut Vec<Subscription>) {
    let topics = section
        .texts("topics")
        .doc("Topic filters. `+` stands for one level, `#` for all that follow. `{name}` stands for one level and becomes an attribute of the record.")
        .example("[\"plant/#\"]")
        .check(|topics| topics.is_empty().then(|| ("`topics` is empty".into(), Some("use [\"#\"] for everything".into()))))
        .need();
    section.note_needed("topics", "needed, or `subscription`");
    let qos = section
        .whole::<u8>("qos")
        .doc("Quality of service of the subscription. With 1 and 2 a message is acknowledged when it is on disk. With 0 a message may be lost.")
        .one_of(&[0, 1, 2])
        .or(1);
    if !section.has("qos") {
        section.assume("qos = 1, acknowledged when the reading is on disk");
    }
    let route = routes.read(section, "json").route;
    for topic in topics.into_iter().flatten() {
        let subscription = Subscription::new(&topic.value, qos, route);
        if !rumqttc::valid_filter(&subscription.filter) || topic.value.len() > 65_535 {
            let hint = "`+` or `{name}` stands for one whole level, `#` for all that follow and only at the end";
            let message = format!("`{}` is not a topic filter", topic.value);
            section.session().problem(topic.span.clone(), message, Some(hint.into()));
        }
        for (_, name) in &subscription.names {
            section.session().name(topic.span.clone(), name);
        }
        wanted.push(subscription);
    }
}

fn read_status(mut section: Section<'_>) -> Option<Status> {
    let topic = section
        .text("topic")
        .doc("The topic, without wildcards.")
        .example("\"gateways/7/status\"")
        .check(|topic| {
            (topic.is_empty() || topic.contains(['+', '#'])).then(|| ("a status topic has no wildcards".into(), None))
        })
        .need();
    let online = section.text("online").doc("Published after connecting.").or("online".into());
    let offline = section
        .text("offline")
        .doc("Published before disconnecting, and by the broker when the connection is lost (last will).")
        .or("offline".into());
    section.end();
    Some(Status { topic: topic?, online, offline })
}

fn broker(section: &Section<'_>, at: std::ops::Range<usize>, text: &str) -> Option<Broker> {
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
            "for example mqtt://localhost, mqtt://10.0.0.5:1884, mqtts://broker.example.com, mqtt://[fd00::5], wss://broker.example.com/mqtt"
        };
        let message = format!("`{}` is not a broker's address", without_login(text));
        section.session().problem(at, message, Some(hint.into()));
    }
    parsed
}

/// Hides the user name and password in a URL: a wrong URL may have them.
fn without_login(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        (None, Some((_, host))) => format!("…@{host}"),
        _ => url.into(),
    }
}
