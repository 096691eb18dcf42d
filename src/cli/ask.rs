//! Asks the running agent of a configuration, for `status` and `top`.

use super::fail;
use super::place::{self, Place};
use crate::config::Config;
use crate::dashboard::Settings;
use crate::monitor::view::View;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The agent must answer within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where an agent answers.
pub(super) struct Desk(Settings);

impl Desk {
    /// Where the agent of a configuration answers. What is wrong was printed.
    pub fn of(place: &Place) -> Result<Self, ExitCode> {
        let settings = settings(&place.path()?)?;
        if settings.socket.is_none() && settings.tls.is_some() {
            return Err(fail(
                2,
                "the page of this configuration uses TLS: add `socket` to [page] for the command line",
            ));
        }
        Ok(Self(settings))
    }

    /// The agent at this moment: its answer, and what it says.
    pub fn view(&self) -> Result<(String, View), String> {
        let json = self.ask("/api/v1/status")?;
        let read = serde_json::from_str(&json);
        let view = read.map_err(|error| format!("this is no answer of an agent of this version: {error}"))?;
        Ok((json, view))
    }

    /// The body of an answer.
    pub fn ask(&self, path: &str) -> Result<String, String> {
        let (place, answer) = match (&self.0.socket, self.0.listen) {
            (Some(socket), _) => (socket.display().to_string(), self.by_socket(socket, path)),
            (None, Some(listen)) => {
                let address = reachable(listen);
                (address.to_string(), self.by_network(address, path))
            }
            (None, None) => return Err("the configuration has no address of the agent".into()),
        };
        let answer = answer
            .map_err(|error| format!("no agent answers at {place} ({error}): does it run, with this configuration?"))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.lines().next().unwrap_or_default();
        match status.split(' ').nth(1) {
            Some("200") => Ok(body.into()),
            _ => Err(format!("{place} answers `{status}`: {}", body.trim())),
        }
    }

    fn by_socket(&self, socket: &Path, path: &str) -> std::io::Result<String> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        self.exchange(stream, "localhost", path)
    }

    fn by_network(&self, address: SocketAddr, path: &str) -> std::io::Result<String> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        self.exchange(stream, &address.to_string(), path)
    }

    fn exchange(&self, mut stream: impl Read + Write, host: &str, path: &str) -> std::io::Result<String> {
        let token = self.0.token.as_ref().map(|token| format!("Authorization: Bearer {}\r\n", token.expose()));
        let token = token.unwrap_or_default();
        // Of HTTP 1.0: the answer ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n{token}\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// The address by which this machine reaches a listener of its own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if !listen.ip().is_unspecified() {
        return listen;
    }
    let local = if listen.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
    SocketAddr::new(local, listen.port())
}

/// Where the agent of a configuration answers. Secrets are looked up only if a token is needed.
fn settings(path: &Path) -> Result<Settings, ExitCode> {
    let load = |without_secrets| {
        place::read(path, without_secrets)?.map(|(config, _): (Config, _)| config.page).map_err(|report| {
            complain!("{}:\n{report}", path.display());
            ExitCode::from(2)
        })
    };
    let page = match load(true)? {
        Some(page) if page.token.is_some() && page.socket.is_none() => load(false)?,
        page => page,
    };
    page.ok_or_else(|| {
        let hint = "add a section [page] and start the agent again; without it nothing listens";
        fail(2, format_args!("{} has no [page]: {hint}", path.display()))
    })
}
