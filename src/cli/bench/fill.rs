//! `forebay bench fill DIR`

use super::reading;
use crate::flow::record::{PayloadKind, Record};
use crate::platform::clock;
use crate::store::{Atom, Begin, OfferError, Options, Part, ReaderRule, Role, Selection, Store};
use bytes::Bytes;
use std::path::{Path, PathBuf};

/// Readings of one atom.
const ATOM: u64 = 500;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The state directory
    dir: PathBuf,
    /// Raw payload bytes to store, in MiB
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// The reader that has delivered nothing of it
    #[arg(long, default_value = "hub")]
    reader: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), String> {
    let (readings, bytes) = fill(&arguments.dir, &arguments.reader, |_, bytes| bytes >= arguments.mib << 20)?;
    say!("{readings} readings, {bytes} payload bytes in {}", arguments.dir.display());
    Ok(())
}

/// Stores readings for a reader until there are enough of them or of their bytes; returns both.
pub(super) fn fill(dir: &Path, reader: &str, is_enough: impl Fn(u64, u64) -> bool) -> Result<(u64, u64), String> {
    let reader = ReaderRule { name: reader.into(), streams: Selection::All, begin: Begin::Oldest, role: Role::Sink };
    let options = Options { cap: 1 << 40, ..Options::default() };
    let (store, _) = Store::open(dir, &options, vec![reader]).map_err(|error| error.to_string())?;
    let stream = store.stream("readings");
    let (mut number, mut bytes) = (0, 0);
    let mut durable = store.durable();
    while !is_enough(number, bytes) {
        let now = clock::wall_ms();
        let record = |n: u64| Record {
            arrival_ms: now,
            device_time_us: None,
            key: format!("plant/press-{:02}", n % 50).into(),
            flags: 0,
            attributes: Vec::new(),
            kind: PayloadKind::Json,
            payload: Bytes::from(reading(n, now)),
        };
        let records: Vec<Record> = (number..number + ATOM).map(record).collect();
        bytes += records.iter().map(|record| record.payload.len() as u64).sum::<u64>();
        number += ATOM;
        let part = Part { stream, generation: 1, in_flight: false, records };
        let mut atom = Atom { parts: vec![part], ..Atom::default() };
        while let Err(error) = store.offer(atom) {
            match error {
                OfferError::Full(back) => atom = *back,
                other => return Err(other.to_string()),
            }
            // The store is full, because the committer is behind. Wait until more is durable.
            while !durable.has_changed().unwrap_or(true) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            durable.mark_unchanged();
        }
    }
    store.close();
    Ok((number, bytes))
}
