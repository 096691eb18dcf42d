//! What differs between two configurations, for a person.

/// The lines that are shown around a change.
const AROUND: usize = 3;

/// The lines that differ, with `AROUND` lines before and after them.
#[must_use]
pub fn lines(old: &str, new: &str) -> String {
    let lines: Vec<(char, &str)> = diff::lines(old, new)
        .into_iter()
        .map(|line| match line {
            diff::Result::Left(line) => ('-', line),
            diff::Result::Right(line) => ('+', line),
            diff::Result::Both(line, _) => (' ', line),
        })
        .collect();
    let changed: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].0 != ' ').collect();
    let is_near = |at: usize| {
        let next = changed.partition_point(|changed| *changed + AROUND < at);
        changed.get(next).is_some_and(|changed| *changed <= at + AROUND)
    };
    let mut text = String::new();
    for (at, (mark, line)) in lines.iter().enumerate() {
        if is_near(at) {
            text.extend([*mark].into_iter().chain(line.chars()).chain(['\n']));
        } else if at > 0 && is_near(at - 1) {
            text.push_str("@@\n");
        }
    }
    text
}
