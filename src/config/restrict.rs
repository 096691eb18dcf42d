//! What a pushed document may use of the device (`[restrict]`).

use super::Config;
use crate::control::{Restrict, allows, allows_host};
use crate::section::{Claim, ClientTls};
use std::path::Path;

/// Everything that the restrictions do not allow: the section, and the reason with advice.
pub(super) fn broken(config: &Config, other_state: Option<&Path>) -> Vec<(String, String, &'static str)> {
    let sources = config.sources.iter().map(|source| (format!("source.{}", source.name), source.settings.claims()));
    let sinks = config.sinks.iter().map(|sink| (format!("sink.{}", sink.name), sink.settings.claims()));
    let mut found = Vec::new();
    for (label, claims) in sources.chain(sinks) {
        for claim in claims {
            if let Some((why, hint)) = against(&config.restrict, &claim) {
                found.push((label.clone(), format!("{label} {why}"), hint));
            }
            let path = match &claim {
                Claim::Reads(path) => path.clone(),
                Claim::File(path) | Claim::Writes(path) => path.to_string_lossy().into_owned(),
                _ => continue,
            };
            if is_own(config, other_state, &path) {
                let hint = "a pushed document cannot reach the state directory and the files of secrets";
                found.push((label.clone(), format!("{label} may not use {path}: it is the agent's own"), hint));
            }
        }
    }
    let is_other = |host: &String| !allows_host(config.restrict.hosts.as_deref(), host);
    for host in config.monitor.hosts().into_iter().filter(is_other) {
        found.push((String::new(), format!("`alerts` and `otlp` may not connect to {host}"), HOSTS));
    }
    for path in config.monitor.tls().into_iter().flat_map(files_of) {
        if let Some((why, hint)) = file(&config.restrict, &path.to_string_lossy()) {
            found.push((String::new(), format!("`alerts` and `otlp` {why}"), hint));
        }
    }
    found
}

/// Whether a path may be used.
fn file(restrict: &Restrict, path: &str) -> Option<(String, &'static str)> {
    let is_allowed =
        restrict.files.is_none() || (allows(restrict.files.as_deref(), path) && !path.split('/').any(climbs));
    (!is_allowed).then(|| (format!("may not use {path}"), FILES))
}

/// Whether a step of a path climbs, or is a pattern that may match one that does: it could leave what is allowed.
fn climbs(step: &str) -> bool {
    step == ".." || (step.starts_with('.') && step.contains(['*', '?', '[']))
}

/// The files that a connection with TLS reads.
fn files_of(tls: &ClientTls) -> Vec<&Path> {
    let identity = tls.identity.iter().flat_map(|(certificate, key)| [certificate.as_path(), key.as_path()]);
    tls.ca.as_deref().into_iter().chain(identity).collect()
}

/// Whether a path or a pattern of a document may reach what is the agent's own: its state, or the file of a secret. A
/// path that climbs may reach anything.
fn is_own(config: &Config, other_state: Option<&Path>, path: &str) -> bool {
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty() && *step != ".").collect();
    steps.iter().any(|step| climbs(step))
        || [Some(config.state.as_path()), other_state]
            .into_iter()
            .flatten()
            .any(|state| begins_with(&steps, state, false))
        || config.own_files.iter().any(|file| begins_with(&steps, file, true))
}

/// Whether the first steps of a pattern may lead into a folder, or all of them to a file.
fn begins_with(steps: &[&str], path: &Path, is_file: bool) -> bool {
    let own: Vec<_> = path.iter().skip(1).map(|step| step.to_string_lossy()).collect();
    let any_depth = steps.iter().position(|step| *step == "**");
    let compared = any_depth.unwrap_or(own.len()).min(own.len());
    let is_long_enough =
        any_depth.is_some() || if is_file { steps.len() == own.len() } else { steps.len() >= own.len() };
    let matches = |(step, own): (&&str, &std::borrow::Cow<'_, str>)| {
        glob::Pattern::new(step).map_or(*step == own, |pattern| pattern.matches(own))
    };
    is_long_enough && steps.len() >= compared && steps.iter().zip(&own).take(compared).all(matches)
}

const HOSTS: &str = "the local file allows hosts with `hosts` in [restrict]";
const FILES: &str = "the local file allows paths with `files` in [restrict]";

fn against(restrict: &Restrict, claim: &Claim) -> Option<(String, &'static str)> {
    let host = |host: &str| {
        (!allows_host(restrict.hosts.as_deref(), host)).then(|| (format!("may not connect to {host}"), HOSTS))
    };
    let file = |path: &str| file(restrict, path);
    match claim {
        Claim::Target(place, tls) => {
            let mut files = tls.iter().flat_map(files_of);
            host(&place.host).or_else(|| files.find_map(|path| file(&path.to_string_lossy())))
        }
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
