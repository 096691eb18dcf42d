//! Numbers as people read them.

/// A number of bytes with a unit, such as `1.5 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.iter().find(|(shift, _)| bytes >> shift > 0);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(shift, name)| {
            let tenths = (bytes >> (shift - 10)) * 10 / 1024;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        },
    )
}

/// A number of milliseconds with units, such as `1m05s`.
#[must_use]
pub fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A number of milliseconds without a sign, with units.
#[must_use]
pub fn span(ms: u64) -> String {
    age(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// The innermost reason of an error: libraries wrap it in words of their own.
#[must_use]
pub fn cause(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.last().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Cuts a text to at most so many bytes, and no character into parts.
pub fn cut(text: &mut String, most: usize) {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
}

/// A text as it is, with control characters made visible: they would move a terminal's cursor, or more.
#[must_use]
pub fn visible(text: &str) -> String {
    let show = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_move_the_cursor_is_made_visible() {
        assert_eq!(visible("{\"a\":\"°\"}\t\u{1b}[2J"), "{\"a\":\"°\"}\\t\\u{1b}[2J");
    }

    #[test]
    fn sizes_and_ages_are_for_people() {
        assert_eq!([size(0), size(1023), size(1536), size(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!([age(-5), age(61_000), age(3_660_000), age(90_000_000)], ["0s", "1m01s", "1h01m", "1d01h"]);
    }
}
