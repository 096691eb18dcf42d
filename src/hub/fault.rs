//! Faults by rule: which fault happens, and to which batch.
//!
//! A rule is a line: `at N ACTION`, `every N ACTION`, `chance P ACTION`. Batches are counted from 1, over all
//! connections. The same rules cause the same faults again, because chance depends only on the number of the batch.

use std::time::Duration;

/// The fault that happens to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The hub answers `com.microsoft:server-busy`, and does not store the batch.
    Busy,
    /// The hub answers with this condition, and does not store the batch.
    Error(String),
    /// The hub detaches the link with this condition, and does not store the batch.
    Detach(String),
    /// The hub cuts the connection, and does not store the batch.
    Drop,
    /// The hub stores the batch, and cuts the connection before the answer.
    LoseAnswer,
    /// The answer comes later by this time.
    Delay(Duration),
    /// The hub cuts all connections, and accepts none for this time. The batch is not stored.
    Offline(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    At(u64),
    Every(u64),
    Chance(f64),
}

/// A line of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    when: When,
    action: Action,
}

impl Fault {
    /// Reads a script with one rule on each line. Empty lines and text after `#` do not count.
    ///
    /// # Errors
    /// The line that is not a rule, and the form of a rule.
    pub fn script(text: &str) -> Result<Vec<Self>, String> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).enumerate();
        let rules = lines.filter(|(_, line)| !line.is_empty());
        rules
            .map(|(at, line)| Self::parse(line).map_err(|error| format!("line {}: `{line}`: {error}", at + 1)))
            .collect()
    }

    /// Reads a rule.
    ///
    /// # Errors
    /// The form of a rule.
    pub fn parse(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [when, number, rest @ ..] = &words[..] else {
            return Err("a rule is: at N | every N | chance P, and what happens".into());
        };
        let count = || number.parse().ok().filter(|n| *n > 0).ok_or("a count from 1 on is needed");
        let when = match *when {
            "at" => When::At(count()?),
            "every" => When::Every(count()?),
            "chance" => {
                let share = number.parse().ok().filter(|share| (0.0..=1.0).contains(share));
                When::Chance(share.ok_or("a chance is from 0 to 1")?)
            }
            _ => return Err("it begins with at, every or chance".into()),
        };
        let action = match *rest {
            ["busy"] => Action::Busy,
            ["drop"] => Action::Drop,
            ["lose-answer"] => Action::LoseAnswer,
            ["error", condition] => Action::Error(condition.into()),
            ["detach", condition] => Action::Detach(condition.into()),
            ["delay", time] => Action::Delay(duration(time)?),
            ["offline", time] => Action::Offline(duration(time)?),
            _ => {
                return Err("what happens is: busy, drop, lose-answer, error CONDITION, detach CONDITION, \
                            delay TIME, offline TIME (100ms, 2s)"
                    .into());
            }
        };
        Ok(Self { when, action })
    }

    /// The action for the batch of this number, if the rule applies to it.
    #[must_use]
    pub fn of(&self, number: u64) -> Option<&Action> {
        let happens = match self.when {
            When::At(at) => number == at,
            When::Every(every) => number.is_multiple_of(every),
            When::Chance(share) => {
                f64::from(crc32c::crc32c(&number.to_le_bytes())) < share * (f64::from(u32::MAX) + 1.0)
            }
        };
        happens.then_some(&self.action)
    }
}

/// Reads a time such as `100ms`, `2s`, `1m` or `24h`.
///
/// # Errors
/// The text is not such a time.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no time: write 100ms, 2s, 5m, 1h");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let number: u64 = text[..digits].parse().map_err(|_| bad())?;
    let unit_ms: u64 = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_say_which_batch_fares_how() {
        let script = "# a bad day\nat 3 busy\nevery 5 delay 20ms\n\nchance 0.25 drop # now and then\n";
        let faults = Fault::script(script).unwrap();
        assert_eq!(faults.len(), 3);
        assert_eq!((faults[0].of(3), faults[0].of(4)), (Some(&Action::Busy), None));
        assert_eq!(faults[1].of(10), Some(&Action::Delay(Duration::from_millis(20))));
        let dropped = (1..=10_000).filter(|n| faults[2].of(*n).is_some()).count();
        assert!((2300..2700).contains(&dropped), "{dropped}");
        assert!(Fault::parse("chance 0 drop").unwrap().of(1).is_none());
        assert!((1..1000).all(|n| Fault::parse("chance 1 drop").unwrap().of(n).is_some()));
    }

    #[test]
    fn what_is_no_rule_is_said_with_its_line() {
        for bad in ["at", "at 0 busy", "never 1 busy", "at 1 dance", "chance 2 drop", "at 1 delay 5", "at 1 delay ms"] {
            assert!(Fault::parse(bad).is_err(), "{bad}");
        }
        assert!(Fault::script("at 1 busy\nat x busy").unwrap_err().starts_with("line 2: `at x busy`"));
    }
}
