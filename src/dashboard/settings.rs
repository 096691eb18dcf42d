//! `[page]`: where the page and the local API listen, and who may ask.

use crate::section::{Secret, Section, ServerTls};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The address if none is named: this machine only.
const LISTEN: &str = "127.0.0.1:8686";
/// The longest path of a Unix socket, in bytes (unix(7)).
const SOCKET: usize = 107;

/// The settings of the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Address and port to listen on.
    pub listen: Option<SocketAddr>,
    /// A Unix socket to listen on.
    pub socket: Option<PathBuf>,
    /// Requests must bear it, if there is one. Without one, nothing can be changed.
    pub token: Option<Secret>,
    /// The certificate of the listener, if it uses TLS.
    pub tls: Option<ServerTls>,
}

impl Settings {
    /// Reads `[page]`; `None` without it, and when it is wrong.
    pub fn read(root: &mut Section<'_>) -> Option<Self> {
        let mut section = root
            .table("page", "The page and the local API of the running agent. Without this section nothing listens.")?;
        let listen = section
            .text("listen")
            .doc("Address and port to listen on. An address that other machines reach needs `token`. With `socket` there is no usual address.")
            .check(|text| {
                let hint = format!("write it as \"{LISTEN}\"");
                text.parse::<SocketAddr>().is_err().then(|| ("`listen` is an address and a port".into(), Some(hint)))
            })
            .example_of(format!("\"{LISTEN}\""))
            .get_or("`\"127.0.0.1:8686\"`; none with `socket`");
        let socket = section
            .text("socket")
            .doc("A Unix socket to listen on, for `forebay status` and `forebay top`. Its owner and its group may use it, without a token.")
            .check(|path| {
                let hint = format!("at most {SOCKET} bytes, such as \"/run/forebay/api.sock\"");
                let is_bad = path.is_empty() || path.len() > SOCKET;
                is_bad.then(|| ("`socket` is no path of a Unix socket".into(), Some(hint)))
            })
            .example("\"/run/forebay/api.sock\"")
            .get();
        let token = section.secret("token", "A request must bear this token: `Authorization: Bearer TOKEN`, or as the password that a browser asks for. With a token, the log level can be changed.");
        let tls = section.table("tls", "Certificate and key, for HTTPS.").and_then(ServerTls::read);
        let listen = match listen {
            Some(text) => text.parse::<SocketAddr>().ok(),
            None if socket.is_some() || section.is_bad("listen") => None,
            None => LISTEN.parse().ok(),
        };
        if let Some(listen) = listen
            && !listen.ip().is_loopback()
            && !section.has("token")
        {
            section.wrong_because("listen", "everybody in the network could read this page", "add `token`");
        }
        section.end();
        (listen.is_some() || socket.is_some()).then_some(Self { listen, socket: socket.map(PathBuf::from), token, tls })
    }
}
