//! `forebay buffer DIR`

use super::fail;
use crate::platform::clock;
use crate::store::inspect::{self, View, hex};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The state directory
    dir: PathBuf,
    /// Read every record back and report what does not read
    #[arg(long)]
    verify: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let dir = arguments.dir.display();
    if !arguments.dir.is_dir() {
        return fail(2, format_args!("{dir} is not a directory"));
    }
    let view = match inspect::view(&arguments.dir) {
        Ok(Some(view)) => view,
        Ok(None) => return fail(2, format_args!("{dir} has no store")),
        Err(error) => return fail(2, format_args!("cannot read {dir}: {error}")),
    };
    show(&view);
    if !arguments.verify {
        return if view.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) };
    }
    match inspect::verify(&arguments.dir) {
        Ok(verified) => {
            let verified = verified.unwrap_or_default();
            println!(
                "\nverified: {} records in {} sections, {} read back",
                verified.records,
                verified.sections,
                size(verified.bytes)
            );
            for problem in &verified.problems {
                println!("  bad: {problem}");
            }
            if verified.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => fail(2, format_args!("cannot read {dir}: {error}")),
    }
}

fn show(view: &View) {
    let stop = if view.clean { "closed in order" } else { "in use, or not closed in order" };
    println!("store {}, epoch {}, {stop}", hex(&view.id), view.epoch >> 32);
    println!("{} segments ({}), {} spare files\n", view.segments, size(view.segment_bytes), view.spares);
    println!("{:<28} {:>12} {:>12} {:>10} {:>8}", "stream", "first", "last", "stored", "age");
    for stream in &view.streams {
        let age = stream.oldest_ms.map_or("-".into(), |oldest| age(clock::wall_ms() - oldest));
        let (first, last, bytes) = (stream.first, stream.last, size(stream.bytes));
        println!("{:<28} {first:>12} {last:>12} {bytes:>10} {age:>8}", stream.name);
        for cursor in &stream.cursors {
            let behind = (stream.last + 1).saturating_sub(cursor.next.max(stream.first));
            println!("  reader {:<19} next {:>7}, {behind} not delivered", cursor.reader, cursor.next);
        }
    }
    for (source, part, bytes) in &view.positions {
        println!("source {source}: position of {part} ({bytes} bytes)");
    }
    for finding in &view.findings {
        println!("found: {finding}");
    }
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.iter().find(|(shift, _)| bytes >> shift > 0);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(shift, name)| {
            let tenths = (bytes >> (shift - 10)) * 10 / 1024;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        },
    )
}

/// Milliseconds for people.
pub(super) fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_for_people() {
        assert_eq!([size(0), size(1023), size(1536), size(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!([age(-5), age(61_000), age(3_660_000), age(90_000_000)], ["0s", "1m01s", "1h01m", "1d01h"]);
    }
}
