//! The alerts that come with Forebay. `docs/alerts.md` says what to do about each.

use super::rule::{Condition, Rule, Severity};
use super::settings::{Alert, What};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// Name, metrics, condition, time of the rate, time that it must hold, severity, message.
type Row = (&'static str, &'static [&'static str], Condition, Option<u64>, u64, Severity, &'static str);

const ALERTS: &[Row] = &[
    (
        "lag",
        &["sink_backlog_age_seconds"],
        Condition::Above(900.0, 300.0),
        None,
        MINUTE,
        Severity::Warning,
        "{about}: the oldest undelivered reading is {value} s old; is the link up, and the target fast enough?",
    ),
    (
        "part-down",
        &["part_up"],
        Condition::Below(1.0, 1.0),
        None,
        5 * MINUTE,
        Severity::Critical,
        "{about} does not work; `forebay status` and the log say why",
    ),
    (
        "store-filling",
        &["store_fill_ratio"],
        Condition::Above(0.8, 0.6),
        None,
        MINUTE,
        Severity::Warning,
        "the store is filled to {value} (1 is full){full_at}; mend the link, or raise `cap`",
    ),
    (
        "store-full",
        &["store_full_total"],
        Condition::Above(0.0, 0.0),
        Some(15 * MINUTE),
        0,
        Severity::Critical,
        "the store is full and sources wait; mend the link, or raise `cap`",
    ),
    (
        "readings-lost",
        &["store_dropped_total", "sink_given_up_total", "source_dropped_total", "serial_lost_bytes_total"],
        Condition::Above(0.0, 0.0),
        Some(15 * MINUTE),
        0,
        Severity::Critical,
        "{about}: {value} more in {metric}: readings were given up, as the configuration says or for lack of room",
    ),
    (
        "dead-letters",
        &["dead_letters_total"],
        Condition::Above(0.0, 0.0),
        Some(15 * MINUTE),
        0,
        Severity::Warning,
        "{about}: {value} readings were set aside; the stream `forebay.dead-letters` has them with their reasons",
    ),
    (
        "disk-damage",
        &["store_damage_total", "store_write_errors_total"],
        Condition::Above(0.0, 0.0),
        Some(HOUR),
        0,
        Severity::Critical,
        "{value} more in {metric}: the disk loses or refuses data; replace the card",
    ),
    (
        "clock-not-set",
        &["clock_set"],
        Condition::Below(1.0, 1.0),
        None,
        15 * MINUTE,
        Severity::Warning,
        "the clock is not set; is the time server reachable?",
    ),
    (
        "credential-ending",
        &["credential_ends_in_seconds"],
        Condition::Below(14.0 * 86_400.0, 14.0 * 86_400.0),
        None,
        0,
        Severity::Warning,
        "{about} ends in {value} s; put a new one in its place",
    ),
    (
        "source-silent",
        &["source_last_frame_timestamp_seconds"],
        Condition::Absent(HOUR),
        None,
        0,
        Severity::Warning,
        "{about} has brought nothing for {value} s",
    ),
    (
        "memory-short",
        &["memory_short_total"],
        Condition::Above(0.0, 0.0),
        Some(15 * MINUTE),
        0,
        Severity::Warning,
        "memory is short and sources wait; see `memory_max`",
    ),
    (
        "part-hangs",
        &["part_hangs_total"],
        Condition::Above(0.0, 0.0),
        Some(15 * MINUTE),
        0,
        Severity::Warning,
        "a task does not come to an end: a disk or a network folder that does not answer, or a fault in Forebay",
    ),
];

/// The alerts that are watched unless the configuration says otherwise.
#[must_use]
pub fn alerts() -> Vec<Alert> {
    let alert = |(name, metrics, condition, rate_ms, hold_ms, severity, message): &Row| Alert {
        name: (*name).into(),
        what: What::Metrics(metrics.iter().map(|metric| format!("forebay_{metric}")).collect()),
        of: None,
        rule: Rule { condition: *condition, rate_ms: *rate_ms, hold_ms: *hold_ms },
        severity: *severity,
        message: (*message).into(),
    };
    ALERTS.iter().map(alert).collect()
}
