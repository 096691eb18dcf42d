//! Problems of a configuration, and how they are shown.

use super::redact;
use std::fmt;
use std::ops::Range;

/// A place in the text, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// Something that must be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// All problems with the text that they are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    text: String,
    problems: Vec<Problem>,
    /// The text is no TOML.
    is_broken: bool,
}

impl Report {
    /// In order of their place.
    #[must_use]
    pub fn new(text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.start);
        Self { text: text.into(), problems, is_broken: false }
    }

    /// Of a text that is no TOML.
    #[must_use]
    pub fn of_broken(text: &str, problems: Vec<Problem>) -> Self {
        Self { is_broken: true, ..Self::new(text, problems) }
    }

    /// The problems.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Where a problem is.
    #[must_use]
    pub fn position(&self, problem: &Problem) -> Position {
        let before = self.text.get(..problem.span.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }

    /// Whether a line is in a table, or in a list or an inline table of several lines, that holds a secret.
    fn is_below_a_secret(&self, line: usize) -> bool {
        let above: Vec<&str> = self.text.lines().take(line - 1).collect();
        let opens = |text: &&&str| text.trim_end().ends_with(['{', '[', ',']);
        let list = above.iter().rev().take_while(opens);
        let table = above.iter().rev().find(|text| text.trim_start().starts_with('['));
        list.chain(table).any(|text| redact::names_a_secret(text))
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
        let Position { line, column } = self.position(problem);
        let text = self.text.lines().nth(line - 1).unwrap_or_default();
        let before: String = text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let marked = self.text.get(problem.span.clone()).unwrap_or_default().lines().next().unwrap_or_default();
        let marks = "^".repeat(marked.chars().count().max(1));
        let gutter = " ".repeat(line.to_string().len());
        // What is wrong may have a secret in it, or be one.
        let (message, text) =
            (redact::text(&problem.message), redact::line(text, self.is_broken || self.is_below_a_secret(line)));
        writeln!(f, "line {line}, column {column}: {message}")?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{line} | {text}")?;
        writeln!(f, "{gutter} | {before}{marks}")?;
        if let Some(hint) = &problem.hint {
            writeln!(f, "{gutter} = {}", redact::text(hint))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            self.show(f, problem)?;
        }
        Ok(())
    }
}

/// The known word that is nearest to a wrong one, if one is near.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |word: &str| {
        // Levenshtein, one row at a time.
        let word: Vec<char> = word.chars().collect();
        let mut row: Vec<usize> = (0..=word.len()).collect();
        for (i, a) in wrong.chars().enumerate() {
            let mut corner = row[0];
            row[0] = i + 1;
            for (j, b) in word.iter().enumerate() {
                let cost = corner + usize::from(a != *b);
                corner = row[j + 1];
                row[j + 1] = cost.min(row[j] + 1).min(corner + 1);
            }
        }
        row[word.len()]
    };
    known.into_iter().map(|word| (distance(word), word)).filter(|(d, _)| *d <= 2).min().map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_line_and_a_mark() {
        let text = "a = 1\n  bé = oops\n";
        let problem = Problem { span: 14..18, message: "not a value".into(), hint: Some("use 1".into()) };
        let shown = Report::new(text, vec![problem]).to_string();
        assert_eq!(shown, "line 2, column 8: not a value\n  |\n2 |   bé = oops\n  |        ^^^^\n  = use 1\n");
    }

    #[test]
    fn the_nearest_word_is_near() {
        assert_eq!(nearest("topic", ["url", "topics", "qos"]), Some("topics"));
        assert_eq!(nearest("xyzzy", ["url", "topics"]), None);
    }
}
