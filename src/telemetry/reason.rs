//! Reasons: what a counter counts, told apart by a label with few values.

use super::numbers::{Metric, Of};

macro_rules! reasons {
    ($($variant:ident $metric:ident $label:literal $value:literal [$($of:ident)*] $help:literal)*) => {
        /// A reason for which something is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Reason { $(#[doc = $help] $variant),* }

        /// Every reason: the metric that has it, its label and value, who counts it, its meaning, in order.
        pub const REASONS: &[(Reason, Metric, &str, &str, &[Of], &str)] =
            &[$((Reason::$variant, Metric::$metric, $label, $value, &[$(Of::$of),*], $help)),*];
    };
}

reasons! {
    Undecoded DeadLetters "reason" "decode" [Source] "The decoder could not read the message."
    FailedCheck DeadLetters "reason" "quality" [Source] "The reading failed a check of `quality`."
    TooLarge DeadLetters "reason" "too_large" [Source Sink] "The message is longer than a record may be, or the record is larger than the target takes."
    NotAccepted DeadLetters "reason" "refused" [Sink] "The target refused the record."
    Transient SinkErrors "kind" "transient" [Sink] "No connection, no answer in time, or a failure of the target that passes."
    Busy SinkErrors "kind" "busy" [Sink] "The target asked for a pause, or a quota is used up."
    BatchTooLarge SinkErrors "kind" "too_large" [Sink] "The target takes no batch of this size."
    BatchRefused SinkErrors "kind" "refused" [Sink] "The target refused the batch."
    Denied SinkErrors "kind" "denied" [Sink] "The target refused the credentials, or does not know the event hub or topic."
}

impl Reason {
    /// The metric that is counted for this reason.
    #[must_use]
    pub fn metric(self) -> Metric {
        REASONS[self as usize].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place_and_a_metric_has_one_label() {
        for (i, (reason, metric, label, value, of, help)) in REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, i);
            assert!(!of.is_empty() && help.ends_with('.'), "{value}");
            let same = REASONS.iter().filter(|other| other.1 == *metric);
            assert!(same.clone().all(|other| other.2 == *label), "{value}");
            assert_eq!(same.filter(|other| other.3 == *value).count(), 1, "{value}");
        }
    }
}
