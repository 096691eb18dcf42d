//! `[page]`: where the page and the local API listen, and who may ask.

use crate::section::{Secret, Section};
use std::net::SocketAddr;

/// The address if none is named: this machine only.
const LISTEN: &str = "127.0.0.1:8686";

/// The settings of the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Requests must bear it, if there is one.
    pub token: Option<Secret>,
}

impl Settings {
    /// Reads `[page]`; `None` without it, and when it is wrong.
    pub fn read(root: &mut Section<'_>) -> Option<Self> {
        let mut section = root.table(
            "page",
            "Where the running agent can be asked for its state and its metrics. Without this section nothing listens.",
        )?;
        let listen = section
            .text("listen")
            .doc("Address and port to listen on. An address that other machines reach needs `token`.")
            .check(|text| {
                let hint = format!("write it as \"{LISTEN}\"");
                text.parse::<SocketAddr>().is_err().then(|| ("`listen` is an address and a port".into(), Some(hint)))
            })
            .or(LISTEN.into());
        let token = section.secret("token", "A request must bear this token: `Authorization: Bearer TOKEN`.");
        let listen: Option<SocketAddr> = listen.parse().ok();
        if let Some(listen) = listen
            && !listen.ip().is_loopback()
            && !section.has("token")
        {
            section.wrong_because("listen", "everybody in the network could read this page", "add `token`");
        }
        section.end();
        Some(Self { listen: listen?, token })
    }
}
