//! A web server that has the document. It is asked again and again; what has not changed costs one short answer (`ETag`, else
//! `Last-Modified`).
//!
//! Redirects are not followed: the address of the configuration is the one that the local file names. An answer has
//! a limit in bytes and in time.

use super::{Around, Handled, Wish};
use crate::control::document::LONGEST;
use crate::control::settings::Web;
use crate::monitor::{web_client, web_error};
use crate::platform::{clock, random};
use crate::section::Secret;
use crate::telemetry::event;
use crate::telemetry::outage::{Outage, Tell};
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{RequestBuilder, Response, StatusCode};
use std::time::Duration;

/// An answer must be whole within this time: 1 MiB takes 30 s at 280 kbit/s.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// What a server without a document for this device answers.
const NOT_THERE: &str = "the server answers 404: it has no document for this device";

struct Server {
    web: Web,
    document: String,
    report: Option<String>,
    /// What the server said of the document that is known here.
    known: Option<(HeaderName, HeaderValue)>,
    /// A document that could not be taken yet.
    waiting: Option<Vec<u8>>,
    told: String,
}

pub async fn run(web: Web, fleet: String, mut around: Around) {
    let of_device = |url: &str| url.replace("{device}", &around.device).replace("{fleet}", &fleet);
    let (document, report) = (of_device(&web.url), web.report.as_deref().map(of_device));
    let mut server = Server { web, document, report, known: None, waiting: None, told: String::new() };
    let (mut outage, mut reports) = (Outage::default(), Outage::default());
    let mut failures = 0;
    loop {
        let mut stop = around.stop.clone();
        let Ok(done) = stop.or(server.ask(&around)).await else { return };
        // A device that has no document yet asks on as ever.
        failures = if done.is_err() { failures + 1 } else { 0 };
        let done = done.and_then(|is_there| if is_there { Ok(()) } else { Err(NOT_THERE.into()) });
        let now = clock::boot_ms();
        match done {
            Ok(()) if outage.over(now).is_some() => {
                tracing::info!(event = event::CONTROL_UP, by = "https", "the server of the configuration answers");
            }
            Err(error) if outage.failed(&error, now) != Tell::Nothing => {
                tracing::warn!(event = event::CONTROL_DOWN, by = "https", error, "no configuration from the server");
            }
            _ => {}
        }
        let Ok(told) = around.stop.clone().or(server.tell(&around)).await else { return };
        match told {
            Ok(()) => drop(reports.over(now)),
            Err(error) if reports.failed(&error, now) != Tell::Nothing => {
                tracing::warn!(event = event::CONTROL_DOWN, by = "https", error, "a report cannot be sent");
            }
            Err(_) => {}
        }
        let pause = pause(server.web.every, failures);
        tokio::select! {
            ended = around.stop.pause(pause) => if ended.is_err() { return },
            changed = around.report.changed(), if server.report.is_some() => if changed.is_err() { return },
        }
    }
}

/// The interval, give or take a tenth, and longer after failures: ten thousand devices must not ask at one moment.
pub fn pause(every: Duration, failures: u32) -> Duration {
    let longer = every.saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE.max(every));
    let tenth = u64::try_from(longer.as_millis() / 5).unwrap_or(u64::MAX);
    longer.mul_f32(0.9) + Duration::from_millis(random::below(tenth.max(1)))
}

impl Server {
    /// Asks for the document; false when there is none.
    async fn ask(&mut self, around: &Around) -> Result<bool, String> {
        let client = web_client(&self.web.tls, PATIENCE)?;
        let mut request = proven(client.get(&self.document), self.web.token.as_ref());
        if let Some((name, value)) = &self.known {
            request = request.header(name, value);
        }
        let answer = request.send().await.map_err(web_error)?;
        match answer.status() {
            StatusCode::OK => {
                let said = |name| answer.headers().get(name).cloned();
                let changed = said(LAST_MODIFIED).map(|value| (IF_MODIFIED_SINCE, value));
                let known = said(ETAG).map(|value| (IF_NONE_MATCH, value)).or(changed);
                let bytes = body(answer, LONGEST).await?;
                self.known = known;
                self.hand_over(bytes, around).await;
            }
            StatusCode::NOT_MODIFIED => {
                if let Some(bytes) = self.waiting.take() {
                    self.hand_over(bytes, around).await;
                }
            }
            StatusCode::NOT_FOUND => return Ok(false),
            status if status.is_redirection() => {
                return Err(format!("the server answers {status}: redirects are not followed"));
            }
            status => return Err(format!("the server answers {status}")),
        }
        Ok(true)
    }

    /// Hands a document over. One that cannot be taken yet waits here: it is not fetched again.
    async fn hand_over(&mut self, bytes: Vec<u8>, around: &Around) {
        let is_later = around.hand_over(Wish::Take(bytes.clone()), "https").await == Handled::Later;
        self.waiting = is_later.then_some(bytes);
    }

