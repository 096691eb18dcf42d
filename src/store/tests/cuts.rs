//! Power cuts at every write and sync of workloads; every promise is checked after each.
//!
//! A workload is a run of model operations. It is run once to count its writes and syncs, and then
//! again for each of them, with the power cut there, up to twice more at arbitrary places (so also
//! while the store recovers). `FOREBAY_CUTS` sets how many cuts there are, `FOREBAY_CUT_SEED`
//! replays the workload of a failure, `FOREBAY_CUT_AT` only one of its cuts.

use super::model::{Machine, Op};
use crate::platform::random;
use crate::telemetry::Metric;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes that were copied out of old segments, and records that were given up, over all workloads.
static CARRIED: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// One in so many workloads has a full store.
const CROWDED: u64 = 16;
/// Of a long workload so many places are cut in the normal suite, spread evenly; all with `--long`.
const PLACES: u64 = 150;
/// Cuts in the normal suite.
const CUTS: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn wanted() -> u64 {
    number("FOREBAY_CUTS").unwrap_or(CUTS)
}

/// A workload without rot and without cuts of its own.
fn workload(seed: u64) -> Vec<Op> {
    random::seed(seed);
    let mut ops = Vec::new();
    if seed.is_multiple_of(CROWDED) {
        // A few records that nobody fetches, among many that drop their oldest in a full store: live
        // rests are copied, copies are copied again, floors rise, files are used again.
        for round in 0..3 {
            ops.extend([Op::Append(0, 20 + round), Op::Append(3, 9), Op::Commit, Op::Fill(1), Op::Read(0, 1)]);
            ops.extend([Op::Part(0, 200), Op::Append(2, 3), Op::Commit, Op::Wait(60)]);
        }
        return ops;
    }
    while ops.len() < 40 {
        let op = Op::from_bytes(random::bytes());
        // Filling takes long: in every eighth workload, once.
        let fill =
            matches!(op, Op::Fill(_)) && (!seed.is_multiple_of(8) || ops.iter().any(|op| matches!(op, Op::Fill(_))));
        if !fill && !matches!(op, Op::Cut(_) | Op::Corrupt(..) | Op::FailSyncs(..) | Op::FailWrites(_)) {
            ops.push(op);
        }
    }
    ops
}

fn machine(workload: u64, seed: u64, honest: bool) -> Machine {
    let mut machine = Machine::new(seed, honest);
    if workload.is_multiple_of(CROWDED) {
        machine.crowd();
    }
    machine
}

/// One run with a cut; how many there were.
fn cut(seed: u64, ops: &[Op], at: u64, honest: bool) -> Result<u64, String> {
    let mut machine = machine(seed, seed ^ at << 20, honest);
    machine.cut_after(at);
    let mut again = at;
    for op in ops {
        let before = machine.cuts;
        machine.run_one(*op).map_err(|error| format!("FOREBAY_CUT_SEED={seed} FOREBAY_CUT_AT={at}: {error}"))?;
        if machine.cuts > before && machine.cuts < 3 {
            again = again.wrapping_mul(7).wrapping_add(13) % 97;
            machine.cut_after(again + 1);
        }
    }
    machine.finish().map_err(|error| format!("FOREBAY_CUT_SEED={seed} FOREBAY_CUT_AT={at}: {error}"))?;
    Ok(machine.cuts)
}

/// Cuts a workload at each of its writes and syncs.
fn every(seed: u64, honest: bool, enough: impl Fn(u64) -> bool) -> Result<u64, String> {
    let ops = workload(seed);
    let mut dry = machine(seed, seed, true);
    dry.run(&ops).map_err(|error| format!("FOREBAY_CUT_SEED={seed}, without a cut: {error}"))?;
    CARRIED.fetch_add(dry.metric(Metric::StoreCarriedBytes), Relaxed);
    DROPPED.fetch_add(dry.metric(Metric::StoreDropped), Relaxed);
    let mut cuts = 0;
    let places = dry.operations();
    let step = if places > PLACES * 4 && wanted() <= CUTS { places / PLACES } else { 1 };
    for at in (1 + seed % step..=places).step_by(usize::try_from(step).unwrap()) {
        cuts += cut(seed, &ops, at, honest)?;
        if enough(cuts) {
            break;
        }
    }
    Ok(cuts)
}

#[test]
fn nothing_settled_is_lost_at_any_cut() {
    if let Some(seed) = number("FOREBAY_CUT_SEED") {
        if let Some(at) = number("FOREBAY_CUT_AT") {
            cut(seed, &workload(seed), at, true).unwrap();
            return;
        }
        every(seed, true, |_| false).unwrap();
        return;
    }
    let wanted = wanted();
    // Two threads for two cores: one takes the even seeds, one the odd.
    let half = move |first: u64| {
        let mut cuts = 0;
        let mut seed = first;
        while cuts < wanted.div_ceil(2) {
            cuts += every(seed, true, |_| false)?;
            seed += 2;
        }
        Ok::<u64, String>(cuts)
    };
    let other = std::thread::spawn(move || half(2));
    let done = [half(1), other.join().unwrap()];
    let cuts: u64 = done.map(|done| done.unwrap_or_else(|error| panic!("{error}"))).iter().sum();
    assert!(cuts >= wanted);
    let (carried, dropped) = (CARRIED.load(Relaxed), DROPPED.load(Relaxed));
    eprintln!("{cuts} power cuts; {carried} bytes copied, {dropped} records given up");
    assert!(wanted < CUTS || carried > 0 && dropped > 0, "nothing was copied or given up: too little was shown");
}

#[test]
fn the_control_run_without_sync_loses_data() {
    let failures = (1..20).filter(|seed| every(*seed, false, |cuts| cuts > 40).is_err()).count();
    assert!(failures > 10, "a disk that ignores syncs must be found out, or the test above proves nothing");
}
