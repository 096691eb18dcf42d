//! The engines: each makes a chunk of readings durable, one commit after another.

use bytes::Bytes;
use forebay::flow::receipt::Ticket;
use forebay::flow::record::{PayloadKind, Record};
use forebay::store::{Atom, Begin, Options, Part, ReaderRule, Role, Selection, Store};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

pub trait Engine {
    /// Makes a chunk of about `raw` payload bytes durable; returns its payload bytes.
    fn commit(&mut self, number: u64, raw: usize) -> u64;
}

pub fn open(name: &str, dir: &Path) -> Box<dyn Engine> {
    match name {
        "floor" => Box::new(Floor(File::create(dir.join("log")).expect("a file"), compressor())),
        "forebay" => Box::new(Forebay::open(dir, false)),
        "forebay-ahead" => Box::new(Forebay::open(dir, true)),
        "redb" => Box::new(Redb::open(dir)),
        "sqlite" => Box::new(Sqlite::open(dir)),
        "fjall" => Box::new(Fjall::open(dir)),
        other => panic!("no engine {other}"),
    }
}

/// Readings of about 118 bytes, as the store's own measurements use.
fn readings(number: u64, raw: usize) -> Vec<String> {
    let count = raw / 118;
    let reading = |n: u64| {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        format!(
            "{{\"t\":{},\"device\":\"press-{:02}\",\"n\":{n},\"temperature\":{}.{:02},\"pressure\":{},\"flow\":{}.{:03},\"status\":\"ok\"}}",
            1_800_000_000_000_u64 + n,
            n % 50,
            20 + mixed % 5,
            mixed % 100,
            101_000 + mixed % 900,
            mixed % 9,
            mixed % 1000
        )
    };
    let first = number * count as u64;
    (first..first + count as u64).map(reading).collect()
}

fn compressor() -> zstd::bulk::Compressor<'static> {
    zstd::bulk::Compressor::new(1).expect("memory")
}

/// The chunk as the other engines keep it, and its payload bytes.
fn chunk(number: u64, raw: usize, compressor: &mut zstd::bulk::Compressor<'static>) -> (Vec<u8>, u64) {
    let readings = readings(number, raw);
    let payload = readings.iter().map(|reading| reading.len() as u64).sum();
    (compressor.compress(readings.join("\n").as_bytes()).expect("memory"), payload)
}

struct Floor(File, zstd::bulk::Compressor<'static>);

impl Engine for Floor {
    fn commit(&mut self, number: u64, raw: usize) -> u64 {
        let (bytes, payload) = chunk(number, raw, &mut self.1);
        self.0.write_all(&bytes).expect("written");
        self.0.sync_data().expect("synced");
        payload
    }
}

struct Forebay {
    store: Store,
    stream: u32,
    key: Arc<str>,
    runtime: tokio::runtime::Runtime,
    /// As the agent does: the next chunk is offered while this one is synced.
    ahead: bool,
    waiting: Option<Ticket>,
}

impl Forebay {
    fn open(dir: &Path, ahead: bool) -> Self {
        let reader = ReaderRule { name: "nobody".into(), streams: Selection::All, begin: Begin::Oldest, role: Role::Sink };
        let options = Options { linger_ms: 0, reserve: 32 << 20, ..Options::default() };
        let (store, _) = Store::open(dir, &options, vec![reader]).expect("a store");
        let stream = store.stream("readings");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Self { store, stream, key: "plant/press".into(), runtime, ahead, waiting: None }
    }
}

impl Engine for Forebay {
    fn commit(&mut self, number: u64, raw: usize) -> u64 {
        let readings = readings(number, raw);
        let payload = readings.iter().map(|reading| reading.len() as u64).sum();
        let record = |text: String| Record {
            arrival_ms: 1_800_000_000_000,
            device_time_us: None,
            key: self.key.clone(),
            flags: 0,
            attributes: Vec::new(),
            kind: PayloadKind::Json,
            payload: Bytes::from(text),
        };
        let records = readings.into_iter().map(record).collect();
        let part = Part { stream: self.stream, generation: 1, in_flight: false, records };
        let mut durable = self.store.durable();
        let ticket = self.store.offer(Atom { parts: vec![part], ..Atom::default() }).expect("room");
        let before = self.waiting.replace(ticket);
        let awaited = if self.ahead { before } else { Some(ticket) };
        if let Some(ticket) = awaited {
            self.runtime.block_on(durable.wait_for(|proof| proof.covers(ticket))).expect("durable");
        }
        payload
    }
}

struct Redb(redb::Database, zstd::bulk::Compressor<'static>);

const TABLE: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("chunks");

impl Redb {
    fn open(dir: &Path) -> Self {
        let database = redb::Database::builder().set_cache_size(4 << 20).create(dir.join("chunks.redb"));
        Self(database.expect("a database"), compressor())
    }
}

impl Engine for Redb {
    fn commit(&mut self, number: u64, raw: usize) -> u64 {
        let (bytes, payload) = chunk(number, raw, &mut self.1);
        let write = self.0.begin_write().expect("a transaction");
        write.open_table(TABLE).expect("a table").insert(number, bytes.as_slice()).expect("inserted");
        write.commit().expect("committed");
        payload
    }
}

struct Sqlite(rusqlite::Connection, zstd::bulk::Compressor<'static>);

impl Sqlite {
    fn open(dir: &Path) -> Self {
        let connection = rusqlite::Connection::open(dir.join("chunks.db")).expect("a database");
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE chunks (number INTEGER PRIMARY KEY, chunk BLOB);",
            )
            .expect("settings");
        Self(connection, compressor())
    }
}

impl Engine for Sqlite {
    fn commit(&mut self, number: u64, raw: usize) -> u64 {
        let (bytes, payload) = chunk(number, raw, &mut self.1);
        let mut insert = self.0.prepare_cached("INSERT INTO chunks VALUES (?1, ?2)").expect("a statement");
        insert.execute((number.cast_signed(), bytes)).expect("committed");
        payload
    }
}

struct Fjall {
    database: fjall::Database,
    chunks: fjall::Keyspace,
    compressor: zstd::bulk::Compressor<'static>,
}

impl Fjall {
    fn open(dir: &Path) -> Self {
        let database = fjall::Database::builder(dir.join("fjall")).open().expect("a database");
        let chunks = database.keyspace("chunks", fjall::KeyspaceCreateOptions::default).expect("a keyspace");
        Self { database, chunks, compressor: compressor() }
    }
}

impl Engine for Fjall {
    fn commit(&mut self, number: u64, raw: usize) -> u64 {
        let (bytes, payload) = chunk(number, raw, &mut self.compressor);
        self.chunks.insert(number.to_be_bytes(), bytes).expect("inserted");
        self.database.persist(fjall::PersistMode::SyncData).expect("synced");
        payload
    }
}
