//! `forebay doctor`: looks for what breaks in the field, and says what to do. It changes nothing and sends nothing.

mod bundle;
mod machine;
mod reach;
mod store;

use super::ask::Desk;
use super::place::{self, Place};
use super::{fail, runtime};
use crate::config::Config;
use crate::section::redact;
use crate::telemetry::people;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Connect to nothing: only look at this machine
    #[arg(long)]
    offline: bool,
    /// Write an archive for support, without secrets; its contents are listed first
    #[arg(long, value_name = "FILE.tar.gz")]
    bundle: Option<PathBuf>,
}

/// How a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    /// It is as it should be.
    Good,
    /// It may make trouble.
    Doubt,
    /// It makes trouble.
    Bad,
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    grade: Grade,
    /// What was looked at: `clock`, `sink hub`.
    about: String,
    /// What was found.
    found: String,
    /// What to do; empty when it is good.
    advice: String,
}

fn good(about: impl Into<String>, found: impl Into<String>) -> Finding {
    Finding { grade: Grade::Good, about: about.into(), found: found.into(), advice: String::new() }
}

fn doubt(about: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { grade: Grade::Doubt, about: about.into(), found: found.into(), advice: advice.into() }
}

fn bad(about: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { grade: Grade::Bad, ..doubt(about, found, advice) }
}

impl Finding {
    /// The finding in lines.
    fn lines(&self) -> Vec<String> {
        let word = match self.grade {
            Grade::Good => "good ",
            Grade::Doubt => "doubt",
            Grade::Bad => "BAD  ",
        };
        let clean = |text: &str| people::visible(&redact::text(text));
        let mut lines = vec![format!("{word}  {}: {}", clean(&self.about), clean(&self.found))];
        if !self.advice.is_empty() {
            lines.push(format!("       -> {}", clean(&self.advice)));
        }
        lines
    }
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let path = match arguments.place.path() {
        Ok(path) => path,
        Err(code) => return code,
    };
    let (config, mut findings) = match configuration(&path) {
        Ok(read) => read,
        Err(code) => return code,
    };
    print(&findings);
    let mut tell = |more: Vec<Finding>| {
        print(&more);
        findings.extend(more);
    };
    tell(machine::look());
    let mut running = None;
    if let Some(config) = &config {
        tell(store::look(config));
        tell(machine::ports(config));
        tell(credentials(config));
        // Said as a finding if it is not there.
        let answer = config.page.as_ref().and_then(|_| Desk::of(&arguments.place).ok()).map(|desk| (desk.view(), desk));
        tell(agent(config, answer.as_ref().map(|(view, _)| view)));
        running = answer.map(|(_, desk)| desk);
        if !arguments.offline {
            match runtime() {
                Ok(runtime) => {
                    tell(runtime.block_on(reach::look(config)));
                    // The end does not wait for a name server that is silent.
                    runtime.shutdown_background();
                }
                Err(error) => return fail(2, error),
            }
        }
    }
    let worst = findings.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Good);
    let count = |grade| findings.iter().filter(|finding| finding.grade == grade).count();
    say!("{} good, {} in doubt, {} bad", count(Grade::Good), count(Grade::Doubt), count(Grade::Bad));
    if let Some(file) = &arguments.bundle {
        let lines = findings.iter().flat_map(Finding::lines).collect::<Vec<_>>().join("\n");
        if let Err(error) = bundle::write(file, &path, config.as_ref(), &lines, running.as_ref()) {
            return fail(2, format_args!("cannot write {}: {error}", file.display()));
        }
    }
    ExitCode::from(u8::from(worst == Grade::Bad))
}

fn print(findings: &[Finding]) {
    for line in findings.iter().flat_map(Finding::lines) {
        say!("{line}");
    }
}

