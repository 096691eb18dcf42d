//! `[source.NAME]` with `kind = "http"`: a listener for devices that push.

use crate::section::{At, Bytes, Claim, Secret, Section, ServerTls};
use crate::source::{Context, Kind, Probing, Routes, Running, Source};
use hyper::header::HeaderName;
use hyper::http::request::Parts;
use std::net::SocketAddr;
use std::sync::Arc;

/// The highest limit for bodies, because requests are held in memory until they are on disk.
const MOST_BODY: Bytes = Bytes(8 << 20);

/// The row of this kind in the table of sources.
pub const KIND: Kind = Kind { name: "http", doc: "Requests of devices that push: POST of one or more readings.", read };

/// The settings of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// Requests are taken at this path and below it.
    pub path: String,
    /// The token that a request must bear, if there is one.
    pub token: Option<Secret>,
    /// The certificates of the listener, if it uses TLS.
    pub tls: Option<ServerTls>,
    /// The largest body, decompressed, in bytes.
    pub max_body: usize,
    /// Whether the content type of a request selects the decoder, because the configuration names none.
    pub by_content_type: bool,
    /// Whether bodies are Influx line protocol. The query may then name the unit of their times.
    pub influx: bool,
    /// Whether messages are forms. A GET request brings one in its query.
    pub form: bool,
    /// The names in the query of a request that become attributes: attribute, name.
    pub query: Vec<(String, String)>,
    /// The headers of a request that become attributes: attribute, header.
    pub headers: Vec<(String, HeaderName)>,
}

/// Units of times as clients of InfluxDB name them, version 2 and 1.
pub const INFLUX_UNITS: [&str; 6] = ["ns", "n", "us", "u", "ms", "s"];

/// Content types that are known, each with its decoder, in the order of their routes.
pub const CONTENT_TYPES: [(&str, &str); 8] = [
    ("application/json", "json"),
    ("application/x-ndjson", "ndjson"),
    ("text/csv", "csv"),
    ("text/plain", "text"),
    ("application/octet-stream", "bytes"),
    ("application/senml+json", "senml"),
    ("application/cloudevents+json", "cloudevents"),
    ("application/x-protobuf", "prometheus"),
];

impl Source for Settings {
    fn run(&self, context: Context) -> Running {
        Box::pin(super::run(self.clone(), context))
    }

    fn probe(&self) -> Probing<'_> {
        Box::pin(async { super::open(self).await.map(|_| format!("{} can be listened on", self.listen)) })
    }

    fn for_tap(&self, _whole: bool) -> Result<Arc<dyn Source>, &'static str> {
        Err("what devices push would be answered 202 and be lost; run the agent instead")
    }

    fn claims(&self) -> Vec<Claim> {
        let certificate = self.tls.as_ref().map(|tls| Claim::Certificate(tls.certificate.clone()));
        let files = self.tls.iter().flat_map(|tls| std::iter::once(&tls.key).chain(&tls.client_ca));
        let files = files.cloned().map(Claim::File);
        std::iter::once(Claim::Listener(self.listen)).chain(certificate).chain(files).collect()
    }
}

/// Headers that never become attributes.
const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "x-api-key", "cookie"];
/// The headers of CloudEvents in binary mode begin with this (HTTP protocol binding, section 3.1.3).
const CLOUD_EVENT: &str = "ce-";

impl Settings {
    /// The attributes that a request gives its records.
    pub fn taken(&self, head: &Parts) -> Vec<(Box<str>, Box<str>)> {
        let pairs = || form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
        let of_query = self.query.iter().filter_map(|(attribute, wanted)| {
            let (_, value) = pairs().find(|(name, _)| name == wanted)?;
            Some((attribute.as_str().into(), value.into_owned().into()))
        });
        let of_headers = self.headers.iter().filter_map(|(attribute, name)| {
            Some((attribute.as_str().into(), head.headers.get(name)?.to_str().ok()?.into()))
        });
        let of_event = head.headers.iter().filter_map(|(name, value)| {
            let name = name.as_str();
            Some((name.starts_with(CLOUD_EVENT).then_some(name)?.into(), value.to_str().ok()?.into()))
        });
        let mut taken: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (name, value) in of_query.chain(of_headers).chain(of_event) {
            if taken.iter().all(|(known, _)| *known != name) {
                taken.push((name, value));
            }
        }
        taken
    }
}

