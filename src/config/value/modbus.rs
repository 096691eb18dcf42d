//! Modbus devices and their registers.

use super::Line;
use std::time::Duration;

/// What is read, from where and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Modbus {
    /// How they are reached.
    pub link: ModbusLink,
    /// How often.
    pub every: Duration,
    /// An answer must come within this time.
    pub timeout: Duration,
    /// Words that one request may ask for: 1 to 125.
    pub max_registers: u16,
    /// The devices.
    pub slaves: Vec<Slave>,
}

/// How devices are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModbusLink {
    /// Modbus TCP: `host:port`.
    Tcp(String),
    /// Modbus RTU over a serial port.
    Rtu(String, Line),
}

/// A device.
#[derive(Debug, Clone, PartialEq)]
pub struct Slave {
    /// Its name; the key of its records.
    pub name: String,
    /// 0 to 255; 1 to 247 on a serial line.
    pub unit: u8,
    /// What is read of it.
    pub registers: Vec<Register>,
}

/// A value of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Register {
    /// Its name: the member of the record.
    pub name: String,
    /// Where it lies.
    pub table: Table,
    /// From 0, as on the wire.
    pub address: u16,
    /// What it is.
    pub kind: Number,
    /// The low word comes first.
    pub low_word_first: bool,
    /// The low byte of each word comes first.
    pub low_byte_first: bool,
    /// The number is multiplied by this, ..
    pub scale: f64,
    /// .. and this is added.
    pub offset: f64,
    /// Of measurement; becomes an attribute.
    pub unit: Option<String>,
}

/// The tables of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// Function 3.
    Holding,
    /// Function 4.
    Input,
    /// Function 1.
    Coil,
    /// Function 2.
    Discrete,
}

impl Table {
    /// Whether it has single bits.
    #[must_use]
    pub fn has_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }
}

/// How words are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Number {
    /// A coil or discrete input.
    Bool,
    /// One word.
    U16,
    /// One word.
    I16,
    /// Two words.
    U32,
    /// Two words.
    I32,
    /// Two words, IEEE 754.
    F32,
    /// Four words.
    U64,
    /// Four words.
    I64,
    /// Four words, IEEE 754.
    F64,
}

impl Number {
    /// Words, or bits, that it takes.
    #[must_use]
    pub fn width(self) -> u16 {
        match self {
            Self::Bool | Self::U16 | Self::I16 => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::U64 | Self::I64 | Self::F64 => 4,
        }
    }
}
