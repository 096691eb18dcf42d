//! What differs between two configurations, for a person.

/// The lines that are shown around a change.
const AROUND: usize = 3;
/// More pairs of lines are not compared: 4 bytes each.
const MOST_PAIRS: usize = 1 << 20;

/// The lines that differ, with `AROUND` lines before and after them.
#[must_use]
pub fn lines(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let begin = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (rest_old, rest_new) = (&old[begin..], &new[begin..]);
    let end = rest_old.iter().rev().zip(rest_new.iter().rev()).take_while(|(old, new)| old == new).count();
    let (middle_old, middle_new) = (&rest_old[..rest_old.len() - end], &rest_new[..rest_new.len() - end]);
    // The library takes memory for each pair of lines.
    if middle_old.len().saturating_mul(middle_new.len()) > MOST_PAIRS {
        return format!("@@ {} lines became {} others: too many to compare\n", middle_old.len(), middle_new.len());
    }
    let between = diff::slice(middle_old, middle_new).into_iter().map(|line| match line {
        diff::Result::Left(line) => ('-', *line),
        diff::Result::Right(line) => ('+', *line),
        diff::Result::Both(line, _) => (' ', *line),
    });
    let before = old[..begin].iter().map(|line| (' ', *line));
    let after = rest_old[rest_old.len() - end..].iter().map(|line| (' ', *line));
    let lines: Vec<(char, &str)> = before.chain(between).chain(after).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_changes_are_counted_and_not_compared() {
        let text = |from: u32| (from..from + 2000).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        assert_eq!(lines(&text(0), &text(5000)), "@@ 2000 lines became 2000 others: too many to compare\n");
        // What is the same at both ends costs nothing.
        let (old, new) = (text(0), text(0).replace("\n1000\n", "\nx\n"));
        assert_eq!(lines(&old, &new), " 997\n 998\n 999\n-1000\n+x\n 1001\n 1002\n 1003\n@@\n");
    }
}