/// Reads the configuration. One that is not good is a finding.
fn configuration(path: &Path) -> Result<(Option<Config>, Vec<Finding>), ExitCode> {
    let about = "configuration";
    Ok(match place::read(path, false)? {
        Ok((config, notes)) => {
            let parts = format!("{} source(s), {} sink(s)", config.sources.len(), config.sinks.len());
            let mut findings = vec![good(about, format!("{} is good: {parts}", path.display()))];
            for warning in notes.warnings.problems() {
                findings.push(doubt(about, &*warning.message, warning.hint.clone().unwrap_or_default()));
            }
            (Some(config), findings)
        }
        Err(report) => {
            let problem = |problem: &crate::config::Problem| {
                let line = report.position(problem).line;
                let hint = problem.hint.clone().unwrap_or_else(|| "`forebay check` shows the place".into());
                bad(about, format!("line {line}: {}", problem.message), hint)
            };
            let mut findings: Vec<Finding> = report.problems().iter().map(problem).collect();
            // Where only secrets are missing, everything else can be looked at.
            let without = place::read(path, true)?.ok().map(|(config, _)| config);
            if without.is_some() {
                let advice = "set it here too, or run the doctor as the agent does: the service has secrets of its own";
                for finding in &mut findings {
                    finding.advice = advice.into();
                }
            }
            (without, findings)
        }
    })
}

/// Certificates and signatures, and when they end.
fn credentials(config: &Config) -> Vec<Finding> {
    use crate::platform::{clock, tls};
    use crate::section::Claim;
    const DAY_MS: i64 = 86_400_000;
    let sources = config.sources.iter().map(|source| (format!("source {}", source.name), source.settings.claims()));
    let sinks = config.sinks.iter().map(|sink| (format!("sink {}", sink.name), sink.settings.claims()));
    let now = clock::wall_ms();
    let mut findings = Vec::new();
    for (about, claims) in sources.chain(sinks) {
        for claim in claims {
            let (what, ends) = match claim {
                Claim::Certificate(path) => match tls::ends(&path) {
                    Ok(ends) => (format!("the certificate {}", path.display()), ends),
                    Err(error) => {
                        findings.push(bad(&*about, error.to_string(), "is the file there, readable, and PEM?"));
                        continue;
                    }
                },
                Claim::Signature(ends_s) => {
                    ("the signature of the connection string".into(), ends_s.saturating_mul(1000))
                }
                _ => continue,
            };
            let days = ends.saturating_sub(now) / DAY_MS;
            let found = format!("{what} ends at {}, in {days} days", clock::utc(ends));
            findings.push(match days {
                ..=0 if ends <= now => {
                    bad(&*about, format!("{what} has ended at {}", clock::utc(ends)), "put a new one in its place")
                }
                ..=14 => doubt(&*about, found, "put a new one in its place soon"),
                _ => good(&*about, found),
            });
        }
    }
    findings
}

/// What the running agent says of itself.
fn agent(config: &Config, asked: Option<&Result<(String, crate::monitor::view::View), String>>) -> Vec<Finding> {
    let about = "agent";
    let Some(asked) = asked else {
        let advice = "add [page] with socket = \"/run/forebay/api.sock\", and `forebay status` and `top` can ask it";
        let is_there = config.page.is_some();
        return if is_there {
            Vec::new()
        } else {
            vec![doubt(about, "it cannot be asked: there is no [page]", advice)]
        };
    };
    match asked {
        Err(why) => vec![doubt(about, &**why, "start it: `systemctl start forebay`; the log says why it does not run")],
        Ok((_, view)) => {
            let uptime = people::span(view.uptime_s.saturating_mul(1000));
            let mut findings = vec![good(about, format!("it runs: version {}, up for {uptime}", view.version))];
            for part in view.parts.iter().filter(|part| !part.is_good) {
                let name = format!("{} {}", part.kind.label(), part.name);
                findings.push(bad(name, &*part.state, "the findings below may say why; the log has all attempts"));
            }
            for alert in &view.alerts {
                findings.push(doubt(
                    format!("alert {}", alert.name),
                    &*alert.message,
                    "docs/alerts.md says what to do",
                ));
            }
            findings
        }
    }
}
