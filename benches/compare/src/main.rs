//! Compares Forebay's store with other ways to make the same chunks durable.
//!
//! `forebay-compare all DIR DEVICE PAIRS` runs every engine at 64 and 256 KiB per commit, PAIRS
//! times, interleaved, each run in a process of its own, and prints medians, spreads and ratios to
//! the floor. DEVICE is a block device as in /sys/block whose counters are read. `run` does the
//! rest: it makes a private ext4 loop device.
//!
//! The same work for all: chunks of JSON readings, compressed with zstd level 1, one durable commit
//! after another. The floor appends each compressed chunk to a file and calls fdatasync. All wait for
//! each commit, but for `forebay-ahead`: it makes the next chunk ready meanwhile, as the agent does.

mod engine;

use std::collections::BTreeMap;
use std::process::Command;

const ENGINES: [&str; 6] = ["floor", "forebay", "forebay-ahead", "redb", "sqlite", "fjall"];
/// Raw bytes per commit, and how many commits a run makes.
const SIZES: [(usize, u64); 2] = [(64 << 10, 300), (256 << 10, 150)];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["all", dir, device, pairs] => all(dir, device, pairs.parse().expect("PAIRS is a number")),
        ["one", engine, dir, device, raw, commits] => {
            one(engine, dir, device, raw.parse().expect("bytes"), commits.parse().expect("commits"));
        }
        _ => {
            eprintln!("usage: forebay-compare all DIR DEVICE PAIRS");
            std::process::exit(2);
        }
    }
}

/// One run: MB of payload a second, device bytes per payload byte, flushes per commit, peak kB.
fn one(engine: &str, dir: &str, device: &str, raw: usize, commits: u64) {
    let dir = std::path::Path::new(dir).join(engine);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a folder");
    let mut engine = engine::open(engine, &dir);
    // What opening costs is not what a commit costs.
    engine.commit(0, raw);
    sync();
    let (sectors, flushes) = counters(device);
    let started = std::time::Instant::now();
    let mut payload = 0;
    for n in 1..=commits {
        payload += engine.commit(n, raw);
    }
    let seconds = started.elapsed().as_secs_f64();
    let (after, flushed) = counters(device);
    let peak = peak();
    drop(engine);
    let _ = std::fs::remove_dir_all(&dir);
    let megabytes = payload as f64 / 1e6;
    println!(
        "{} {} {} {peak}",
        megabytes / seconds,
        (after - sectors) as f64 * 512.0 / payload as f64,
        (flushed - flushes) as f64 / commits as f64
    );
}

fn all(dir: &str, device: &str, pairs: usize) {
    let me = std::env::current_exe().expect("this program");
    let mut results: BTreeMap<(usize, &str), Vec<[f64; 4]>> = BTreeMap::new();
    for round in 0..pairs {
        for (raw, commits) in SIZES {
            // Every round begins with another engine: none always follows the same one.
            for at in 0..ENGINES.len() {
                let engine = ENGINES[(at + round) % ENGINES.len()];
                let output = Command::new(&me)
                    .args(["one", engine, dir, device, &raw.to_string(), &commits.to_string()])
                    .output()
                    .expect("a run");
                let text = String::from_utf8_lossy(&output.stdout).to_string();
                let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
                let Ok(numbers) = <[f64; 4]>::try_from(numbers) else {
                    panic!("{engine} failed: {}", String::from_utf8_lossy(&output.stderr));
                };
                results.entry((raw, engine)).or_default().push(numbers);
            }
        }
        eprintln!("round {} of {pairs}", round + 1);
    }
    println!(
        "Medians of {pairs} interleaved runs each (quartiles in brackets); ratios are medians of the pairs with the floor.\n"
    );
    println!(
        "| commit | engine | payload MB/s | to floor | device B/B | to floor | flushes/commit | to floor | peak RSS MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (raw, _) in SIZES {
        for engine in ENGINES {
            let own = &results[&(raw, engine)];
            let floor = &results[&(raw, "floor")];
            let show = |column: usize, digits: usize| {
                let [low, middle, high] = quartiles(own.iter().map(|run| run[column]).collect());
                format!("{middle:.digits$} ({low:.digits$}-{high:.digits$})")
            };
            let ratio = |column: usize| {
                let [low, middle, high] =
                    quartiles(own.iter().zip(floor).map(|(a, b)| a[column] / b[column]).collect());
                format!("{middle:.2} ({low:.2}-{high:.2})")
            };
            let [_, peak, _] = quartiles(own.iter().map(|run| run[3] / 1000.0).collect());
            println!(
                "| {} KiB | {engine} | {} | {} | {} | {} | {} | {} | {peak:.1} |",
                raw >> 10,
                show(0, 1),
                ratio(0),
                show(1, 3),
                ratio(1),
                show(2, 2),
                ratio(2)
            );
        }
    }
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values.len() / 4, values.len() / 2, values.len() * 3 / 4].map(|at| values[at.min(values.len() - 1)])
}

fn sync() {
    let _ = Command::new("sync").status();
}

/// Sectors written and flushes done, of /sys/block/DEVICE/stat (kernel, Documentation/block/stat.rst).
fn counters(device: &str) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/sys/block/{device}/stat")).expect("the device's counters");
    let fields: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    (fields[6], fields[15])
}

/// The highest resident memory of this process, in kB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
