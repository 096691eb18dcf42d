//! A question to a section: the key, its type, the allowed values and its meaning.

use super::catalog::{Entry, Shape};
use super::read::read;
use super::{At, Bytes, Data, Read, Section, Session, Value};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

/// A list of values with their places. Every wrong element is reported.
type Elements<T> = Vec<At<T>>;

type Reader<T> = Box<dyn Fn(&Session<'_>, &Value) -> Option<T>>;
type Show<T> = Box<dyn Fn(&T) -> String>;
type Check<T> = Box<dyn Fn(&T) -> Option<(String, Option<String>)>>;

/// A question that is being built. The last call of the chain asks it and returns the answer.
pub struct Ask<'s, 'c, T> {
    section: &'s mut Section<'c>,
    entry: Entry,
    read: Reader<T>,
    show: Show<T>,
    checks: Vec<Check<T>>,
    hint: Option<&'static str>,
}

/// Reads a list. Every wrong element is reported; the remaining elements are not the list that the user meant.
fn elements<T: Read>(session: &Session<'_>, value: &Value) -> Option<Elements<T>> {
    let Data::List(list) = &value.data else {
        let found = value.data.words(true);
        session.problem(value.span.clone(), format!("{found} stands here, and a list in brackets is wanted"), None);
        return None;
    };
    let element =
        |value: &Value| Some(At { span: value.span.clone(), value: read(session, value, T::read, &T::wanted())? });
    let elements: Vec<Option<At<T>>> = list.iter().map(element).collect();
    elements.into_iter().collect()
}

fn show_list<T: Read>(list: &Elements<T>) -> String {
    let shown: Vec<String> = list.iter().map(|at| at.value.show()).collect();
    format!("[{}]", shown.join(", "))
}

impl<'c> Section<'c> {
    fn ask<T: Read + 'static>(&mut self, key: &'static str) -> Ask<'_, 'c, T> {
        let read: Reader<T> = Box::new(|session, value| read(session, value, T::read, &T::wanted()));
        self.question(key, *T::shape(), read, Box::new(T::show))
    }

    fn question<T>(&mut self, key: &'static str, shape: Shape, read: Reader<T>, show: Show<T>) -> Ask<'_, 'c, T> {
        let entry = self.entry(key, shape, "");
        Ask { section: self, entry, read, show, checks: Vec::new(), hint: None }
    }

    /// Asks for text.
    pub fn text(&mut self, key: &'static str) -> Ask<'_, 'c, String> {
        self.ask(key)
    }

    /// Asks for a duration.
    pub fn duration(&mut self, key: &'static str) -> Ask<'_, 'c, Duration> {
        self.ask(key)
    }

    /// Asks for a number of bytes.
    pub fn bytes(&mut self, key: &'static str) -> Ask<'_, 'c, Bytes> {
        self.ask(key)
    }

    /// Asks for a whole number.
    pub fn whole<T: Read + 'static>(&mut self, key: &'static str) -> Ask<'_, 'c, T> {
        self.ask(key)
    }

    /// Asks for a number.
    pub fn number(&mut self, key: &'static str) -> Ask<'_, 'c, f64> {
        self.ask(key)
    }

    /// Asks for `true` or `false`.
    pub fn truth(&mut self, key: &'static str) -> Ask<'_, 'c, bool> {
        self.ask(key)
    }

    /// Asks for a list of texts.
    pub fn texts(&mut self, key: &'static str) -> Ask<'_, 'c, Elements<String>> {
        self.list(key)
    }

    /// Asks for a list of values.
    pub fn list<T: Read + 'static>(&mut self, key: &'static str) -> Ask<'_, 'c, Elements<T>> {
        self.question(key, Shape::List(T::shape()), Box::new(elements), Box::new(show_list))
    }

    /// Asks for a text, or a list of texts.
    pub fn text_or_texts(&mut self, key: &'static str) -> Ask<'_, 'c, Elements<String>> {
        self.one_or_more(key)
    }

    /// Asks for a value, or a list of values.
    pub fn one_or_more<T: Read + 'static>(&mut self, key: &'static str) -> Ask<'_, 'c, Elements<T>> {
        let reader: Reader<Elements<T>> = Box::new(|session, value| {
            if matches!(value.data, Data::List(_)) {
                return elements(session, value);
            }
            Some(vec![At { span: value.span.clone(), value: read(session, value, T::read, &T::wanted())? }])
        });
        let shape = Shape::Either(T::shape(), Box::new(Shape::List(T::shape())));
        self.question(key, shape, reader, Box::new(show_list))
    }

    /// Asks for a list of texts, or a table of names and texts. In a list each text is its own name.
    pub fn texts_or_map(&mut self, key: &'static str) -> Ask<'_, 'c, Elements<(String, String)>> {
        let reader: Reader<Elements<(String, String)>> = Box::new(|session, value| {
            let Data::Table(table) = &value.data else {
                let own = |at: At<String>| At { span: at.span, value: (at.value.clone(), at.value) };
                return Some(elements(session, value)?.into_iter().map(own).collect());
            };
            let entry = |(key, value): &(super::Key, Value)| {
                let text = read(session, value, String::read, &String::wanted())?;
                Some(At { span: key.span.clone(), value: (key.name.clone(), text) })
            };
            let entries: Vec<Option<_>> = table.iter().map(entry).collect();
            entries.into_iter().collect()
        });
        let show =
            |list: &Elements<(String, String)>| format!("{:?}", list.iter().map(|at| &at.value).collect::<Vec<_>>());
        let list = Shape::List(Box::new(Shape::Text));
        let shape = Shape::Either(Box::new(list), Box::new(Shape::Map(Box::new(Shape::Text))));
        self.question(key, shape, reader, Box::new(show))
    }

    /// Asks for one of several words. Each choice is a word, its value and its meaning.
    pub fn choice<T: Copy + PartialEq + 'static>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T, &'static str)],
    ) -> Ask<'_, 'c, T> {
        let shape = Shape::Choice(choices.iter().map(|(word, _, doc)| (*word, *doc)).collect());
        let choices: Rc<[(&'static str, T, &'static str)]> = choices.into();
        let known = choices.clone();
        let what = if key == "kind" { key } else { "value" };
        let reader: Reader<T> = Box::new(move |session, value| {
            let words = || choices.iter().map(|(word, ..)| *word);
            let word = read(session, value, String::read, &String::wanted())?;
            let found = choices.iter().find(|(known, ..)| *known == word).map(|(_, value, _)| *value);
            if found.is_none() {
                let near = super::nearest(&word, words()).map(|near| format!("did you mean \"{near}\"? "));
                let hint = format!("{}one of: {}", near.unwrap_or_default(), words().collect::<Vec<_>>().join(", "));
                session.problem(value.span.clone(), format!("unknown {what} `{word}`"), Some(hint));
            }
            found
        });
        let word =
            move |value: &T| known.iter().find(|(_, known, _)| known == value).map(|(word, ..)| format!("\"{word}\""));
        self.question(key, shape, reader, Box::new(move |value| word(value).unwrap_or_default()))
    }
}

