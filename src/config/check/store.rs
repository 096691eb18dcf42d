//! `[store]` and `[stream.NAME]`: how much the store takes, and what gives way.

use super::Checker;
use crate::config::problem::nearest;
use crate::config::{StoreConfig, raw};
use crate::flow::record::{DEAD_LETTERS, EVENTS};
use crate::store::{Keep, StreamRule, WhenFull};
use std::collections::BTreeSet;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// The store needs four segments to work with.
const LEAST_CAP: u64 = 32 << 20;
const LEAST_STREAM_CAP: u64 = 1 << 20;
const DEAD_LETTERS_KEEP: u64 = 16 << 20;
const EVENTS_BYTES: u64 = 1 << 20;

impl Checker<'_> {
    pub(super) fn store(&mut self, value: Option<Spanned<DeValue<'_>>>) -> StoreConfig {
        let raw: raw::Store = match value.map(|value| self.table(value, "store")) {
            Some(Some((span, table))) => self.fields(span, table),
            _ => raw::Store::default(),
        };
        let cap = raw.cap.as_ref().map_or(1 << 30, |cap| cap.get_ref().0);
        if let Some(at) = raw.cap.as_ref().filter(|_| cap < LEAST_CAP) {
            self.problem(at.span(), "`cap` is too small".into(), Some("the store needs at least 32MiB".into()));
        }
        let reserve = raw.reserve.as_ref().map_or((64 << 20).min(cap), |reserve| reserve.get_ref().0);
        if let Some(at) = raw.reserve.as_ref().filter(|_| reserve > cap) {
            self.problem(at.span(), "`reserve` is larger than `cap`".into(), None);
        }
        let linger = raw.linger.as_ref().map_or(Duration::from_secs(1), |linger| linger.get_ref().0);
        if let Some(at) = raw.linger.as_ref().filter(|_| linger > Duration::from_secs(60)) {
            let hint = "QoS 0 and unacknowledged data up to this age are lost by a crash; at most 60s";
            self.problem(at.span(), "`linger` is too long".into(), Some(hint.into()));
        }
        let rate = raw.max_commits_per_second.as_ref().map_or(50, |rate| *rate.get_ref());
        if let Some(at) = raw.max_commits_per_second.as_ref().filter(|_| rate == 0 || rate > 1000) {
            self.problem(at.span(), "`max_commits_per_second` must be from 1 to 1000".into(), None);
        }
        if raw.cap.is_none() {
            self.assume(format!("store: cap 1GiB, reserve {} MiB, linger {} ms", reserve >> 20, linger.as_millis()));
        }
        let when_full = raw.when_full.map_or(WhenFull::Block, |when| policy(*when.get_ref()));
        let kept = |bytes| StreamRule { keep: Some(Keep { bytes }), ..StreamRule::default() };
        // Forebay's own events have a place of their own, and never hold anything up.
        let events = StreamRule { cap: Some(EVENTS_BYTES), when_full: WhenFull::DropOldest, ..kept(EVENTS_BYTES) };
        let streams = vec![(DEAD_LETTERS.to_string(), kept(DEAD_LETTERS_KEEP)), (EVENTS.to_string(), events)];
        StoreConfig { cap, reserve, linger, max_commits_per_second: rate, when_full, streams }
    }

    pub(super) fn streams(
        &mut self,
        value: Option<Spanned<DeValue<'_>>>,
        store: &mut StoreConfig,
        produced: &BTreeSet<String>,
    ) {
        for (name, span, body) in self.named(value, "stream") {
            let own = crate::flow::record::is_own_stream(&name);
            if !own && !produced.contains(&name) {
                let hint =
                    nearest(&name, produced.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
                self.problem(span.clone(), format!("no source writes to the stream `{name}`"), hint);
            }
            let raw: raw::Stream = self.fields(span, body);
            let known = store.streams.iter().position(|(stream, _)| *stream == name);
            let mut rule = known.map_or_else(
                || StreamRule { when_full: store.when_full, ..StreamRule::default() },
                |at| store.streams.remove(at).1,
            );
            if let Some(keep) = raw.keep {
                if keep.get_ref().0 > store.cap / 2 {
                    let hint = "room is needed for what is not delivered yet; raise `cap` in [store]";
                    self.problem(keep.span(), "`keep` is more than half of `cap`".into(), Some(hint.into()));
                }
                rule.keep = Some(Keep { bytes: keep.get_ref().0 });
            }
            if let Some(cap) = raw.cap {
                if cap.get_ref().0 < LEAST_STREAM_CAP || cap.get_ref().0 > store.cap {
                    let hint = "at least 1MiB (a commit may be as large), at most the `cap` of [store]";
                    self.problem(cap.span(), "`cap` of a stream is out of range".into(), Some(hint.into()));
                }
                rule.cap = Some(cap.get_ref().0);
            }
            if let Some(when) = raw.when_full {
                if name == EVENTS {
                    let hint = "Forebay's own events drop their oldest, so that they hold nothing up";
                    self.problem(when.span(), format!("`when_full` of `{EVENTS}` is fixed"), Some(hint.into()));
                }
                rule.when_full = policy(*when.get_ref());
            }
            if let Some(priority) = raw.priority {
                if *priority.get_ref() > 9 {
                    let hint = "from 0 (gives way first) to 9; 5 when it is not set";
                    self.problem(priority.span(), "`priority` is out of range".into(), Some(hint.into()));
                }
                rule.priority = *priority.get_ref();
            }
            store.streams.push((name, rule));
        }
    }
}

fn policy(raw: raw::WhenFull) -> WhenFull {
    match raw {
        raw::WhenFull::Block => WhenFull::Block,
        raw::WhenFull::DropOldest => WhenFull::DropOldest,
        raw::WhenFull::DropNewest => WhenFull::DropNewest,
    }
}