fn read(section: &mut Section<'_>, routes: &mut dyn Routes) -> Option<Arc<dyn Source>> {
    let listen = section
        .text("listen")
        .doc("Address and port to listen on. `0.0.0.0` is every address of the machine and needs `token` or `tls.client_ca`.")
        .example("\"127.0.0.1:8080\"")
        .need();
    let path = section
        .text("path")
        .doc("Requests are taken at this path and below it.")
        .check(|path| {
            let is_bad = !path.starts_with('/') || path.contains(['?', '#', ' ']);
            is_bad.then(|| ("`path` begins with `/` and has no `?`, `#` or space".into(), None))
        })
        .or("/".into());
    if !section.has("path") {
        section.assume("path = \"/\"");
    }
    let token = section.secret("token", "A request must bear this token: `Authorization: Bearer TOKEN`.");
    let mut asks_for_certificates = false;
    let tls = section.table("tls", "Certificate and key of the listener.").and_then(|tls| {
        asks_for_certificates = tls.has("client_ca");
        ServerTls::read(tls)
    });
    let max_body = section
        .bytes("max_body")
        .doc("Largest body of a request, decompressed. A larger one is answered 413.")
        .within(Bytes(1)..=MOST_BODY)
        .or(Bytes(1 << 20));
    let query = section
        .texts_or_map("query")
        .doc("Names in the query of a request whose values become attributes. A table gives new names: `{ device = \"id\" }`.")
        .example("[\"device\"]")
        .get_or("none");
    let query = named(section, query);
    let given = section
        .texts_or_map("headers")
        .doc("Headers of a request whose values become attributes. A table gives new names: `{ device = \"X-Device-Id\" }`.")
        .example("{ device = \"X-Device-Id\" }")
        .get_or("none; those of CloudEvents (`ce-...`) are always taken");
    let mut headers = Vec::new();
    for (attribute, name) in named(section, given) {
        match HeaderName::try_from(name.as_str()) {
            Ok(header) if SECRET.contains(&header.as_str()) => {
                section.wrong("headers", format!("`{name}` holds a secret, which would stand in each record"));
            }
            Ok(header) => headers.push((attribute, header)),
            Err(_) => section.wrong("headers", format!("`{name}` cannot be the name of a header")),
        }
    }
    let by_content_type = !section.has("decoder");
    let message = routes.read(section, "json");
    if by_content_type {
        let known: Vec<&str> = CONTENT_TYPES.iter().map(|(name, _)| *name).collect();
        section.assume(format_args!("decoder by content-type: {}", known.join(", ")));
        CONTENT_TYPES[1..].iter().for_each(|(_, decoder)| routes.like(message.route, decoder));
    }
    let listen: Option<SocketAddr> = listen.and_then(|listen| {
        let parsed = listen.parse().ok();
        if parsed.is_none() {
            let hint = "for example \"0.0.0.0:8080\" (every address), \"127.0.0.1:8080\" (this machine only)";
            section.wrong_because("listen", format!("`{listen}` is not address:port"), hint);
        }
        parsed
    });
    let listen = listen?;
    // A token that cannot be read is a problem of its own.
    let proven = section.has("token") || asks_for_certificates || section.is_bad("tls");
    if !listen.ip().is_loopback() && !proven {
        let hint = "token = { file = \"..\" }, or tls = { .., client_ca = \"..\" }, or listen on 127.0.0.1";
        section.wrong_because("listen", "anybody who reaches this address could write here", hint);
    }
    let max_body = usize::try_from(max_body.0).unwrap_or(usize::MAX);
    let (influx, form) = (message.format == "influx", message.format == "form");
    Some(Arc::new(Settings { listen, path, token, tls, max_body, by_content_type, influx, form, query, headers }))
}

/// Names that become attributes.
fn named(section: &Section<'_>, names: Option<Vec<At<(String, String)>>>) -> Vec<(String, String)> {
    let names = names.unwrap_or_default();
    for name in &names {
        section.session().name(name.span.clone(), &name.value.0);
    }
    names.into_iter().map(|name| name.value).collect()
}
