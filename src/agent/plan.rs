//! Compares two configurations: which parts stop, which start, and which keep running. Pure.

use super::supervisor::PartId;
use crate::config::Config;

/// The effect of a changed configuration on a running agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Parts that were removed or changed. They stop first.
    pub stop: Vec<PartId>,
    /// Parts that are new or changed. They start after the others have stopped.
    pub start: Vec<PartId>,
    /// Parts that keep running.
    pub keep: Vec<PartId>,
    /// Whether the rules of the store or its readers change.
    pub store: bool,
}

impl Plan {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stop.is_empty() && self.start.is_empty() && !self.store
    }
}

/// Every part that a configuration has.
pub(super) fn parts_of(config: &Config) -> Vec<PartId> {
    let sources = config.sources.iter().map(|source| PartId::Source(source.name.clone()));
    let sinks = config.sinks.iter().map(|sink| PartId::Sink(sink.name.clone()));
    sources.chain(sinks).chain(config.page.is_some().then_some(PartId::Page)).chain([PartId::Monitor]).collect()
}

/// Compares two configurations.
///
/// # Errors
/// The keys that can only change at a restart.
pub fn plan(old: &Config, new: &Config) -> Result<Plan, Vec<&'static str>> {
    let fixed = [
        ("state", old.state != new.state),
        ("memory_max", old.memory_max != new.memory_max),
        ("store.reserve", old.store.reserve != new.store.reserve),
    ];
    let fixed: Vec<&str> = fixed.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
    if !fixed.is_empty() {
        return Err(fixed);
    }
    let mut plan = Plan::default();
    let is_same = |id: &PartId| match id {
        PartId::Source(name) => old.source(name) == new.source(name),
        // Every event contains the device's name, so a new name restarts every sink.
        PartId::Sink(name) => old.sink(name) == new.sink(name) && old.device == new.device,
        PartId::Page => old.page == new.page,
        PartId::Monitor => old.monitor == new.monitor,
    };
    let (before, after) = (parts_of(old), parts_of(new));
    for id in &after {
        if before.contains(id) && is_same(id) {
            plan.keep.push(id.clone());
        } else {
            plan.start.push(id.clone());
        }
    }
    plan.stop = before.into_iter().filter(|id| !plan.keep.contains(id)).collect();
    // It is always there: who reads what kept running looks for what was configured.
    plan.keep.retain(|id| *id != PartId::Monitor);
    plan.store = old.store != new.store || old.readers() != new.readers();
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{System, load};

    const TEXT: &str = "device = \"d\"\n[source.a]\nkind = \"file\"\npath = \"/a\"\n[source.b]\nkind = \"file\"\npath = \"/b\"\n\
                        [sink.one]\nkind = \"directory\"\npath = \"/one\"\n[sink.two]\nkind = \"directory\"\npath = \"/two\"\n";

    /// The plan from `TEXT` to a text with something replaced, as words.
    fn to(from: &str, with: &str) -> String {
        assert!(TEXT.contains(from));
        let read = |text: &str| load(text, &System).unwrap().0;
        let words = |parts: &[PartId]| parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        match plan(&read(TEXT), &read(&TEXT.replacen(from, with, 1))) {
            Ok(plan) => {
                let store = if plan.store { " store" } else { "" };
                format!("stop[{}] start[{}] keep[{}]{store}", words(&plan.stop), words(&plan.start), words(&plan.keep))
            }
            Err(keys) => keys.join(" "),
        }
    }

    #[test]
    fn only_what_changed_stops_and_starts() {
        let all = "source.a source.b sink.one sink.two";
        for (from, with, expected) in [
            ("\"/a\"", "\"/a\" # the same", format!("stop[] start[] keep[{all}]")),
            ("\"/a\"", "\"/c\"", "stop[source.a] start[source.a] keep[source.b sink.one sink.two]".into()),
            ("source.a", "source.c", "stop[source.a] start[source.c] keep[source.b sink.one sink.two]".into()),
            ("\"/one\"", "\"/uno\"", "stop[sink.one] start[sink.one] keep[source.a source.b sink.two]".into()),
            (
                "[sink.one]\nkind = \"directory\"\npath = \"/one\"\n",
                "",
                "stop[sink.one] start[] keep[source.a source.b sink.two] store".into(),
            ),
            (
                "\"/one\"",
                "\"/one\"\nfrom = [\"readings\"]",
                "stop[sink.one] start[sink.one] keep[source.a source.b sink.two] store".into(),
            ),
            (
                "\"/a\"",
                "\"/a\"\ndecoder = \"json\"",
                "stop[source.a] start[source.a] keep[source.b sink.one sink.two]".into(),
            ),
            ("\"d\"", "\"e\"", "stop[sink.one sink.two] start[sink.one sink.two] keep[source.a source.b]".into()),
            ("\"d\"", "\"d\"\n[store]\ncap = \"2GiB\"", format!("stop[] start[] keep[{all}] store")),
            ("\"d\"", "\"d\"\n[stream.readings]\nkeep = \"1MiB\"", format!("stop[] start[] keep[{all}] store")),
            ("\"d\"", "\"d\"\nstate = \"/s\"", "state".into()),
            ("\"d\"", "\"d\"\nstate = \"/s\"\n[store]\nreserve = \"32MiB\"", "state store.reserve".into()),
        ] {
            assert_eq!(to(from, with), expected, "{with}");
        }
    }
}
