//! `[source.NAME]` with `kind = "modbus"`

use super::serial::ByteOrder;
use crate::config::value::{Number, Span, Table};
use serde::Deserialize;
use toml::Spanned;

/// See the module.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Modbus {
    /// `host[:port]`, for Modbus TCP.
    pub tcp: Option<Spanned<String>>,
    /// A serial port, for Modbus RTU.
    pub path: Option<Spanned<String>>,
    /// How often.
    pub every: Option<Spanned<Span>>,
    /// An answer comes within.
    pub timeout: Option<Spanned<Span>>,
    /// Words of one request.
    pub max_registers: Option<Spanned<u16>>,
    /// The devices.
    pub slave: Option<Vec<Spanned<Slave>>>,
}

/// `[[source.NAME.slave]]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slave {
    /// Its name.
    pub name: Option<Spanned<String>>,
    /// Its address.
    pub unit: Option<Spanned<u8>>,
    /// What is read of it.
    pub registers: Option<Spanned<Vec<Spanned<Register>>>>,
}

/// A value.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Register {
    /// Its name.
    pub name: Option<Spanned<String>>,
    /// Where it lies.
    pub table: Option<Table>,
    /// From 0.
    pub address: Option<Spanned<u32>>,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Option<Spanned<Number>>,
    /// Of words.
    pub word_order: Option<ByteOrder>,
    /// In a word.
    pub byte_order: Option<ByteOrder>,
    /// Multiplied.
    pub scale: Option<Spanned<f64>>,
    /// Added.
    pub offset: Option<Spanned<f64>>,
    /// Of measurement.
    pub unit: Option<String>,
}