impl<T: Clone + 'static> Ask<'_, '_, T> {
    /// Sets the sentences for the reference: the key's meaning, its unit and its consequence.
    #[must_use]
    pub fn doc(mut self, doc: &'static str) -> Self {
        self.entry.doc = doc;
        self
    }

    /// Sets an example value, as TOML.
    #[must_use]
    pub fn example(mut self, example: &'static str) -> Self {
        self.entry.example = Some(example.into());
        self
    }

    /// Sets an example value that is known only at run time, as TOML.
    #[must_use]
    pub fn example_of(mut self, example: String) -> Self {
        self.entry.example = Some(example);
        self
    }

    /// Sets the advice for a value that is not allowed.
    #[must_use]
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Adds a check. For a wrong value it returns the message, and advice if there is any.
    #[must_use]
    pub fn check(mut self, check: impl Fn(&T) -> Option<(String, Option<String>)> + 'static) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    fn bound(mut self, words: String, is_good: impl Fn(&T) -> bool + 'static) -> Self {
        let message = format!("`{}` must be {words}", self.entry.key);
        self.entry.range = Some(words);
        self.checks.push(Box::new(move |value| (!is_good(value)).then(|| (message.clone(), None))));
        self
    }

    fn answer(self) -> Option<T> {
        let Self { section, entry, read, checks, hint, .. } = self;
        let key = entry.key;
        section.record(entry);
        let value = section.take(key)?;
        let read = read(section.session, &value).filter(|read| match checks.iter().find_map(|check| check(read)) {
            None => true,
            Some((message, own)) => {
                section.session.problem(value.span.clone(), message, own.or(hint.map(String::from)));
                false
            }
        });
        if read.is_none() {
            section.bad.push(key);
        }
        read
    }

    /// The value if it is there and good.
    #[must_use]
    pub fn get(self) -> Option<T> {
        self.answer()
    }

    /// The value, or the default.
    #[must_use]
    pub fn or(mut self, default: T) -> T {
        let shown = (self.show)(&default);
        if !shown.is_empty() {
            self.entry.default = Some(shown);
        }
        self.answer().unwrap_or(default)
    }

    /// The value, or the default. `words` describe the default in the reference.
    #[must_use]
    pub fn or_as(mut self, default: T, words: &str) -> T {
        self.entry.default = Some(words.into());
        self.answer().unwrap_or(default)
    }

    /// The value if it is there and good. `words` describe in the reference how the part behaves without it.
    #[must_use]
    pub fn get_or(mut self, words: &str) -> Option<T> {
        self.entry.default = Some(words.into());
        self.answer()
    }

    /// The value, which must be there. Without it, nothing more is reported about the section.
    #[must_use]
    pub fn or_missing(self) -> Option<T> {
        let (span, session, key) = (self.section.span(), self.section.session(), self.entry.key);
        let words = match &self.entry.shape {
            Shape::Choice(choices) => choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", "),
            _ => String::new(),
        };
        if !self.section.has(key) {
            session.problem(span, format!("`{key}` is missing"), Some(format!("one of: {words}")));
        }
        self.answer()
    }

    /// The value, which must be there.
    #[must_use]
    pub fn need(mut self) -> Option<T> {
        self.entry.is_required = true;
        let key = self.entry.key;
        if !self.section.has(key) {
            let example = self.entry.example.clone().unwrap_or_default();
            let hint = format!("for example: {key} = {example}");
            self.section.missing(key, format!("`{key}` is missing"), hint);
        }
        self.answer()
    }
}

