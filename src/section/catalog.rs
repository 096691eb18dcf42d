//! Every question that parts ask of the configuration: what the reference page, the JSON Schema and the full
//! example are made of.

/// A key, as the part that reads it describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The table that the key stands in: `store`, `source.mqtt`, `source.mqtt.tls`.
    pub path: String,
    /// Keys that stand in several tables have the name of their group.
    pub group: Option<&'static str>,
    /// The key.
    pub key: &'static str,
    /// The type of its value.
    pub shape: Shape,
    /// Sentences for the reference.
    pub doc: &'static str,
    /// The value without the key, as TOML or in words.
    pub default: Option<String>,
    /// What is allowed: `from 5s to 1h`.
    pub range: Option<String>,
    /// A value, as TOML.
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

    /// The table that the key is shown under: that of its group, if it has one.
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
    /// A table.
    Table,
    /// A list of tables.
    Tables,
}
