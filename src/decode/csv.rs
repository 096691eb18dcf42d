//! A line of delimited values (RFC 4180) and its header. A quoted value has no line break in it.

use super::members::Members;
use super::{DecodeError, Utf8};
use crate::config::value::Csv;
use csv_core::{ReadRecordResult, ReaderBuilder};

/// The values of a line.
///
/// # Errors
/// When it is not UTF-8, or ends within quotes.
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
            // A bare CR ends a record for the reader: what follows must not vanish.
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

/// A line with the names of its columns.
///
/// # Errors
/// When it has another number of values than there are columns.
pub fn members(rule: &Csv, columns: &[String], line: &[u8]) -> Result<Members<'static>, DecodeError> {
    let values = values(rule, line)?;
    if values.len() != columns.len() {
        return Err(DecodeError::Csv(format!("{} values for {} columns", values.len(), columns.len())));
    }
    let mut members = Members::default();
    for (name, value) in columns.iter().zip(&values) {
        if value.is_empty() {
            members.push_json(name.clone(), "null");
        } else {
            members.push_plain(name.clone(), value);
        }
    }
    Ok(members)
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
        let rule = Csv { delimiter: b';', columns: None };
        assert_eq!(values(&rule, b"1,5;2").unwrap(), ["1,5", "2"]);
    }
}
