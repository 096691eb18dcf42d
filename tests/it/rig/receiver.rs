//! A web server that takes what is posted to it, or refuses it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// A request: its head, and its body.
pub type Posted = (String, Vec<u8>);

/// Takes requests, and remembers them.
pub struct Receiver {
    pub port: u16,
    seen: Arc<Mutex<Vec<Posted>>>,
    answer: Arc<Mutex<&'static str>>,
}

impl Receiver {
    /// Starts it; it answers with this status.
    pub fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, answer) = (Arc::<Mutex<Vec<Posted>>>::default(), Arc::new(Mutex::new(answer)));
        let (to, status) = (seen.clone(), answer.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let (head, body) = request(&mut reader);
                if !head.is_empty() {
                    to.lock().unwrap().push((head, body));
                }
                let status = *status.lock().unwrap();
                // The client may be gone.
                let _ = write!(reader.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Self { port, seen, answer }
    }

    /// Answers with another status from now on.
    pub fn answers(&self, status: &'static str) {
        *self.answer.lock().unwrap() = status;
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Posted> {
        self.seen.lock().unwrap().clone()
    }
}

/// Reads a request: its head, and its body.
pub fn request(reader: &mut impl BufRead) -> Posted {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (head, body)
}