    /// Sends the report if it has changed.
    async fn tell(&mut self, around: &Around) -> Result<(), String> {
        let (Some(url), report) = (&self.report, around.report.borrow().clone()) else { return Ok(()) };
        if report.is_empty() || report == self.told {
            return Ok(());
        }
        let request =
            web_client(&self.web.tls, PATIENCE)?.put(url).header(CONTENT_TYPE, "application/json").body(report.clone());
        let answer = proven(request, self.web.token.as_ref()).send().await.map_err(web_error)?;
        if !answer.status().is_success() {
            return Err(format!("the server answers {} to a report", answer.status()));
        }
        self.told = report;
        Ok(())
    }
}

pub fn proven(request: RequestBuilder, token: Option<&Secret>) -> RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token.now().expose()),
        None => request,
    }
}

/// The body of an answer; one that is longer than `most` is cut behind it.
pub async fn body(mut answer: Response, most: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(more) = answer.chunk().await.map_err(web_error)? {
        bytes.extend_from_slice(&more);
        if bytes.len() > most {
            break;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::section::ClientTls;
    use std::io::{Read, Write};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn devices_do_not_ask_at_one_moment_and_failures_make_pauses_longer() {
        let every = Duration::from_secs(60);
        let pauses: Vec<Duration> = (0..200).map(|_| pause(every, 0)).collect();
        assert!(pauses.iter().all(|pause| (54..=66).contains(&pause.as_secs())), "{pauses:?}");
        assert!(pauses.iter().max() > pauses.iter().min());
        assert!(pause(every, 3) > Duration::from_secs(400) && pause(every, 99) <= LONGEST_PAUSE * 2);
        assert!(pause(Duration::from_secs(86_400), 9).as_secs() >= 77_760);
    }

    /// A server that sends this answer, to each who asks, and how often it was asked.
    fn server(answer: impl Fn(&mut std::net::TcpStream) + Send + 'static) -> (u16, Arc<AtomicUsize>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
        let count = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                count.fetch_add(1, Relaxed);
                answer(&mut stream);
            }
        });
        (port, asked)
    }

    fn asker(
        port: u16,
    ) -> (Server, Around, tokio::sync::mpsc::Receiver<super::super::Arrived>, tokio::sync::watch::Sender<String>) {
        let web = Web {
            url: String::new(),
            report: None,
            every: Duration::from_secs(1),
            token: None,
            tls: ClientTls::default(),
        };
        let document = format!("http://127.0.0.1:{port}/x");
        let server = Server { web, document, report: None, known: None, waiting: None, told: String::new() };
        let (arrived, brought) = tokio::sync::mpsc::channel(1);
        let (reports, report) = tokio::sync::watch::channel(String::new());
        let (_, stop) = crate::flow::stop::stop();
        (server, Around { device: "d".into(), arrived, report, stop }, brought, reports)
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed_and_a_flood_ends_at_the_limit() {
        let (port, asked) = server(|stream| {
            let _ = stream
                .write_all(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        });
        let (mut one, around, _brought, _reports) = asker(port);
        let error = one.ask(&around).await.unwrap_err();
        assert!(error.contains("302") && error.contains("redirects are not followed"), "{error}");
        assert_eq!(asked.load(Relaxed), 1);

        let (port, _) = server(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            while stream.write_all(&[b'x'; 8192]).is_ok() {}
        });
        let (mut one, around, mut brought, _reports) = asker(port);
        let took = tokio::spawn(async move { one.ask(&around).await });
        let Some(super::super::Arrived { wish: Wish::Take(bytes), answer, .. }) = brought.recv().await else {
            panic!()
        };
        assert!(bytes.len() > LONGEST && bytes.len() < LONGEST + (1 << 20), "{}", bytes.len());
        answer.send(Handled::Done).unwrap();
        assert_eq!(took.await.unwrap(), Ok(true));
    }

    #[tokio::test]
    async fn what_must_wait_is_not_fetched_again() {
        let times = AtomicUsize::new(0);
        let (port, asked) = server(move |stream| {
            let first = times.fetch_add(1, Relaxed) == 0;
            let answer: &[u8] = if first {
                b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
            } else {
                b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"
            };
            let _ = stream.write_all(answer);
        });
        let (mut one, around, mut brought, _reports) = asker(port);
        let asking = tokio::spawn(async move {
            for _ in 0..4 {
                assert_eq!(one.ask(&around).await, Ok(true));
            }
        });
        for handled in [Handled::Later, Handled::Later, Handled::Done] {
            let Some(super::super::Arrived { wish: Wish::Take(bytes), answer, .. }) = brought.recv().await else {
                panic!()
            };
            assert_eq!(bytes, b"abc");
            answer.send(handled).unwrap();
        }
        asking.await.unwrap();
        assert_eq!(asked.load(Relaxed), 4, "and the fourth time there is nothing to hand over");
    }
}
