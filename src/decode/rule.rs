//! The rules by which messages are read: their format, and the members to keep, convert or extract.

use super::encoding::Encoding;
use super::split::Split;
use super::time::Time;
use super::{Format, KINDS};
use crate::section::catalog::Shape;
use crate::section::{Data, Read, Section};
use std::sync::Arc;

/// The most bytes that the name or path of a member may have.
const MOST_PATH_BYTES: usize = 256;

/// The rules by which the messages of a source are read.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// The format of the messages.
    pub format: Arc<dyn Format>,
    /// The encoding of the messages.
    pub encoding: Encoding,
    /// Whether JSON with `nan`, `Infinity` or a comma too many is repaired.
    pub lenient: bool,
    /// Where the readings of a message are; none: a message is one reading.
    pub split: Option<Split>,
    /// The members that are kept, in this order: new name, path. An empty list keeps all members.
    pub fields: Vec<(String, String)>,
    /// Attributes that every record gets: name, value.
    pub constants: Vec<(String, String)>,
    /// The types that members are converted to. A message whose member cannot be converted becomes a dead letter.
    pub types: Vec<(String, Type)>,
    /// Members that become attributes of the record: attribute, member.
    pub attributes: Vec<(String, String)>,
    /// The member that holds the device's own time, and its format.
    pub time: Option<Time>,
    /// Attributes that become members too.
    pub members: Vec<String>,
    /// A text before the name of each member.
    pub prefix: String,
    /// Whether a converted record carries its original message as the member `raw`.
    pub keep_raw: bool,
}

impl PartialEq for Decoder {
    fn eq(&self, other: &Self) -> bool {
        let members = |one: &Self| (one.fields.clone(), one.types.clone(), one.attributes.clone(), one.time.clone());
        let more = |one: &Self| (one.split.clone(), one.constants.clone(), one.encoding, one.lenient, one.keep_raw);
        let names = |one: &Self| (one.members.clone(), one.prefix.clone());
        names(self) == names(other)
            && self.format.is_same(&*other.format)
            && members(self) == members(other)
            && more(self) == more(other)
    }
}

impl Decoder {
    /// A format and nothing else.
    #[must_use]
    pub fn new(format: impl Format) -> Self {
        Self::of(Arc::new(format))
    }

    fn of(format: Arc<dyn Format>) -> Self {
        Self {
            format,
            encoding: Encoding::default(),
            lenient: false,
            split: None,
            fields: Vec::new(),
            constants: Vec::new(),
            types: Vec::new(),
            attributes: Vec::new(),
            time: None,
            members: Vec::new(),
            prefix: String::new(),
            keep_raw: false,
        }
    }

    /// The same rules for another format, with its usual settings.
    #[must_use]
    pub fn like(&self, format: &str) -> Self {
        let Some(kind) = KINDS.iter().find(|kind| kind.name == format) else { return self.clone() };
        let format = (kind.usual)();
        // All rules are about members, so a format without members has none.
        if format.has_members() {
            return Self { format, ..self.clone() };
        }
        Self { constants: self.constants.clone(), encoding: self.encoding, ..Self::of(format) }
    }

    /// The names, in a record, of the members that hold the time.
    #[must_use]
    pub fn time_members(&self) -> Vec<String> {
        let paths = self.time.iter().flat_map(|time| &time.members);
        let named = |path: &String| {
            let renamed = self.fields.iter().filter(|(_, from)| from == path).map(|(name, _)| name);
            if self.fields.is_empty() { vec![path.clone()] } else { renamed.cloned().collect() }
        };
        paths.flat_map(named).map(|name| format!("{}{name}", self.prefix)).collect()
    }

    /// Reads the keys of a decoder. `usual` is the name of the default decoder.
    pub fn read(section: &mut Section<'_>, usual: &'static str) -> Self {
        let index = |name: &str| KINDS.iter().position(|kind| kind.name == name).unwrap_or_default();
        let choices: Vec<_> = KINDS.iter().enumerate().map(|(at, kind)| (kind.name, at, kind.doc)).collect();
        let chosen = section.choice("decoder", &choices).doc("What a message is.").example_of(format!("\"{usual}\""));
        let chosen = chosen.or_as(index(usual), "text for file and serial, json for the others");
        if !section.has("decoder") {
            section.assume(format_args!("decoder = \"{usual}\""));
        }
        let mut format = None;
        for (at, kind) in KINDS.iter().enumerate() {
            let read = (kind.read)(section);
            if at == chosen {
                format = Some(read);
            } else if !section.is_bad("decoder") {
                section.only_for(kind.keys, &format!("decoder = \"{}\"", kind.name));
            }
        }
        let format = format.unwrap_or_else(|| (KINDS[0].usual)());
        if let Some(key) = format.needs().filter(|key| !section.has(key) && !section.is_catalog()) {
            section.missing(
                key,
                format!("decoder \"{}\" needs `{key}`", format.name()),
                "see docs/sources/decoding.md",
            );
        }
        Self::read_members(section, format)
    }

