//! All questions that parts ask of the configuration. The reference page, the JSON Schema and the full example are
//! made of them.

/// A key of the configuration, as the part that reads it describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The path of the table with the key: `store`, `source.mqtt`, `source.mqtt.tls`.
    pub path: String,
    /// The name of the key's group, if several tables have the key.
    pub group: Option<&'static str>,
    /// The name of the key.
    pub key: &'static str,
    /// The type of its value.
    pub shape: Shape,
    /// Sentences for the reference.
    pub doc: &'static str,
    /// The value that holds without the key, as TOML or in words.
    pub default: Option<String>,
    /// The allowed values in words, such as `from 5s to 1h`.
    pub range: Option<String>,
    /// An example value, as TOML.
    pub example: Option<String>,
    /// Whether the key must be there.
    pub is_required: bool,
}

impl Entry {
    pub(super) fn new(
        path: &str,
        group: Option<&'static str>,
        key: &'static str,
        shape: Shape,
        doc: &'static str,
    ) -> Self {
        let (default, range, example) = (None, None, None);
        Self { path: path.into(), group, key, shape, doc, default, range, example, is_required: false }
    }

    /// The table under which the key is shown: the table of its group, if it has one.
    #[must_use]
    pub fn place(&self) -> String {
        self.group.map_or_else(|| self.path.clone(), |group| format!("[{group}]"))
    }
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Text.
    Text,
    /// Text that is a duration, as in `"5s"`.
    Span,
    /// Text that is a size, as in `"64MiB"`.
    Bytes,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// One of these words, each with its meaning.
    Choice(Vec<(&'static str, &'static str)>),
    /// The place of a secret.
    Secret,
    /// A list of values.
    List(Box<Shape>),
    /// A table with keys that the user chooses.
    Map(Box<Shape>),
    /// One of two shapes.
    Either(Box<Shape>, Box<Shape>),
    /// A table.
    Table,
    /// A list of tables.
    Tables,
}
