//! The machine: clock, limits, memory, proxies, serial ports.

use super::{Finding, bad, doubt, good};
use crate::config::Config;
use crate::platform::{clock, memory};
use crate::section::Claim;
use crate::telemetry::people;
use rustix::process::{Resource, getrlimit};
use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Open files that an agent may need: connections of devices, segments, watched files.
const FILES: u64 = 1024;
/// Memory below which the documents promise nothing, in bytes.
const MEMORY: u64 = 48 << 20;
/// Programs that are known to open serial ports that are not theirs.
const GRABBERS: [&str; 4] = ["ModemManager", "gpsd", "brltty", "agetty"];

/// Looks at the machine.
pub fn look() -> Vec<Finding> {
    vec![time(), files(), memory(), proxy()]
}

fn time() -> Finding {
    let now = clock::wall_ms();
    let shown = clock::utc(now);
    if !clock::is_credible(now) {
        let advice = "reach a time server (chrony, systemd-timesyncd), or add a clock with a battery; until then times are marked";
        return bad("clock", format!("it says {shown}, which is not the present"), advice);
    }
    // systemd-timesyncd makes the file when a server was heard; chrony and ntpd have their own.
    let is_heard = Path::new("/run/systemd/timesync/synchronized").exists();
    let daemons = ["chronyd", "ntpd", "systemd-timesyn"];
    let daemon = processes().into_iter().find(|(_, name)| daemons.contains(&name.as_str()));
    match (is_heard, daemon) {
        (true, _) => good("clock", format!("{shown}, set by a time server")),
        (false, Some((_, name))) => good("clock", format!("{shown}; {name} runs")),
        (false, None) => doubt(
            "clock",
            format!("{shown}; nothing sets it"),
            "without a time server it drifts: install chrony or systemd-timesyncd",
        ),
    }
}

fn files() -> Finding {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let about = "open files";
    if limit < FILES {
        doubt(
            about,
            format!("at most {limit}"),
            "raise `ulimit -n`, or `LimitNOFILE=` of the service: each device's connection is one",
        )
    } else {
        good(about, if limit == u64::MAX { "no limit".into() } else { format!("at most {limit}") })
    }
}

fn memory() -> Finding {
    let limit = memory::limit();
    let shown = people::size(limit);
    if limit < MEMORY {
        doubt(
            "memory",
            format!("{shown} for the agent and what runs beside it"),
            "set `memory_max`, and watch the alert `memory-short`",
        )
    } else {
        good("memory", shown)
    }
}

fn proxy() -> Finding {
    let names = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    let set: Vec<&str> =
        names.into_iter().filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())).collect();
    if set.is_empty() {
        return good("proxy", "no variable names one");
    }
    let advice = "tokens of Entra, webhooks and OTLP go through it; a sink does only with `proxy` in its section";
    doubt("proxy", format!("{} is set", set.join(", ")), advice)
}

/// Looks at every serial port of the configuration.
pub fn ports(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &config.sources {
        for claim in source.settings.claims() {
            if let Claim::SerialPort(path) = claim {
                findings.push(port(&format!("source {}", source.name), &path));
            }
        }
    }
    findings
}

fn port(about: &str, path: &Path) -> Finding {
    let shown = path.display();
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let advice = "is it plugged in? `ls -l /dev/serial/by-id` shows the ports by names that stay";
            return bad(about, format!("{shown} is not there"), advice);
        }
        Err(error) => return bad(about, format!("{shown}: {error}"), "who may look into its folder?"),
    };
    if let Some((pid, name)) = holder(path) {
        let advice = if GRABBERS.contains(&name.as_str()) {
            format!("keep {name} away from it: stop and disable it, or add a udev rule (docs/sources/serial.md)")
        } else {
            "a port has one reader: stop that program; if it is the agent, all is well".to_string()
        };
        return if name.starts_with("forebay") {
            good(about, format!("{shown} is open in the agent ({pid})"))
        } else {
            bad(about, format!("{shown} is in use by {name} ({pid})"), advice)
        };
    }
    // Opened without waiting for a carrier, and closed at once.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    match std::os::unix::fs::OpenOptionsExt::custom_flags(OpenOptions::new().read(true).write(true), flags).open(path) {
        Ok(_) => good(about, format!("{shown} can be opened")),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let group = group(meta.gid()).unwrap_or_else(|| meta.gid().to_string());
            let advice = format!("add the user to the group: `usermod -aG {group} forebay`, and start the agent again");
            bad(about, format!("{shown} may not be opened by this user; it belongs to the group {group}"), advice)
        }
        Err(error) => bad(about, format!("{shown}: {error}"), "is the device still plugged in?"),
    }
}

fn group(id: u32) -> Option<String> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let fields = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.into_iter().find(|fields| fields.get(2) == Some(&&*id.to_string())).map(|fields| fields[0].to_string())
}

/// All processes that can be seen: number and name.
fn processes() -> Vec<(String, String)> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let named = all.filter_map(|entry| {
        let pid = entry.file_name().into_string().ok().filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))?;
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        Some((pid, name.trim().to_string()))
    });
    named.collect()
}

/// The process that has a device open, as far as this user may see; the agent first.
fn holder(path: &Path) -> Option<(String, String)> {
    let device = std::fs::canonicalize(path).ok()?;
    let has_it = |(pid, _): &(String, String)| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.into_iter().any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == device))
    };
    processes().into_iter().filter(has_it).min_by_key(|(_, name)| !name.starts_with("forebay"))
}
