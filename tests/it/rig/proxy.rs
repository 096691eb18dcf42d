//! A proxy in front of the broker that notes what crossed it: which messages the broker sent,
//! and for which of them it received the acknowledgement.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;

#[derive(Default)]
struct Notes {
    acknowledged: BTreeMap<String, Instant>,
    open: BTreeSet<String>,
    sent: u64,
}

/// The proxy; it ends with its runtime.
pub struct Proxy {
    /// Connect here.
    pub port: u16,
    notes: Arc<Mutex<Notes>>,
}

impl Proxy {
    /// In front of a broker's port.
    pub async fn start(broker: u16, v5: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let notes: Arc<Mutex<Notes>> = Arc::default();
        let shared = notes.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", broker)).await {
                    // Packet ids belong to a connection.
                    let ids: Arc<Mutex<HashMap<u16, String>>> = Arc::default();
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::spawn(down(from_server, to_client, ids.clone(), shared.clone(), v5));
                    tokio::spawn(up(from_client, to_server, ids, shared.clone()));
                }
            }
        });
        Self { port, notes }
    }

    /// Payloads whose PUBACK or PUBREC was sent on to the broker.
    pub fn acknowledged(&self) -> BTreeSet<String> {
        self.notes.lock().unwrap().acknowledged.keys().cloned().collect()
    }

    /// Those since a moment. A broker that ends does not read all that was sent to it.
    pub fn acknowledged_since(&self, then: Instant) -> BTreeSet<String> {
        let notes = self.notes.lock().unwrap();
        notes.acknowledged.iter().filter(|(_, at)| **at >= then).map(|(payload, _)| payload.clone()).collect()
    }

    /// Payloads that were sent to the agent and not acknowledged, as of now.
    pub fn in_flight(&self) -> BTreeSet<String> {
        self.notes.lock().unwrap().open.clone()
    }
}

/// One MQTT packet: its first byte and all its bytes.
async fn packet(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut bytes = vec![from.read_u8().await.ok()?];
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let byte = from.read_u8().await.ok()?;
        bytes.push(byte);
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let start = bytes.len();
    bytes.resize(start + length, 0);
    from.read_exact(&mut bytes[start..]).await.ok()?;
    Some(bytes)
}

async fn down(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    ids: Arc<Mutex<HashMap<u16, String>>>,
    notes: Arc<Mutex<Notes>>,
    v5: bool,
) {
    while let Some(bytes) = packet(&mut from).await {
        if bytes[0] >> 4 == PUBLISH && bytes[0] & 0b110 != 0 {
            let header = 1 + bytes[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
            let topic = usize::from(u16::from_be_bytes([bytes[header], bytes[header + 1]]));
            let id_at = header + 2 + topic;
            let id = u16::from_be_bytes([bytes[id_at], bytes[id_at + 1]]);
            // Properties are few here: their length is one byte.
            let properties = if v5 { 1 + usize::from(bytes[id_at + 2]) } else { 0 };
            let payload = String::from_utf8_lossy(&bytes[id_at + 2 + properties..]).into_owned();
            ids.lock().unwrap().insert(id, payload.clone());
            let mut notes = notes.lock().unwrap();
            notes.sent += 1;
            notes.open.insert(payload);
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn up(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    ids: Arc<Mutex<HashMap<u16, String>>>,
    notes: Arc<Mutex<Notes>>,
) {
    while let Some(bytes) = packet(&mut from).await {
        if to.write_all(&bytes).await.is_err() {
            return;
        }
        if matches!(bytes[0] >> 4, PUBACK | PUBREC) {
            let id = u16::from_be_bytes([bytes[2], bytes[3]]);
            let payload = ids.lock().unwrap().get(&id).cloned();
            if let Some(payload) = payload {
                let mut notes = notes.lock().unwrap();
                notes.open.remove(&payload);
                notes.acknowledged.insert(payload, Instant::now());
            }
        }
    }
}
