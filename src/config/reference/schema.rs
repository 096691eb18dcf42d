//! `configs/forebay.schema.json`: the JSON Schema (draft-07) of the configuration, for editors and CI.

use super::{Kind, Reference, Table};
use crate::section::catalog::{Entry, Shape};
use serde_json::{Map, Value, json};

impl Reference {
    /// The schema as text.
    #[must_use]
    pub fn schema(&self) -> String {
        let mut properties = self.table(&self.root, "");
        properties.insert("include".into(), json!({ "type": "array", "items": { "type": "string" }, "description": "Other files whose sources, sinks and streams are added." }));
        let named = |schema: Value| json!({ "type": "object", "additionalProperties": schema });
        properties.insert("source".into(), named(self.kinds(&self.sources, "source.NAME")));
        properties.insert("sink".into(), named(self.kinds(&self.sinks, "sink.NAME")));
        properties.insert("stream".into(), named(object(self.table(&self.stream, "stream.NAME"), Vec::new())));
        properties.insert("alert".into(), named(object(self.table(&self.alert, "alert.NAME"), Vec::new())));
        let mut definitions = Map::new();
        definitions.insert("reference".into(), reference());
        definitions.insert("secret".into(), secret());
        // The keys of a group are defined once.
        for kind in self.sources.iter().chain(&self.sinks) {
            for table in kind.tables.iter().filter(|table| table.place.ends_with(']')) {
                let name = table.place.trim_matches(['[', ']']);
                let keys =
                    table.entries.iter().map(|entry| (entry.key.into(), self.entry(&kind.tables, &table.place, entry)));
                definitions.entry(name).or_insert_with(|| json!({ "properties": keys.collect::<Map<_, _>>() }));
            }
        }
        let schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Forebay",
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
            "definitions": definitions,
        });
        // The keys of a value that `json!` made are always text, so this cannot fail.
        serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
    }

    /// The schema of all kinds of a source or sink. The key `kind` tells them apart.
    fn kinds(&self, kinds: &[Kind], place: &str) -> Value {
        let one = |kind: &Kind| {
            let mut properties = self.table(&kind.tables, place);
            properties.insert("kind".into(), json!({ "const": kind.name, "description": kind.doc }));
            let mut required = needed(&kind.tables, place);
            required.push("kind");
            object(properties, required)
        };
        json!({ "oneOf": kinds.iter().map(one).collect::<Vec<_>>() })
    }

    /// The keys of a table, with the keys of its groups and of the tables below it.
    fn table(&self, tables: &[Table], place: &str) -> Map<String, Value> {
        let mut properties = Map::new();
        let Some(table) = tables.iter().find(|table| table.place == place) else { return properties };
        for entry in &table.entries {
            properties.insert(entry.key.into(), self.entry(tables, place, entry));
        }
        for group in &table.groups {
            let place = format!("[{group}]");
            let entries = tables.iter().filter(|table| table.place == place).flat_map(|table| &table.entries);
            for entry in entries {
                properties.insert(
                    entry.key.into(),
                    json!({ "$ref": format!("#/definitions/{}/properties/{}", group.replace(' ', "%20"), entry.key) }),
                );
            }
        }
        properties
    }

    fn entry(&self, tables: &[Table], place: &str, entry: &Entry) -> Value {
        let below = || {
            let place = if place.is_empty() { entry.key.to_string() } else { format!("{place}.{}", entry.key) };
            object(self.table(tables, &place), needed(tables, &place))
        };
        let mut schema = match &entry.shape {
            Shape::Table => below(),
            Shape::Tables => json!({ "type": "array", "items": below() }),
            shape => of_shape(shape),
        };
        if let Value::Object(schema) = &mut schema {
            let mut words = entry.doc.to_string();
            if let Some(range) = &entry.range {
                words = format!("{words} Allowed: {range}.");
            }
            schema.insert("description".into(), words.into());
            let plain = |text: &String| serde_json::from_str::<Value>(text).ok();
            if let Some(default) = entry.default.as_ref().and_then(plain) {
                schema.insert("default".into(), default);
            }
        }
        schema
    }
}

fn object(properties: Map<String, Value>, required: Vec<&'static str>) -> Value {
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), Value::Object(properties));
    schema.insert("required".into(), required.into());
    schema.insert("additionalProperties".into(), false.into());
    Value::Object(schema)
}

/// The required keys of a table.
fn needed(tables: &[Table], place: &str) -> Vec<&'static str> {
    let entries = tables.iter().filter(|table| table.place == place).flat_map(|table| &table.entries);
    // An event hub with `credential` needs no `connection`. `forebay check` reports this better than a schema.
    let always =
        |entry: &&Entry| entry.is_required && !entry.default.as_deref().is_some_and(|when| when.contains(" or "));
    entries.filter(always).map(|entry| entry.key).collect()
}

fn of_shape(shape: &Shape) -> Value {
    let or_reference = |schema: Value| json!({ "anyOf": [schema, { "$ref": "#/definitions/reference" }] });
    match shape {
        Shape::Text => or_reference(json!({ "type": "string" })),
        Shape::Span => or_reference(json!({ "type": "string", "pattern": "^[0-9]+ *(ms|s|m|h|d)$" })),
        Shape::Bytes => or_reference(json!({ "type": "string", "pattern": "^[0-9]+ *(B|KB|MB|GB|KiB|MiB|GiB)$" })),
        Shape::Integer => or_reference(json!({ "type": "integer", "minimum": 0 })),
        Shape::Number => or_reference(json!({ "type": "number" })),
        Shape::Bool => or_reference(json!({ "type": "boolean" })),
        Shape::Choice(choices) => {
            or_reference(json!({ "enum": choices.iter().map(|(word, _)| *word).collect::<Vec<_>>() }))
        }
        Shape::Secret => json!({ "$ref": "#/definitions/secret" }),
        Shape::List(of) => json!({ "type": "array", "items": of_shape(of) }),
        Shape::Map(of) => json!({ "type": "object", "additionalProperties": of_shape(of) }),
        Shape::Either(one, other) => json!({ "anyOf": [of_shape(one), of_shape(other)] }),
        Shape::Table => json!({ "type": "object" }),
        Shape::Tables => json!({ "type": "array", "items": { "type": "object" } }),
    }
}

/// The schema of a reference to a variable or a file.
fn reference() -> Value {
    json!({
        "type": "object",
        "properties": { "env": { "type": "string" }, "file": { "type": "string" }, "default": {} },
        "additionalProperties": false,
        "minProperties": 1,
    })
}

/// The schema of a reference to a secret, which is never in the file itself.
fn secret() -> Value {
    json!({
        "type": "object",
        "properties": {
            "env": { "type": "string" }, "file": { "type": "string" }, "credential": { "type": "string" },
        },
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
    })
}
