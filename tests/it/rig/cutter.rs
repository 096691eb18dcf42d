//! A network that cuts connections: each after so many bytes, by a rule that does the same again.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// The network; it ends with the test's process.
pub struct Cutter {
    cuts: Arc<AtomicU64>,
}

impl Cutter {
    /// From `port` to `target`. Connections live for up to `most` bytes, in whichever direction.
    pub fn start(port: u16, target: u16, most: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let cuts = Arc::new(AtomicU64::new(0));
        let counted = cuts.clone();
        thread::spawn(move || {
            for (number, client) in (0_u64..).zip(listener.incoming()) {
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                // As good as by chance.
                let life = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % most;
                let left = Arc::new(AtomicU64::new(life));
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (left, cuts) = (left.clone(), counted.clone());
                    thread::spawn(move || pass(from, to, &left, &cuts));
                }
            }
        });
        Self { cuts }
    }

    /// How many connections were cut so far.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Relaxed)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, left: &AtomicU64, cuts: &AtomicU64) {
    let mut bytes = [0; 4096];
    while let Ok(count) = from.read(&mut bytes) {
        let had = left.load(Relaxed);
        let now = usize::try_from(had).unwrap().min(count);
        left.store(had.saturating_sub(count as u64), Relaxed);
        if count == 0 || to.write_all(&bytes[..now]).is_err() || now < count {
            cuts.fetch_add(u64::from(now < count), Relaxed);
            break;
        }
    }
    // The other direction ends too.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
