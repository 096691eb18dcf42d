//! A line of delimited values (RFC 4180) and its header.

pub use super::layout::Layout;
use super::layout::values;
use super::members::{Members, is_number};
use super::{About, Content, DecodeError, Format, Kind, rows};
use crate::flow::header::{Header, LineBreaks, is_skipped};
use crate::flow::record::MAX_RECORD;
use crate::section::Section;
use std::sync::Arc;

/// A unit is cut to so many characters, because each record has it.
const MOST_UNIT: usize = 64;
/// The word for any number of spaces and tabulators.
const WHITESPACE: &str = "whitespace";

/// The row of this format in the table of decoders.
pub const KIND: Kind = Kind {
    name: "csv",
    doc: "Delimited values, a record a line.",
    keys: &["csv"],
    read,
    usual: || Arc::new(Csv::default()),
};

/// The settings of the decoder `csv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    /// How a line is divided into values.
    pub layout: Layout,
    /// The character between values: one ASCII character. A space for layouts without such a character.
    pub delimiter: u8,
    /// Names of the columns; without them the first line of a file or message is the header.
    pub columns: Option<Vec<String>>,
    /// Numbers have a comma before their fraction.
    pub decimal_comma: bool,
    /// Texts that stand for no value.
    pub null: Vec<String>,
    /// White space around values is dropped.
    pub trim: bool,
    /// A line that begins with this is a comment.
    pub comment: Option<Arc<str>>,
    /// Lines before the header that are not read.
    pub skip_rows: usize,
    /// Lines of the header; the names are put together.
    pub header_rows: usize,
    /// The last line of the header has units.
    pub units: bool,
    /// Lines behind the header that are not read.
    pub skip_after_header: usize,
    /// A value in quotes may have line breaks.
    pub line_breaks: bool,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            layout: Layout::Delimited,
            delimiter: b',',
            columns: None,
            decimal_comma: false,
            null: Vec::new(),
            trim: false,
            comment: None,
            skip_rows: 0,
            header_rows: 1,
            units: false,
            skip_after_header: 0,
            line_breaks: false,
        }
    }
}

impl Format for Csv {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn line_breaks(&self) -> Option<LineBreaks> {
        self.line_breaks.then(|| LineBreaks { comment: self.comment.clone() })
    }

    fn skips(&self, line: &[u8]) -> bool {
        is_skipped(line, self.comment.as_deref())
    }

    fn header(&self) -> Option<Header> {
        self.columns.is_none().then(|| Header {
            delimiter: self.delimiter,
            before: self.skip_rows,
            rows: self.header_rows,
            after: self.skip_after_header,
            comment: self.comment.clone(),
            breaks: self.line_breaks(),
        })
    }

    fn attributes(&self, about: &About<'_>) -> Vec<(Box<str>, Box<str>)> {
        let units = || {
            let header = about.header.filter(|_| self.units)?;
            Some((self.names(header).ok()?, self.values(self.rows(header).1?).ok()?))
        };
        let (names, units) = units().unwrap_or_default();
        let pairs = names.iter().enumerate().zip(&units).filter(|(_, unit)| !unit.trim().is_empty());
        // Of columns with one name the first keeps it; the others have a number that is not known here.
        let first = pairs.filter(|((at, name), _)| !names[..*at].contains(name));
        let short = |unit: &str| unit.trim().chars().take(MOST_UNIT).collect::<String>();
        first.map(|((_, name), unit)| (format!("unit.{}", name.trim()).into(), short(unit).into())).collect()
    }

    fn decode<'m>(&self, message: &'m [u8], about: &About<'_>) -> Result<Content<'m>, DecodeError> {
        let named;
        let columns = match (&self.columns, about.header) {
            (Some(columns), _) => columns,
            (None, Some(header)) => {
                named = self.names(header).map_err(DecodeError::of_header)?;
                &named
            }
            (None, None) => return Err(DecodeError::Csv("no header came before it".into())),
        };
        Ok(Content::Members(members(self, columns, message)?, None))
    }
}

impl Csv {
    fn values(&self, line: &[u8]) -> Result<Vec<String>, DecodeError> {
        values(&self.layout, self.delimiter, line)
    }

    /// The lines of a header with names, and the one with units.
    fn rows<'h>(&self, header: &'h [u8]) -> (impl Iterator<Item = &'h [u8]> + use<'h>, Option<&'h [u8]>) {
        let named = self.header_rows - usize::from(self.units);
        (
            rows(header, self.line_breaks()).take(named),
            rows(header, self.line_breaks()).nth(named).filter(|_| self.units),
        )
    }

    /// The names of the columns. Of several lines, the names of one column are put together with a space.
    fn names(&self, header: &[u8]) -> Result<Vec<String>, DecodeError> {
        let mut rows = self.rows(header).0;
        let mut names = self.values(rows.next().unwrap_or_default())?;
        for row in rows {
            let parts = self.values(row)?;
            names.resize(names.len().max(parts.len()), String::new());
            for (name, part) in names.iter_mut().zip(&parts) {
                *name = format!("{} {}", name.trim(), part.trim()).trim().into();
            }
        }
        Ok(names)
    }
}

