//! A line of delimited values (RFC 4180) and its header. A quoted value has no line break in it.

use super::members::{Members, is_number};
use super::{Content, DecodeError, Format, Kind, Utf8};
use crate::flow::header::{Header, is_skipped};
use crate::section::Section;
use csv_core::{ReadRecordResult, ReaderBuilder};
use std::sync::Arc;

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
    /// The character between values: one ASCII character.
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
    /// Lines behind the header that are not read.
    pub skip_after_header: usize,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            delimiter: b',',
            columns: None,
            decimal_comma: false,
            null: Vec::new(),
            trim: false,
            comment: None,
            skip_rows: 0,
            skip_after_header: 0,
        }
    }
}

impl Format for Csv {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn skips(&self, line: &[u8]) -> bool {
        is_skipped(line, self.comment.as_deref())
    }

    fn header(&self) -> Option<Header> {
        let (before, after, comment) = (self.skip_rows, self.skip_after_header, self.comment.clone());
        self.columns.is_none().then_some(Header { delimiter: self.delimiter, before, after, comment })
    }

    fn decode<'m>(&self, message: &'m [u8], header: Option<&[u8]>) -> Result<Content<'m>, DecodeError> {
        let named;
        let columns = match (&self.columns, header) {
            (Some(columns), _) => columns,
            (None, Some(header)) => {
                named = values(self, header).map_err(DecodeError::of_header)?;
                &named
            }
            (None, None) => return Err(DecodeError::Csv("no header came before it".into())),
        };
        Ok(Content::Members(members(self, columns, message)?, None))
    }
}

fn read(section: &mut Section<'_>) -> Arc<dyn Format> {
    let mut csv = Csv::default();
    if let Some(mut table) = section.table("csv", "Rules of the decoder `csv`.") {
        let delimiter = table
            .text("delimiter")
            .doc("Character between values.")
            .check(|text| {
                let hint = "\",\", \";\", \"\\t\" for a tabulator";
                of_text(text).is_none().then(|| ("`delimiter` is one ASCII character".into(), Some(hint.into())))
            })
            .or(",".into());
        csv.delimiter = of_text(&delimiter).unwrap_or(b',');
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
        csv.skip_after_header = table
            .whole("skip_after_header")
            .doc("Lines behind the header that are not read, such as units.")
            .within(0..=1000)
            .or(0);
        for (key, rows) in [("skip_rows", csv.skip_rows), ("skip_after_header", csv.skip_after_header)] {
            if rows > 0 && csv.columns.is_some() {
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

/// The values of a line.
///
/// # Errors
/// The line is not UTF-8, has a line break in it, or ends within quotes.
pub fn values(rule: &Csv, line: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut reader = ReaderBuilder::new().delimiter(rule.delimiter).build();
    let (mut out, mut ends) = (vec![0; line.len() + 1], vec![0; line.len() + 2]);
    let (mut read, mut written, mut fields) = (0, 0, 0);
    let mut ended = false;
    loop {
        // The second, empty read tells the reader that the line has ended.
        let input = if ended { &[][..] } else { &line[read..] };
        let (result, n, o, e) = reader.read_record(input, &mut out[written..], &mut ends[fields..]);
        (read, written, fields) = (read + n, written + o, fields + e);
        match result {
            ReadRecordResult::InputEmpty if !ended => ended = true,
            // A bare CR ends a record for the reader. The bytes after it must not vanish.
            ReadRecordResult::Record if read < line.len() => {
                return Err(DecodeError::Csv("a line break within the line".into()));
            }
            ReadRecordResult::Record | ReadRecordResult::End | ReadRecordResult::InputEmpty => break,
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                return Err(DecodeError::Csv("more values than the line has characters".into()));
            }
        }
    }
    if line.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
        return Err(DecodeError::Csv("a quoted value does not end on its line".into()));
    }
    let mut values = Vec::with_capacity(fields);
    let mut start = 0;
    for end in &ends[..fields] {
        values.push(Utf8::check(&out[start..*end])?.to_string());
        start = *end;
    }
    Ok(values)
}

/// The values of a line as members, under the names of their columns.
///
/// # Errors
/// The line has more or fewer values than there are columns.
pub fn members(rule: &Csv, columns: &[String], line: &[u8]) -> Result<Members<'static>, DecodeError> {
    let values = values(rule, line)?;
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
        assert_eq!(values(&rule, b"1,5;2").unwrap(), ["1,5", "2"]);
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
}
