//! What the tests are made of; they read as sentences with it.

mod agent;
mod broker;
mod certificates;
mod consumer;
mod cutter;
mod fleet;
mod issuer;
mod kafka;
mod mount;
mod prometheus;
mod proxy;
mod receiver;

pub use agent::{Agent, forebay};
pub use broker::{Aedes, Mosquitto, publish_at};
pub use certificates::certificates;
pub use consumer::{Reading, files, readings, without_repeats};
pub use cutter::Cutter;
pub use fleet::Fleet;
pub use issuer::{ArcKey, Issuer, entra_token};
pub use kafka::{CONNECTION, Kafka, Message, kafka_readings};
pub use mount::Mount;
pub use prometheus::Prometheus;
pub use proxy::Proxy;
pub use receiver::Receiver;

use std::fmt::{Debug, Display, Write as _};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Only a failure waits so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// Looks until it is so; panics with `what` when it never is.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    wait(|| (!so()).then(|| what.to_string()));
}

/// Looks until nothing is left; panics with what is.
pub fn until_none<T: Debug>(what: &str, mut left: impl FnMut() -> Vec<T>) {
    wait(|| {
        let left = left();
        let some = &left[..left.len().min(100)];
        (!left.is_empty()).then(|| format!("{what}: {} differ, {some:?}", left.len()))
    });
}

/// Until there is nothing that it waits for.
fn wait(mut why: impl FnMut() -> Option<String>) {
    let started = Instant::now();
    while let Some(why) = why() {
        assert!(started.elapsed() < DEADLINE, "never: {why}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Adds to a file as a program that logs does. (`fs::write` cuts a file first, and an agent may look then.)
pub fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// [`append`] of whole lines, in one write.
pub fn append_lines(path: &Path, lines: impl IntoIterator<Item = impl Display>) {
    let mut text = String::new();
    lines.into_iter().for_each(|line| writeln!(text, "{line}").unwrap());
    append(path, &text);
}

/// `n` and so many words of 16 letters that do not compress.
pub fn noise(n: u64, words: u32) -> String {
    let mut seed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = format!("{n} ");
    for _ in 0..words {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        write!(text, "{seed:016x}").unwrap();
    }
    text
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    // Below the range from which the kernel takes ports for connections: none of them may take it in between.
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    loop {
        let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let port = u16::try_from(20_000 + std::process::id().wrapping_mul(97).wrapping_add(n) % 12_000).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A runtime for the hub and the proxy.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