fn read(section: &mut Section<'_>) -> Arc<dyn Format> {
    let mut csv = Csv::default();
    if let Some(mut table) = section.table("csv", "Rules of the decoder `csv`.") {
        let delimiter = table
            .text("delimiter")
            .doc("Character between values; `whitespace` for any number of spaces and tabulators.")
            .check(|text| {
                let hint = "\",\", \";\", \"\\t\" for a tabulator, \"whitespace\" for columns with spaces between them";
                let is_bad = text != WHITESPACE && of_text(text).is_none();
                is_bad.then(|| ("`delimiter` is one ASCII character".into(), Some(hint.into())))
            })
            .or(",".into());
        csv.delimiter = of_text(&delimiter).unwrap_or(b',');
        let widths = table
            .list::<usize>("widths")
            .doc("Widths of the columns in characters, for lines without a character between values. White space around values is dropped.")
            .example("[19, 8, 8]")
            .get_or("values have a `delimiter` between them");
        if delimiter == WHITESPACE {
            (csv.layout, csv.delimiter) = (Layout::Spaced, b' ');
        }
        if let Some(widths) = widths {
            let widths: Vec<usize> = widths.into_iter().map(|width| width.value).collect();
            if widths.is_empty()
                || widths.contains(&0)
                || widths.iter().fold(0_usize, |sum, width| sum.saturating_add(*width)) > MAX_RECORD
            {
                table.wrong("widths", "`widths` are numbers from 1, such as [19, 8, 8]");
            } else if table.has("delimiter") {
                table.wrong("widths", "`widths` and `delimiter` exclude each other");
            }
            (csv.layout, csv.delimiter) = (Layout::Fixed(widths), b' ');
        }
        let columns = table
            .texts("columns")
            .doc("Names of the columns, where there is no header line.")
            .example("[\"time\", \"temperature\"]")
            .not_empty()
            .get_or("the first line of a file or message names them");
        csv.columns = columns.map(|columns| columns.into_iter().map(|column| column.value).collect());
        if table.is_bad("columns") {
            csv.columns = Some(Vec::new());
        }
        csv.decimal_comma = table
            .choice("decimal", &[(".", false, "As in 21.5."), (",", true, "As in 21,5.")])
            .doc("The character before the fraction of a number.")
            .or(false);
        let null = table.texts("null").doc("Texts that stand for no value.").example("[\"NAN\", \"-7999\"]");
        csv.null = null.get_or("the empty text alone").into_iter().flatten().map(|text| text.value).collect();
        csv.trim = table.truth("trim").doc("White space around values is dropped.").or(false);
        let comment = table.text("comment").doc("A line that begins with this is a comment.").example("\"#\"");
        csv.comment = comment.get().map(Arc::from);
        csv.skip_rows = table
            .whole("skip_rows")
            .doc("Lines before the header that are not read, in each file or message.")
            .within(0..=1000)
            .or(0);
        csv.header_rows = table
            .whole("header_rows")
            .doc("Lines of the header. The names of one column in them are put together with a space.")
            .within(1..=10)
            .or(1);
        csv.units = table
            .truth("units")
            .doc("The last line of the header has units: they become the attributes `unit.NAME`.")
            .or(false);
        csv.skip_after_header = table
            .whole("skip_after_header")
            .doc("Lines behind the header that are not read, such as units.")
            .within(0..=1000)
            .or(0);
        csv.line_breaks = table
            .truth("line_breaks")
            .doc("A value in quotes may have line breaks. A quote too many takes the lines behind it along, up to `max_line`.")
            .or(false);
        if csv.units && csv.header_rows < 2 && csv.columns.is_none() {
            table.wrong_because("units", "the header has one line, with the names", "write header_rows = 2");
            csv.header_rows = 2;
        }
        for key in ["skip_rows", "header_rows", "units", "skip_after_header"] {
            if csv.columns.is_some() && table.has(key) {
                let hint = "leave `columns` out: the header names them";
                table.wrong_because(key, format!("`{key}` is for files and messages with a header"), hint);
            }
        }
        if csv.decimal_comma && csv.delimiter == b',' && !table.is_bad("delimiter") {
            let hint = "write delimiter = \";\", or the one that the file has";
            table.wrong_because("decimal", "a comma cannot be in numbers and between values", hint);
        }
        table.end();
    }
    Arc::new(csv)
}

fn of_text(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Some(*byte),
        _ => None,
    }
}