impl Ask<'_, '_, String> {
    /// An empty text is a problem.
    #[must_use]
    pub fn not_empty(self) -> Self {
        let key = self.entry.key;
        self.check(move |text| text.is_empty().then(|| (format!("`{key}` is empty"), None)))
    }
}

impl<T: Clone + 'static> Ask<'_, '_, Elements<T>> {
    /// An empty list is a problem.
    #[must_use]
    pub fn not_empty(self) -> Self {
        let key = self.entry.key;
        self.check(move |list| list.is_empty().then(|| (format!("`{key}` is empty"), None)))
    }
}

impl<T: Read + PartialOrd + Display + 'static> Ask<'_, '_, T> {
    /// One of these numbers.
    #[must_use]
    pub fn one_of(self, numbers: &'static [T]) -> Self {
        let words: Vec<String> = numbers.iter().map(T::to_string).collect();
        let (last, others) =
            words.split_last().map_or((String::new(), &[][..]), |(last, others)| (last.clone(), others));
        let words = if others.is_empty() { last } else { format!("{} or {last}", others.join(", ")) };
        self.bound(words, |value| numbers.contains(value))
    }
}

impl<T: Read + PartialOrd + 'static> Ask<'_, '_, T> {
    /// From one value to another.
    #[must_use]
    pub fn within(self, range: RangeInclusive<T>) -> Self {
        let words = format!("from {} to {}", bare(range.start()), bare(range.end()));
        self.bound(words, move |value| range.contains(value))
    }

    /// This value, or more.
    #[must_use]
    pub fn at_least(self, least: T) -> Self {
        self.bound(format!("at least {}", bare(&least)), move |value| *value >= least)
    }

    /// This value, or less.
    #[must_use]
    pub fn at_most(self, most: T) -> Self {
        self.bound(format!("at most {}", bare(&most)), move |value| *value <= most)
    }
}

/// A value without quotes.
fn bare<T: Read>(value: &T) -> String {
    value.show().trim_matches('"').to_string()
}
