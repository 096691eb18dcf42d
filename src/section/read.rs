//! The types of values, and values that come from a variable or a file.

use super::catalog::Shape;
use super::{Bytes, Data, Session, Span, Value};
use std::path::Path;
use std::time::Duration;

/// The keys of a table that refers to a variable or to a file.
const REFERENCE_KEYS: [&str; 3] = ["env", "file", "default"];

/// A type that a value may have.
pub trait Read: Sized + Clone {
    /// The words for the type: `text in quotes`.
    fn wanted() -> String;
    /// Reads a value.
    ///
    /// # Errors
    /// `None` when the value has another type; a message when the type is right but the value is not.
    fn read(data: &Data) -> Result<Self, Option<String>>;
    /// Writes a value as TOML.
    fn show(&self) -> String;
    /// The type for the reference.
    fn shape() -> Box<Shape>;
}

macro_rules! whole_numbers {
    ($($type:ident $words:literal),*) => { $(
        impl Read for $type {
            fn wanted() -> String {
                $words.into()
            }
            fn read(data: &Data) -> Result<Self, Option<String>> {
                match data {
                    Data::Integer(number) => Self::try_from(*number).map_err(|_| None),
                    _ => Err(None),
                }
            }
            fn show(&self) -> String {
                self.to_string()
            }
            fn shape() -> Box<Shape> {
                Box::new(Shape::Integer)
            }
        }
    )* };
}
whole_numbers!(
    u8 "a whole number from 0 to 255",
    u16 "a whole number from 0 to 65535",
    u32 "a whole number from 0 to 4294967295",
    u64 "a whole number, 0 or more",
    usize "a whole number, 0 or more"
);

impl Read for f64 {
    fn wanted() -> String {
        "a number".into()
    }
    fn read(data: &Data) -> Result<Self, Option<String>> {
        match data {
            Data::Integer(number) => Ok(*number as f64),
            Data::Float(number) if number.is_finite() => Ok(*number),
            Data::Float(_) => Err(Some("this must be a number".into())),
            _ => Err(None),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn shape() -> Box<Shape> {
        Box::new(Shape::Number)
    }
}

impl Read for bool {
    fn wanted() -> String {
        "true or false".into()
    }
    fn read(data: &Data) -> Result<Self, Option<String>> {
        match data {
            Data::Bool(truth) => Ok(*truth),
            _ => Err(None),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn shape() -> Box<Shape> {
        Box::new(Shape::Bool)
    }
}

impl Read for String {
    fn wanted() -> String {
        "text in quotes".into()
    }
    fn read(data: &Data) -> Result<Self, Option<String>> {
        match data {
            Data::Text(text) => Ok(text.clone()),
            _ => Err(None),
        }
    }
    fn show(&self) -> String {
        format!("{self:?}")
    }
    fn shape() -> Box<Shape> {
        Box::new(Shape::Text)
    }
}

impl Read for Duration {
    fn wanted() -> String {
        "a duration such as \"5s\"".into()
    }
    fn read(data: &Data) -> Result<Self, Option<String>> {
        match data {
            Data::Text(text) => text.parse::<Span>().map(|span| span.0).map_err(Some),
            _ => Err(None),
        }
    }
    fn show(&self) -> String {
        format!("\"{}\"", Span(*self))
    }
    fn shape() -> Box<Shape> {
        Box::new(Shape::Span)
    }
}

impl Read for Bytes {
    fn wanted() -> String {
        "a size such as \"64MiB\"".into()
    }
    fn read(data: &Data) -> Result<Self, Option<String>> {
        match data {
            Data::Text(text) => text.parse::<Self>().map_err(Some),
            _ => Err(None),
        }
    }
    fn show(&self) -> String {
        format!("\"{self}\"")
    }
    fn shape() -> Box<Shape> {
        Box::new(Shape::Bytes)
    }
}

/// Reads one value from the configuration, a variable or a file, and reports a wrong value.
pub(super) fn read<T>(
    session: &Session<'_>,
    value: &Value,
    read: impl Fn(&Data) -> Result<T, Option<String>>,
    wanted: &str,
) -> Option<T> {
    let found = match elsewhere(session, value) {
        Ok(found) => found,
        Err(message) => {
            session.problem(value.span.clone(), message, None);
            return None;
        }
    };
    let data = match &found {
        Some(Elsewhere::Outside(text)) => &Data::Text(text.clone()),
        Some(Elsewhere::Default(data)) => data,
        None => &value.data,
    };
    let mut done = read(data);
    if let (Err(None), Some(Elsewhere::Outside(text))) = (&done, &found) {
        // A text from a variable or a file may also stand for a number.
        done = read(&Data::from_environment(text));
    }
    let error = match done {
        Ok(read) => return Some(read),
        Err(error) => error,
    };
    let words = match &found {
        Some(Elsewhere::Outside(_)) => "another value stands here".into(),
        Some(Elsewhere::Default(_)) => format!("the `default` is {}", data.words(true)),
        None => format!("{} stands here", data.words(true)),
    };
    let message = error.unwrap_or_else(|| format!("{words}, and {wanted} is wanted"));
    session.problem(value.span.clone(), message, None);
    None
}

/// A value that is not in the configuration itself.
enum Elsewhere {
    /// The text of a variable or file.
    Outside(String),
    /// The value of `default`, because the variable or the file is missing.
    Default(Data),
}

/// The value that `{ env = "NAME", default = ".." }` or `{ file = "/path" }` refers to.
fn elsewhere(session: &Session<'_>, value: &Value) -> Result<Option<Elsewhere>, String> {
    let Data::Table(table) = &value.data else { return Ok(None) };
    let text = |key: &str| {
        table.iter().find(|(known, _)| known.name == key).and_then(|(_, value)| match &value.data {
            Data::Text(text) => Some(text.as_str()),
            _ => None,
        })
    };
    let (env, file) = (text("env"), text("file"));
    if env.is_none() && file.is_none() {
        return Ok(None);
    }
    if let Some((key, _)) = table.iter().find(|(key, _)| !REFERENCE_KEYS.contains(&key.name.as_str())) {
        return Err(format!(
            "unknown key `{}` beside `env` or `file`; known here: {}",
            key.name,
            REFERENCE_KEYS.join(", ")
        ));
    }
    let default = table.iter().find(|(key, _)| key.name == "default").map(|(_, value)| value.data.clone());
    let outside = |text: String| {
        session.hide(&text);
        Ok(Some(Elsewhere::Outside(text)))
    };
    match (env, file) {
        (Some(name), None) => match (session.environment.variable(name), default) {
            (Some(text), _) => outside(text),
            (None, Some(default)) => Ok(Some(Elsewhere::Default(default))),
            (None, None) => {
                Err(format!("the environment variable {name} is not set, and there is no `default` beside it"))
            }
        },
        (None, Some(path)) => match (session.environment.file(Path::new(path)), default) {
            (Ok(text), _) => outside(text.trim().into()),
            (Err(error), Some(default)) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Some(Elsewhere::Default(default)))
            }
            (Err(error), _) => Err(format!("cannot read {path}: {error}")),
        },
        _ => Err("give one of `env` and `file`".into()),
    }
}