    fn read_members(section: &mut Section<'_>, format: Arc<dyn Format>) -> Self {
        let mut decoder = Self::of(format);
        decoder.encoding = section
            .choice(
                "encoding",
                &[
                    ("utf-8", Encoding::Utf8, "UTF-8."),
                    ("latin1", Encoding::Latin1, "ISO 8859-1."),
                    ("windows-1252", Encoding::Windows1252, "As Windows programs in western Europe write it."),
                ],
            )
            .doc("The encoding of text messages; records are UTF-8.")
            .or(Encoding::Utf8);
        decoder.lenient = section
            .truth("lenient")
            .doc("JSON with `nan`, `Infinity` or a comma too many is repaired: such values become `null`. Repairs are counted (`decode_repairs_total`).")
            .or(false);
        decoder.split =
            section.table("split", "Messages with several readings: each becomes a record.").map(Split::read);
        let fields = section
            .texts_or_map("fields")
            .doc("Only these members are kept. `a.b` is the member `b` of the object `a`. A list keeps its order; a table gives new names: `{ temperature = \"object.temp\" }`.")
            .example("[\"temperature\", \"status.battery\"]")
            .get_or("all members");
        for field in fields.iter().flatten() {
            member(section, field.span.clone(), &field.value.1);
        }
        decoder.fields = fields.into_iter().flatten().map(|field| field.value).collect();
        let constants =
            section.map::<String>("constants", "Attributes that every record gets: `{ site = \"hall 3\" }`.");
        for (name, value) in constants.into_iter().flatten() {
            section.session().name(name.span, &name.value);
            decoder.constants.push((name.value, value));
        }
        let types = section.map::<Type>("types", "Types that members are made to have: `{ count = \"int\" }`. Types: int, float, bool (1 and 0 are taken for true and false), string. A message whose member cannot be converted becomes a dead letter.");
        for (name, kind) in types.into_iter().flatten() {
            member(section, name.span.clone(), &name.value);
            if !decoder.fields.is_empty() && !decoder.fields.iter().any(|(field, _)| *field == name.value) {
                section.session().problem(name.span, format!("`{}` is not among `fields`", name.value), None);
            }
            decoder.types.push((name.value, kind));
        }
        let attributes = section.map::<String>(
            "attributes",
            "Attributes of the record and the members they are taken from: `{ line = \"plant.line\" }`.",
        );
        for (name, from) in attributes.into_iter().flatten() {
            section.session().name(name.span.clone(), &name.value);
            member(section, name.span, &from);
            decoder.attributes.push((name.value, from));
        }
        decoder.time = section
            .table("time", "The device's own time: the member that holds it, and how it is written.")
            .and_then(Time::read);
        let members = section
            .texts("members")
            .doc("Attributes that become members too, before those of the message: of `constants`, of the topic, of the request.")
            .example("[\"line\", \"device\"]")
            .get_or("none");
        decoder.members = members.into_iter().flatten().map(|name| name.value).collect();
        decoder.prefix = section
            .text("prefix")
            .doc("A text before the name of each member.")
            .example("\"hall3.\"")
            .get_or("none")
            .unwrap_or_default();
        decoder.keep_raw = section
            .truth("keep_raw")
            .doc("A message or line that became a JSON object stands in it as the member `raw`. With `fields`, name `raw` there too.")
            .or(false);
        if !decoder.format.has_members() && !section.is_bad("decoder") {
            for key in ["split", "fields", "types", "attributes", "time", "members", "prefix", "keep_raw"]
                .into_iter()
                .filter(|key| section.has(key))
            {
                let name = decoder.format.name();
                section.wrong(key, format!("decoder \"{name}\" has no members to take something from"));
            }
        }
        decoder
    }
}

/// Checks the name of a member.
pub fn member(section: &Section<'_>, span: std::ops::Range<usize>, name: &str) {
    if name.is_empty() || name.len() > MOST_PATH_BYTES {
        let message = format!("`{name}` cannot be a member's name");
        section.session().problem(span, message, Some("1 to 256 bytes".into()));
    }
}

/// The type that a member is converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// `true` or `false`; 1 and 0 are converted to them.
    Bool,
    /// Text.
    String,
}

impl Read for Type {
    fn wanted() -> String {
        "one of int, float, bool, string".into()
    }

    fn read(data: &Data) -> Result<Self, Option<String>> {
        let Data::Text(word) = data else { return Err(None) };
        match word.as_str() {
            "int" => Ok(Self::Int),
            "float" => Ok(Self::Float),
            "bool" => Ok(Self::Bool),
            "string" => Ok(Self::String),
            _ => Err(Some(format!("unknown type `{word}`; one of: int, float, bool, string"))),
        }
    }

    fn show(&self) -> String {
        format!("\"{}\"", format!("{self:?}").to_lowercase())
    }

    fn shape() -> Box<Shape> {
        Box::new(Shape::Choice(TYPES.iter().map(|(word, _, doc)| (*word, *doc)).collect()))
    }
}

/// The words for types.
pub const TYPES: [(&str, Type, &str); 4] = [
    ("int", Type::Int, "A whole number."),
    ("float", Type::Float, "A number."),
    ("bool", Type::Bool, "`true` or `false`."),
    ("string", Type::String, "Text."),
];
