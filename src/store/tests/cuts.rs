//! Power cuts at arbitrary writes and syncs; every promise is checked after each.

use super::*;
use std::collections::BTreeMap;

/// What the outside world knows: values that were told safe, and identities that were seen.
#[derive(Default)]
struct World {
    settled: u64,
    offered: u64,
    released: u64,
    identities: BTreeMap<(u64, u64), u64>,
}

/// One life of the store until the power goes; returns what is wrong.
fn live(disk: &SimDisk, world: &mut World, seed: u64) -> Result<(), String> {
    let opened = open(disk);
    let (store, _) = match opened {
        Ok(opened) => opened,
        Err(_) if disk.is_dead() => return Ok(()),
        Err(error) => return Err(format!("refused to open: {error}")),
    };
    let stream = store.stream("readings");
    let checked = check(&store, stream, world);
    if disk.is_dead() {
        store.abandon();
        return Ok(());
    }
    checked?;
    let position =
        store.positions("source").first().map_or(0, |(_, value)| u64::from_le_bytes(value[..].try_into().unwrap()));
    if position < world.settled {
        return Err(format!("position {position} is behind what was settled, {}", world.settled));
    }
    // The source goes on where its saved position says, as a file does.
    world.offered = position;
    world.settled = position;
    for round in 0..12 {
        let count = 1 + (seed + round) % 7;
        let numbers = world.offered..world.offered + count;
        world.offered = numbers.end;
        if !put(&store, disk, atom(stream, numbers.clone(), 3000)) {
            break;
        }
        world.settled = numbers.end;
        if round % 3 == 2 {
            let next = world.settled.saturating_sub(seed % 5).max(world.released) + 1;
            world.released = next - 1;
            release(&store, stream, next);
        }
    }
    store.abandon();
    Ok(())
}

/// Reads everything that is not released: all that was settled is there, in order, once, and no
/// identity ever names two values. Value n has sequence n + 1.
fn check(store: &Store, stream: StreamId, world: &mut World) -> Result<(), String> {
    let mut reader = store.reader("sink", stream);
    let start = reader.next_sequence();
    if start > world.released + 1 {
        return Err(format!("the cursor {start} is ahead of what was released, {}", world.released));
    }
    let mut expected = start.max(1) - 1;
    while let Some(item) = reader.read().map_err(|e| e.to_string())? {
        match item {
            Item::Gap(gap) if gap.to <= world.released => expected = gap.to,
            Item::Gap(gap) => return Err(format!("{gap:?} although nothing rotted; {} settled", world.settled)),
            Item::Span(span) => {
                for (sequence, record) in span.records() {
                    let value = number_of(record.payload);
                    if value != expected || sequence != value + 1 {
                        return Err(format!("value {value} at sequence {sequence}, expected value {expected}"));
                    }
                    expected += 1;
                    let known = world.identities.insert((span.head.epoch, sequence), value);
                    if known.is_some_and(|known| known != value) {
                        return Err(format!("identity {:?} names two values", (span.head.epoch, sequence)));
                    }
                }
            }
        }
    }
    if expected < world.settled {
        return Err(format!("settled up to {}, but only {expected} are there", world.settled));
    }
    Ok(())
}

fn storm(seed: u64, lives: u64, honest: bool) -> Result<(), String> {
    let disk = SimDisk::new(seed);
    let mut world = World::default();
    for life in 0..lives {
        if !honest {
            disk.ignore_syncs();
        }
        disk.cut_after(1 + (seed * 31 + life * 17) % 90);
        live(&disk, &mut world, seed + life).map_err(|error| format!("seed {seed}, life {life}: {error}"))?;
        disk.reboot();
    }
    live(&disk, &mut world, seed).map_err(|error| format!("seed {seed}, last life: {error}"))
}

/// Seeds in the normal suite, eight cuts each; `tests/run --long` sets more. One seed repeats a failure.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("FOREBAY_CUT_SEED"), number("FOREBAY_CUTS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(60),
    }
}

#[test]
fn nothing_settled_is_lost_at_any_cut() {
    let failures: Vec<String> = seeds().filter_map(|seed| storm(seed, 8, true).err()).collect();
    assert!(failures.is_empty(), "{}: {:#?}", failures.len(), &failures[..failures.len().min(5)]);
}

#[test]
fn the_control_run_without_sync_loses_data() {
    let failures = (0..20).filter(|seed| storm(*seed, 8, false).is_err()).count();
    assert!(failures > 0, "a disk that ignores syncs must be found out, or the test above proves nothing");
}
