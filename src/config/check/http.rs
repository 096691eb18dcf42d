//! `[source.NAME]` with `kind = "http"`

use super::Checker;
use crate::config::raw;
use crate::config::value::{Http, ServerTls};
use std::ops::Range;
use toml::Spanned;

/// Requests are held in memory until they are on disk.
const MOST_BODY: u64 = 8 << 20;

impl Checker<'_> {
    pub(super) fn http(
        &mut self,
        label: &str,
        span: &Range<usize>,
        raw: raw::Http,
        by_content_type: bool,
        influx: bool,
    ) -> Option<Http> {
        let listen = self.need(raw.listen, span, "listen", "\"0.0.0.0:8080\"");
        let address = listen.and_then(|listen| match listen.get_ref().parse() {
            Ok(address) => Some((address, listen.span())),
            Err(_) => {
                let hint = "for example \"0.0.0.0:8080\" (every address), \"127.0.0.1:8080\" (this machine only)";
                self.problem(listen.span(), format!("`{}` is not address:port", listen.get_ref()), Some(hint.into()));
                None
            }
        });
        let path = match raw.path {
            Some(path) => {
                if !path.get_ref().starts_with('/') || path.get_ref().contains(['?', '#', ' ']) {
                    self.problem(path.span(), "`path` begins with `/` and has no `?`, `#` or space".into(), None);
                }
                path.into_inner()
            }
            None => {
                self.assume(format!("{label}: path = \"/\""));
                "/".into()
            }
        };
        let token = raw.token.and_then(|token| self.secret(&token));
        let tls = raw.tls.and_then(|tls| {
            let span = tls.span();
            let raw::ServerTls { certificate, key, client_ca } = tls.into_inner();
            let certificate = self.need(certificate, &span, "certificate", "\"/etc/forebay/server.pem\"");
            let key = self.need(key, &span, "key", "\"/etc/forebay/server.key\"");
            let file = |text: Spanned<String>| text.into_inner().into();
            Some(ServerTls { certificate: file(certificate?), key: file(key?), client_ca: client_ca.map(file) })
        });
        let max_body = raw.max_body.as_ref().map_or(1 << 20, |most| most.get_ref().0);
        if let Some(at) = raw.max_body.as_ref().filter(|_| !(1..=MOST_BODY).contains(&max_body)) {
            self.problem(at.span(), "`max_body` must be from 1B to 8MiB".into(), None);
        }
        let (listen, at) = address?;
        let alone = std::net::SocketAddr::ip(&listen).is_loopback();
        let proven = token.is_some() || tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if !alone && !proven {
            let hint = "token = { file = \"..\" }, or tls = { .., client_ca = \"..\" }, or listen on 127.0.0.1";
            self.problem(at, "anybody who reaches this address could write here".into(), Some(hint.into()));
        }
        let max_body = usize::try_from(max_body).unwrap_or(usize::MAX);
        Some(Http { listen, path, token, tls, max_body, by_content_type, influx })
    }
}
