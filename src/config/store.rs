//! `[store]` and `[stream.NAME]`: the limits of the store and its streams, and the rules for a full store.

use super::{Source, StoreConfig};
use crate::flow::record::{DEAD_LETTERS, EVENTS, is_own_stream};
use crate::section::{Bytes, Section, nearest};
use crate::store::{Keep, StreamRule, WhenFull};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// The smallest `cap`: the store needs four segments to work with.
const LEAST_CAP: Bytes = Bytes(32 << 20);
const CAP: Bytes = Bytes(1 << 30);
const RESERVE: Bytes = Bytes(64 << 20);
const LEAST_STREAM_CAP: Bytes = Bytes(1 << 20);
const DEAD_LETTERS_KEEP: Bytes = Bytes(16 << 20);
const EVENTS_BYTES: Bytes = Bytes(1 << 20);
const SECOND: Duration = Duration::from_secs(1);
const WHEN_FULL: [(&str, WhenFull, &str); 3] = [
    ("block", WhenFull::Block, "Sources wait; nothing is lost."),
    ("drop-oldest", WhenFull::DropOldest, "The oldest records are given up."),
    ("drop-newest", WhenFull::DropNewest, "Records that arrive are given up."),
];

impl StoreConfig {
    /// Reads `[store]`.
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        let mut section = root.table("store", "The store on disk.").unwrap_or_else(|| root.empty("store"));
        let cap = section
            .bytes("cap")
            .doc("All segments together take at most this much space.")
            .check(|cap| {
                let hint = Some("the store needs at least 32MiB".into());
                (*cap < LEAST_CAP).then(|| ("`cap` is too small".into(), hint))
            })
            .or(CAP);
        // Limits that depend on a wrong `cap` are not reported as well.
        let cap = if section.is_bad("cap") { Bytes(u64::MAX) } else { cap };
        let reserve = section
            .bytes("reserve")
            .doc("This much space is allocated at the start and kept, so that a disk which other programs fill does not stop Forebay.")
            .check(move |reserve| (*reserve > cap).then(|| ("`reserve` is larger than `cap`".into(), None)))
            .example("\"64MiB\"")
            .or_as(RESERVE.min(cap), "`\"64MiB\"`, at most `cap`");
        let linger = section
            .duration("linger")
            .doc("A commit waits this long for more records. Longer saves writes to the card. Data that is not acknowledged and messages of QoS 0 up to this age are lost by a crash.")
            .check(|linger| {
                let hint = "QoS 0 and unacknowledged data up to this age are lost by a crash; at most 60s";
                (*linger > 60 * SECOND).then(|| ("`linger` is too long".into(), Some(hint.into())))
            })
            .or(SECOND);
        let rate = section
            .whole::<u32>("max_commits_per_second")
            .doc("Commits per second at most, where a source waits for one and `linger` is cut short.")
            .within(1..=1000)
            .or(50);
        let when_full = section
            .choice("when_full", &WHEN_FULL)
            .doc("What gives way when the store is full, for streams without a rule of their own.")
            .or(WhenFull::Block);
        if !section.has("cap") {
            let (reserve, linger) = (reserve.0 >> 20, linger.as_millis());
            section.session().assume(format!("store: cap 1GiB, reserve {reserve} MiB, linger {linger} ms"));
        }
        section.end();
        let kept = |bytes: Bytes| StreamRule { keep: Some(Keep { bytes: bytes.0 }), ..StreamRule::default() };
        // Forebay's own events have a limit of their own, and never make a source wait.
        let cap_of_events = Some(EVENTS_BYTES.0);
        let events = StreamRule { cap: cap_of_events, when_full: WhenFull::DropOldest, ..kept(EVENTS_BYTES) };
        let streams = vec![(DEAD_LETTERS.to_string(), kept(DEAD_LETTERS_KEEP)), (EVENTS.to_string(), events)];
        Self { cap: cap.0, reserve: reserve.0, linger, max_commits_per_second: rate, when_full, streams }
    }

    /// Reads all `[stream.NAME]`.
    pub(super) fn read_streams(
        &mut self,
        tables: Vec<(String, Range<usize>, Section<'_>)>,
        sources: &[Source],
        others: &[&str],
        are_all: bool,
    ) {
        let routes = sources.iter().flat_map(|source| &source.routes).map(|route| &*route.stream);
        let produced: BTreeSet<&str> = routes.chain(others.iter().copied()).collect();
        for (name, at, section) in tables {
            // A source that could not be read may write to the stream too. So all sources must have been read.
            if !is_own_stream(&name) && !produced.contains(&*name) && are_all {
                let hint = nearest(&name, produced.iter().copied()).map(|near| format!("did you mean `{near}`?"));
                section.session().problem(at, format!("no source writes to the stream `{name}`"), hint);
            }
            let known = self.streams.iter().position(|(stream, _)| *stream == name);
            let usual = StreamRule { when_full: self.when_full, ..StreamRule::default() };
            let rule = known.map_or(usual, |at| self.streams.remove(at).1);
            let rule = self.read_stream(&name, section, rule);
            self.streams.push((name, rule));
        }
    }

    pub(super) fn read_stream(&self, name: &str, mut section: Section<'_>, mut rule: StreamRule) -> StreamRule {
        let store_cap = Bytes(self.cap);
        let keep = section
            .bytes("keep")
            .doc("This much is kept after it was delivered, for readers that come later.")
            .example("\"256MiB\"")
            .check(move |keep| {
                let hint = "room is needed for what is not delivered yet; raise `cap` in [store]";
                (keep.0 > store_cap.0 / 2).then(|| ("`keep` is more than half of `cap`".into(), Some(hint.into())))
            })
            .get_or("nothing; 16 MiB of dead letters, 1 MiB of Forebay's own events");
        let cap = section
            .bytes("cap")
            .doc("Undelivered records of this stream take at most this much space.")
            .example("\"128MiB\"")
            .check(move |cap| {
                let hint = "at least 1MiB (a commit may be as large), at most the `cap` of [store]";
                let is_bad = *cap < LEAST_STREAM_CAP || *cap > store_cap;
                is_bad.then(|| ("`cap` of a stream is out of range".into(), Some(hint.into())))
            })
            .get_or("that of the store");
        let when_full = section
            .choice("when_full", &WHEN_FULL)
            .doc("What gives way when this stream, or the store, is full.")
            .get_or("that of the store");
        let priority = section
            .whole::<u8>("priority")
            .doc("From 0 to 9. Of streams that drop, the one with the lowest number gives way first.")
            .check(|priority| {
                let hint = "from 0 (gives way first) to 9; 5 when it is not set";
                (*priority > 9).then(|| ("`priority` is out of range".into(), Some(hint.into())))
            })
            .or(rule.priority);
        if name == EVENTS && section.has("when_full") {
            let hint = "Forebay's own events drop their oldest, so that they hold nothing up";
            section.wrong_because("when_full", format!("`when_full` of `{EVENTS}` is fixed"), hint);
        }
        section.end();
        rule.keep = keep.map(|keep| Keep { bytes: keep.0 }).or(rule.keep);
        rule.cap = cap.map(|cap| cap.0).or(rule.cap);
        rule.when_full = when_full.unwrap_or(rule.when_full);
        rule.priority = priority;
        rule
    }
}