/// The values of a line as members, under the names of their columns.
///
/// # Errors
/// The line has more or fewer values than there are columns.
pub fn members(rule: &Csv, columns: &[String], line: &[u8]) -> Result<Members<'static>, DecodeError> {
    let values = rule.values(line)?;
    if values.len() != columns.len() {
        return Err(DecodeError::Csv(format!("{} values for {} columns", values.len(), columns.len())));
    }
    let mut members = Members::default();
    for (name, value) in columns.iter().zip(&values) {
        let value = if rule.trim { value.trim() } else { value };
        let name = if rule.trim { name.trim() } else { name };
        if value.is_empty() || rule.null.iter().any(|null| null == value) {
            members.push_json(name.to_string(), "null");
        } else if let Some(number) = Some(value).filter(|_| rule.decimal_comma).and_then(with_point) {
            members.push_json(name.to_string(), number);
        } else {
            members.push_plain(name.to_string(), value);
        }
    }
    Ok(members)
}

/// A number that is written with a comma, as JSON writes it.
fn with_point(value: &str) -> Option<String> {
    let number = value.replacen(',', ".", 1);
    (value.contains(',') && is_number(&number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(columns: &[&str], line: &str) -> Result<String, DecodeError> {
        let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
        members(&Csv::default(), &columns, line.as_bytes()).map(|members| members.to_json())
    }

    #[test]
    fn values_get_the_names_of_their_columns() {
        assert_eq!(
            json(&["t", "name", "x"], "21.50,\"pump \"\"1\"\", a\",").unwrap(),
            r#"{"t":21.50,"name":"pump \"1\", a","x":null}"#
        );
        assert!(json(&["a"], "1,2").unwrap_err().to_string().contains("2 values for 1 columns"));
        assert!(json(&["a"], "\"open").unwrap_err().to_string().contains("does not end"));
        assert!(matches!(members(&Csv::default(), &["a".into()], b"\xff"), Err(DecodeError::Utf8(0))));
        assert!(json(&["a", "b"], "1,2\r3,4").unwrap_err().to_string().contains("line break"));
    }

    #[test]
    fn other_delimiters() {
        let rule = Csv { delimiter: b';', ..Csv::default() };
        assert_eq!(rule.values(b"1,5;2").unwrap(), ["1,5", "2"]);
    }

    #[test]
    fn a_german_export_has_commas_in_numbers_and_words_for_no_value() {
        let (null, comment) = (vec!["NAN".into(), "-7999".into()], Some("#".into()));
        let rule = Csv { delimiter: b';', decimal_comma: true, null, trim: true, comment, ..Csv::default() };
        let columns: Vec<String> = ["Zeit ", "T", "RH", "P", "Ort"].map(String::from).into();
        let made = members(&rule, &columns, "01.05.2024 ; -21,50;NAN;-7999;Halle 3,5".as_bytes()).unwrap().to_json();
        assert_eq!(made, r#"{"Zeit":"01.05.2024","T":-21.50,"RH":null,"P":null,"Ort":"Halle 3,5"}"#);
        assert!(rule.skips(b"# by hand") && rule.skips(b"") && !rule.skips(b"1;2"));
    }

    #[test]
    fn columns_without_a_character_between_them() {
        let spaced = Csv { layout: Layout::Spaced, delimiter: b' ', ..Csv::default() };
        assert_eq!(spaced.values(b"  21.5 \t \"hall  1\"   -3 ").unwrap(), ["21.5", "hall  1", "-3"]);
        let fixed = Csv { layout: Layout::Fixed(vec![5, 4, 3]), delimiter: b' ', ..Csv::default() };
        assert_eq!(fixed.values("\u{e4}b 1  2.5x  ".as_bytes()).unwrap(), ["\u{e4}b 1", "2.5", "x"]);
        assert_eq!(fixed.values(b"ab").unwrap(), ["ab", "", ""], "spaces at the end were cut off");
        assert!(fixed.values(b"ab      1234567").unwrap_err().to_string().contains("longer than"));
    }

    /// As WeatherLink of Davis exports it, and as Campbell's TOA5 has units.
    #[test]
    fn a_header_of_several_lines_gives_names_and_units() {
        let mut rule = Csv { header_rows: 2, delimiter: b'\t', ..Csv::default() };
        let header = b"\t\tTemp\tHi\t\nDate\tTime\tOut\tTemp\n";
        assert_eq!(rule.names(header).unwrap(), ["Date", "Time", "Temp Out", "Hi Temp", ""]);
        (rule.units, rule.delimiter) = (true, b',');
        let header = b"\"TIMESTAMP\",\"Batt_V\",\"T\"\n\"TS\",\"Volts\",\"\"\n";
        let about = About { header: Some(header), ..About::default() };
        let units = |name: &str, unit: &str| (name.into(), unit.into());
        assert_eq!(rule.attributes(&about), [units("unit.TIMESTAMP", "TS"), units("unit.Batt_V", "Volts")]);
        let made = rule.decode(b"\"2026-05-01\",12.9,1", &about).unwrap();
        let Content::Members(members, None) = made else { panic!("{made:?}") };
        assert_eq!(members.to_json(), r#"{"TIMESTAMP":"2026-05-01","Batt_V":12.9,"T":1}"#);
    }
}
