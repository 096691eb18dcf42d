//! The next step of the committer, and its time: a pure decision over the `Moment` that is given.

use crate::store::GROUP_BYTES;

/// A failed write is tried again after this many milliseconds, doubled each time up to a limit.
const RETRY_MS: u64 = 1000;

/// The time of the next try after a failure.
#[derive(Debug, Default)]
pub struct Retry {
    /// There is no try before this time, in monotonic milliseconds; none when nothing failed.
    pub at: Option<u64>,
    failures: u32,
}

impl Retry {
    /// Notes a failure. The time until the next try doubles, up to `limit` milliseconds.
    pub fn failed(&mut self, now: u64, limit: u64) {
        self.at = Some(now + (RETRY_MS << self.failures.min(10)).min(limit));
        self.failures += 1;
    }
}

/// How often groups are committed.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long a group waits for more data, in milliseconds.
    pub linger_ms: u64,
    /// At most this many early commits a second.
    pub max_commits_per_second: u32,
    /// When the last group was committed, monotonic milliseconds.
    pub committed_at: Option<u64>,
}

/// The groups of one kind of writer that wait.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waiting {
    /// When the pending group got its first atom, in monotonic milliseconds; none when nothing is pending.
    pub since_ms: Option<u64>,
    /// Bytes of the pending group.
    pub weight: usize,
    /// Somebody waits for the commit of the pending group.
    pub is_urgent: bool,
    /// An earlier group could not be written yet; the pending group waits behind it.
    pub is_stuck: bool,
    /// The stuck group is not tried again before this time.
    pub retry_at: Option<u64>,
    /// There may be room for the stuck group.
    pub may_fit: bool,
}

impl Waiting {
    /// When the pending group is to be written, monotonic milliseconds.
    pub fn group_due(&self, pace: Pace) -> Option<u64> {
        let since = self.since_ms.filter(|_| !self.is_stuck)?;
        if self.weight >= GROUP_BYTES {
            return Some(since);
        }
        let lingered = since + pace.linger_ms;
        if !self.is_urgent {
            return Some(lingered);
        }
        let gap = 1000 / u64::from(pace.max_commits_per_second.max(1));
        Some(lingered.min(pace.committed_at.map_or(since, |at| at + gap)))
    }

    /// When the group that could not be written is tried again.
    fn again(&self, now: u64) -> Option<u64> {
        // After a failure there is no try before its time, so that the disk is not overloaded with retries.
        self.retry_at.or((self.is_stuck && self.may_fit).then_some(now))
    }
}

/// All that the next step depends on; times are monotonic milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time now.
    pub now: u64,
    /// The store is to be closed: all waiting work is due.
    pub is_closing: bool,
    /// How often groups are committed.
    pub pace: Pace,
    /// The waiting groups of sources.
    pub data: Waiting,
    /// The waiting groups of queries.
    pub steps: Waiting,
    /// When a frame of the store's own is due: cursors, floors, events.
    pub own: Option<u64>,
    /// The store's own frame is not tried again before this time.
    pub own_retry: Option<u64>,
    /// When the next frame of a sealed segment is checked.
    pub scrub: u64,
}

/// The next step of the committer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Write the work that is due.
    Work {
        /// The pending groups are taken, except where an earlier group is stuck.
        groups: bool,
        /// The group of sources is written.
        data: bool,
        /// The group of queries is written.
        steps: bool,
    },
    /// Nothing is due; check one frame of a sealed segment.
    Scrub,
    /// Sleep until this time.
    Sleep(u64),
}

