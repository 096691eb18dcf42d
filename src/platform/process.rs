//! Facts that the kernel knows about processes: memory, processor time, core dumps.

/// Memory of a process in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// The resident memory at present.
    pub resident: u64,
    /// The part of the resident memory that belongs to no file.
    pub anonymous: u64,
    /// The highest resident memory so far.
    pub peak: u64,
}

/// Memory of a process (`self` or a number); zeros where `/proc` is missing.
#[must_use]
pub fn memory_of(process: &str) -> Memory {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
    };
    Memory { resident: field("VmRSS:"), anonymous: field("RssAnon:"), peak: field("VmHWM:") }
}

/// Forbids core dumps of this process from now on: they would contain keys and passwords.
///
/// # Errors
/// As the kernel says.
pub fn leave_no_core_dump() -> std::io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// User and system processor time of a process (`self` or a number) so far, in milliseconds.
#[must_use]
pub fn cpu_ms_of(process: &str) -> u64 {
    // Fields 14 and 15 of /proc/PID/stat, in ticks of 10 ms (proc(5); USER_HZ is 100 on Linux).
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<u64> = after_name.split_whitespace().map(|f| f.parse().unwrap_or(0)).collect();
    fields.get(11).zip(fields.get(12)).map_or(0, |(user, system)| (user + system) * 10)
}
