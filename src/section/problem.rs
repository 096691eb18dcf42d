//! Problems of a configuration, and how they are shown.

use super::redact;
use std::fmt;
use std::ops::Range;

/// A word with more wrong letters than this is not a misspelling of a known word.
const MOST_WRONG: usize = 2;

/// A place in a text. Lines and columns are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The number of the line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A problem that the user must fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The place of the problem, in bytes of the text.
    pub span: Range<usize>,
    /// The description of the problem.
    pub message: String,
    /// Advice for the user, if there is any.
    pub hint: Option<String>,
}

/// The text of a configuration: the main file, and the files that it includes. Places are counted through all
/// files, as if one followed the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// The name of an included file; none for the main file.
    name: Option<String>,
    start: usize,
    text: String,
}

impl Texts {
    /// The text of the main file.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut texts = Self::default();
        texts.add(None, text);
        texts
    }

    /// Adds an included file. Returns the place of its first byte.
    pub fn add(&mut self, name: Option<String>, text: &str) -> usize {
        let start = self.parts.last().map_or(0, |part| part.start + part.text.len() + 1);
        self.parts.push(Part { name, start, text: text.into() });
        start
    }

    fn part(&self, at: usize) -> Option<&Part> {
        self.parts.iter().rev().find(|part| part.start <= at)
    }
}

/// All problems with the text that they are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    texts: Texts,
    problems: Vec<Problem>,
    /// Whether the text is not TOML.
    is_broken: bool,
}

impl Report {
    /// A report of problems, in the order of their places.
    #[must_use]
    pub fn new(texts: Texts, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.start);
        Self { texts, problems, is_broken: false }
    }

    /// A report of problems in a text that is not TOML.
    #[must_use]
    pub fn of_broken(texts: Texts, problems: Vec<Problem>) -> Self {
        Self { is_broken: true, ..Self::new(texts, problems) }
    }

    /// The problems.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The name of the included file that a problem is in; none for the main file.
    #[must_use]
    pub fn file(&self, problem: &Problem) -> Option<&str> {
        self.texts.part(problem.span.start)?.name.as_deref()
    }

    /// The place of a problem in its file.
    #[must_use]
    pub fn position(&self, problem: &Problem) -> Position {
        let Some(part) = self.texts.part(problem.span.start) else { return Position { line: 1, column: 1 } };
        let before = part.text.get(..problem.span.start - part.start).unwrap_or(&part.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
        let Position { line, column } = self.position(problem);
        let (file, start) = self.texts.part(problem.span.start).map_or(("", 0), |part| (&*part.text, part.start));
        let text = file.lines().nth(line - 1).unwrap_or_default();
        let before: String = text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let marked = file.get(problem.span.start - start..problem.span.end.saturating_sub(start));
        let marked = marked.unwrap_or_default().lines().next().unwrap_or_default();
        let marks = "^".repeat(marked.chars().count().max(1));
        let gutter = " ".repeat(line.to_string().len());
        // The message and the line may contain a secret, or be one.
        let (message, text) =
            (redact::text(&problem.message), redact::line(text, self.is_broken || is_below_a_secret(file, line)));
        if let Some(name) = self.file(problem) {
            write!(f, "{name}: ")?;
        }
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

/// Whether a line is in a table, or in a list or an inline table of several lines, that holds a secret.
fn is_below_a_secret(file: &str, line: usize) -> bool {
    let above: Vec<&str> = file.lines().take(line - 1).collect();
    let opens = |text: &&&str| text.trim_end().ends_with(['{', '[', ',']);
    let list = above.iter().rev().take_while(opens);
    let table = above.iter().rev().find(|text| text.trim_start().starts_with('['));
    list.chain(table).any(|text| redact::names_a_secret(text))
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

/// The known word that is most similar to a wrong word, if one is similar enough.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.into_iter().map(|word| (strsim::levenshtein(wrong, word), word));
    distances.filter(|(distance, _)| *distance <= MOST_WRONG).min().map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_line_and_a_mark() {
        let text = "a = 1\n  bé = oops\n";
        let problem = Problem { span: 14..18, message: "not a value".into(), hint: Some("use 1".into()) };
        let shown = Report::new(Texts::new(text), vec![problem]).to_string();
        assert_eq!(shown, "line 2, column 8: not a value\n  |\n2 |   bé = oops\n  |        ^^^^\n  = use 1\n");
    }

    #[test]
    fn a_problem_in_an_included_file_has_its_name_and_its_own_lines() {
        let mut texts = Texts::new("a = 1\n");
        let base = texts.add(Some("conf.d/b.toml".into()), "b = 2\nc = 3\n");
        let problem = Problem { span: base + 10..base + 11, message: "not a value".into(), hint: None };
        let shown = Report::new(texts, vec![problem]).to_string();
        assert_eq!(shown, "conf.d/b.toml: line 2, column 5: not a value\n  |\n2 | c = 3\n  |     ^\n");
    }

    #[test]
    fn the_nearest_word_is_near() {
        assert_eq!(nearest("topic", ["url", "topics", "qos"]), Some("topics"));
        assert_eq!(nearest("xyzzy", ["url", "topics"]), None);
    }
}
