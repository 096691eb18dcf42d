//! What a pushed document may use of the device (`[restrict]`).

use super::Config;
use crate::control::{Restrict, allows};
use crate::section::Claim;

/// Everything that the restrictions do not allow: the section, and the reason with advice.
pub(super) fn broken(config: &Config) -> Vec<(String, String, &'static str)> {
    let sources = config.sources.iter().map(|source| (format!("source.{}", source.name), source.settings.claims()));
    let sinks = config.sinks.iter().map(|sink| (format!("sink.{}", sink.name), sink.settings.claims()));
    let mut found = Vec::new();
    for (label, claims) in sources.chain(sinks) {
        for claim in claims {
            if let Some((why, hint)) = against(&config.restrict, &claim) {
                found.push((label.clone(), format!("{label} {why}"), hint));
            }
        }
    }
    for host in config.monitor.hosts().iter().filter(|host| !allows(config.restrict.hosts.as_deref(), host)) {
        found.push((String::new(), format!("`alerts` and `otlp` may not connect to {host}"), HOSTS));
    }
    found
}

const HOSTS: &str = "the local file allows hosts with `hosts` in [restrict]";
const FILES: &str = "the local file allows paths with `files` in [restrict]";

fn against(restrict: &Restrict, claim: &Claim) -> Option<(String, &'static str)> {
    let host =
        |host: &str| (!allows(restrict.hosts.as_deref(), host)).then(|| (format!("may not connect to {host}"), HOSTS));
    let file = |path: &str| {
        // A path that climbs could leave what a pattern means.
        let climbs = restrict.files.is_some() && path.split('/').any(|step| step == "..");
        let is_allowed = allows(restrict.files.as_deref(), path) && !climbs;
        (!is_allowed).then(|| (format!("may not use {path}"), FILES))
    };
    match claim {
        Claim::Target(place, _) => host(&place.host),
        Claim::Host(name) => host(name),
        Claim::Reads(path) => file(path),
        Claim::Writes(path) | Claim::Certificate(path) | Claim::File(path) => file(&path.to_string_lossy()),
        Claim::SerialPort(path) if !allows(restrict.serial.as_deref(), &path.to_string_lossy()) => {
            let hint = "the local file allows ports with `serial` in [restrict]";
            Some((format!("may not open {}", path.display()), hint))
        }
        Claim::Program(program) if !restrict.programs => {
            let hint = "the local file allows programs with `programs = true` in [restrict]";
            Some((format!("may not run {program}"), hint))
        }
        Claim::SerialPort(_) | Claim::Program(_) | Claim::Session { .. } | Claim::Listener(_) | Claim::Signature(_) => {
            None
        }
    }
}