impl Moment {
    /// The work that is due now, or the time of the next work.
    pub fn next(&self) -> Next {
        let is_due = |at: Option<u64>| self.is_closing || at.is_some_and(|at| at <= self.now);
        let group = [self.data, self.steps].iter().filter_map(|waiting| waiting.group_due(self.pace)).min();
        let (data, steps) = (self.data.again(self.now), self.steps.again(self.now));
        let own = self.own.map(|at| at.max(self.own_retry.unwrap_or(0)));
        let all = [group, data, steps, own];
        if all.into_iter().any(is_due) {
            // One frame for both kinds of writer costs one flush instead of two.
            let groups = is_due(group);
            let takes = |waiting: Waiting| groups && waiting.since_ms.is_some() && !waiting.is_stuck;
            return Next::Work {
                groups,
                data: is_due(data) || takes(self.data),
                steps: is_due(steps) || takes(self.steps),
            };
        }
        if self.scrub <= self.now {
            return Next::Scrub;
        }
        Next::Sleep(all.into_iter().flatten().chain([self.scrub]).min().unwrap_or(self.scrub))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Waiting =
        Waiting { since_ms: None, weight: 0, is_urgent: false, is_stuck: false, retry_at: None, may_fit: false };

    fn moment(now: u64) -> Moment {
        let pace = Pace { linger_ms: 1000, max_commits_per_second: 50, committed_at: None };
        Moment {
            now,
            is_closing: false,
            pace,
            data: NOTHING,
            steps: NOTHING,
            own: None,
            own_retry: None,
            scrub: 1_000_000,
        }
    }

    fn work(data: bool, steps: bool) -> Next {
        Next::Work { groups: true, data, steps }
    }

    #[test]
    fn a_group_goes_when_it_has_lingered_or_is_large_or_somebody_waits_for_it() {
        let waits = Waiting { since_ms: Some(5000), weight: 10, ..NOTHING };
        assert_eq!(Moment { data: waits, ..moment(5500) }.next(), Next::Sleep(6000));
        assert_eq!(Moment { data: waits, ..moment(6000) }.next(), work(true, false));
        let large = Waiting { weight: GROUP_BYTES, ..waits };
        assert_eq!(Moment { data: large, ..moment(5000) }.next(), work(true, false));
        let urgent = Waiting { is_urgent: true, ..waits };
        assert_eq!(Moment { data: urgent, ..moment(5000) }.next(), work(true, false));
        // At most fifty early ones a second.
        let mut soon = Moment { data: urgent, ..moment(5001) };
        soon.pace.committed_at = Some(5000);
        assert_eq!(soon.next(), Next::Sleep(5020));
    }

    #[test]
    fn what_sources_and_queries_have_goes_into_one_frame() {
        let (data, steps) = (Waiting { since_ms: Some(0), ..NOTHING }, Waiting { since_ms: Some(900), ..NOTHING });
        assert_eq!(Moment { data, steps, ..moment(1000) }.next(), work(true, true));
        assert_eq!(Moment { data: steps, steps: data, ..moment(1000) }.next(), work(true, true));
        // Where data waits for room, a query goes on alone: it is what makes the room.
        let full = Waiting { is_stuck: true, ..data };
        assert_eq!(Moment { data: full, steps, ..moment(1900) }.next(), work(false, true));
        assert_eq!(Moment { data: full, ..moment(1900) }.next(), Next::Sleep(1_000_000));
        let fits = Waiting { may_fit: true, ..full };
        assert_eq!(
            Moment { data: fits, ..moment(1900) }.next(),
            Next::Work { groups: false, data: true, steps: false }
        );
    }

    #[test]
    fn what_failed_is_not_tried_before_its_time() {
        let mut retry = Retry::default();
        let times: Vec<u64> = (0..7)
            .map(|_| {
                retry.failed(0, 30_000);
                retry.at.unwrap()
            })
            .collect();
        assert_eq!(times, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        let failed = Waiting { since_ms: Some(0), is_stuck: true, may_fit: true, retry_at: Some(700), ..NOTHING };
        assert_eq!(Moment { data: failed, ..moment(500) }.next(), Next::Sleep(700));
        let own = Moment { own: Some(100), own_retry: Some(900), data: failed, ..moment(500) };
        assert_eq!(own.next(), Next::Sleep(700));
        assert_eq!(
            Moment { now: 900, data: NOTHING, ..own }.next(),
            Next::Work { groups: false, data: false, steps: false }
        );
        // At the end all is tried once more.
        assert_eq!(Moment { is_closing: true, ..own }.next(), Next::Work { groups: true, data: true, steps: true });
        assert_eq!(Moment { scrub: 500, ..moment(500) }.next(), Next::Scrub);
    }
}
