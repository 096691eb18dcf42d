//! `[source.NAME]` with `kind = "modbus"`: devices and their registers.

use crate::section::{Claim, Place, Section};
use crate::source::serial::{BYTE_ORDERS, Line};
use crate::source::{Context, Kind, Probing, Routes, Running, Source};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The usual port of Modbus TCP (Modbus messaging on TCP/IP 1.0b, section 4.2.1.1).
const PORT: u16 = 502;
/// One request may ask for at most this many registers (Modbus application protocol 1.1b3, section 6.3).
const MOST_REGISTERS: u16 = 125;
const MS: Duration = Duration::from_millis(1);

/// The row of this kind in the table of sources.
pub const KIND: Kind = Kind { name: "modbus", doc: "Registers of Modbus devices, over TCP or a serial line.", read };

/// The settings of a Modbus source.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The link to the devices.
    pub link: ModbusLink,
    /// The time between two rounds over all registers.
    pub every: Duration,
    /// An answer must come within this time.
    pub timeout: Duration,
    /// The most words that one request asks for: 1 to 125.
    pub max_registers: u16,
    /// The devices.
    pub slaves: Vec<Slave>,
}

/// The link to the devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModbusLink {
    /// Modbus TCP: `host:port`.
    Tcp(String),
    /// Modbus RTU: the path of a serial port, and its line settings.
    Rtu(String, Line),
}

/// A device.
#[derive(Debug, Clone, PartialEq)]
pub struct Slave {
    /// The name of the device; it is the key of its records.
    pub name: String,
    /// The address of the device: 0 to 255 over TCP, 1 to 247 on a serial line.
    pub unit: u8,
    /// The values to read.
    pub registers: Vec<Register>,
}

/// A value of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Register {
    /// The name of the value; it is a member of the record.
    pub name: String,
    /// The table that holds the value.
    pub table: Table,
    /// The first address of the value on the wire, from 0.
    pub address: u16,
    /// The type of the value.
    pub kind: Number,
    /// The low word comes first.
    pub low_word_first: bool,
    /// The low byte of each word comes first.
    pub low_byte_first: bool,
    /// The number is multiplied by this.
    pub scale: f64,
    /// This is added to the scaled number.
    pub offset: f64,
    /// The unit of measurement; it becomes an attribute of the record.
    pub unit: Option<String>,
}

/// The tables of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Holding registers, read by function 3.
    Holding,
    /// Input registers, read by function 4.
    Input,
    /// Coils, read by function 1.
    Coil,
    /// Discrete inputs, read by function 2.
    Discrete,
}

impl Table {
    /// Whether the table holds single bits.
    #[must_use]
    pub fn has_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }
}

/// The type of a value: how its words are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// A coil or discrete input.
    Bool,
    /// One word, unsigned.
    U16,
    /// One word, signed.
    I16,
    /// Two words, unsigned.
    U32,
    /// Two words, signed.
    I32,
    /// Two words, IEEE 754.
    F32,
    /// Four words, unsigned.
    U64,
    /// Four words, signed.
    I64,
    /// Four words, IEEE 754.
    F64,
}

impl Number {
    /// The number of words, or bits, that a value takes.
    #[must_use]
    pub fn width(self) -> u16 {
        match self {
            Self::Bool | Self::U16 | Self::I16 => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::U64 | Self::I64 | Self::F64 => 4,
        }
    }
}

impl Source for Settings {
    fn run(&self, context: Context) -> Running {
        Box::pin(super::run(self.clone(), context))
    }

    fn probe(&self) -> Probing<'_> {
        Box::pin(super::probe(self))
    }

    fn for_tap(&self, _whole: bool) -> Result<Arc<dyn Source>, &'static str> {
        Ok(Arc::new(self.clone()))
    }

    fn claims(&self) -> Vec<Claim> {
        match &self.link {
            ModbusLink::Rtu(path, _) => vec![Claim::SerialPort(path.into())],
            ModbusLink::Tcp(place) => {
                let place = Place::parse(place, None);
                place.into_iter().map(|place| Claim::Host(place.host)).collect()
            }
        }
    }
}

fn read(section: &mut Section<'_>, routes: &mut dyn Routes) -> Option<Arc<dyn Source>> {
    let tcp = section
        .text("tcp")
        .doc("Host and port of a Modbus TCP device or gateway. The usual port is 502. Give `tcp` or `path`.")
        .example("\"10.0.0.5:502\"")
        .get();
    let path = section
        .text("path")
        .doc("Serial port of a Modbus RTU line. Give `tcp` or `path`.")
        .example("\"/dev/ttyUSB0\"")
        .get();
    let line = Line::read(section);
    if section.has("path") && !section.has("baud") {
        section.assume(format_args!("baud = {}, 8 data bits, no parity, 1 stop bit", line.baud));
    }
    let every = section.duration("every").doc("Time between two rounds over all registers.");
    let every = every.within(10 * MS..=86_400_000 * MS).or(1000 * MS);
    if !section.has("every") {
        section.assume("every = \"1s\"");
    }
    let timeout = section.duration("timeout").doc("An answer must come within this time.");
    let timeout = timeout.within(10 * MS..=60_000 * MS).or(500 * MS);
    let max_registers = section
        .whole::<u16>("max_registers")
        .doc("Registers that one request asks for at most.")
        .within(1..=MOST_REGISTERS)
        .hint("the protocol allows 125 in a request; some devices allow 32 or fewer")
        .or(MOST_REGISTERS);
    routes.read(section, "json");
    let is_serial = section.has("path");
    let reached = match (section.has("tcp"), is_serial) {
        (true, false) => tcp.and_then(|text| {
            let place = Place::parse(&text, Some(PORT));
            if place.is_none() {
                let hint = "for example tcp = \"10.0.0.5\", \"plc.example.com:502\" or \"[fd00::5]:502\"";
                section.wrong_because("tcp", format!("`{text}` is not host or host:port"), hint);
            }
            place.map(|place| ModbusLink::Tcp(place.to_string()))
        }),
        (false, true) => path.map(|path| ModbusLink::Rtu(path, line)),
        _ => {
            let hint = "tcp = \"10.0.0.5:502\", or path = \"/dev/ttyUSB0\" with baud and so on";
            let message = "give `tcp` or `path`, one of them";
            if is_serial {
                section.wrong_because("path", message, hint);
            } else {
                section.missing("tcp", message, hint);
            }
            None
        }
    };
    let tables =
        section.tables("slave", "A device: one address on the line or behind the gateway.").unwrap_or_default();
    section.note_needed("slave", "");
    if tables.is_empty() && !section.is_bad("slave") {
        section.missing("slave", "there is no slave", "[[source.NAME.slave]] with name, unit, registers");
    }
    let mut names = BTreeSet::new();
    let mut slaves = Vec::new();
    for table in tables {
        let Some(slave) = read_slave(table, is_serial) else { continue };
        if !names.insert(slave.name.clone()) {
            section.session().problem(section.span(), format!("two slaves are called `{}`", slave.name), None);
        }
        slaves.push(slave);
    }
    Some(Arc::new(Settings { link: reached?, every, timeout, max_registers, slaves }))
}

fn read_slave(mut section: Section<'_>, is_serial: bool) -> Option<Slave> {
    let name = section.text("name").doc("Name of the device. It is the key of the records.");
    let name = name.example("\"press-4\"").get_or("`unit-` and the number");
    let unit = section
        .whole::<u8>("unit")
        .doc("Address of the device: 1 to 247 on a serial line, 0 to 255 over TCP.")
        .example("1")
        .check(move |unit| {
            let is_bad = is_serial && !(1..=247).contains(unit);
            is_bad.then(|| ("`unit` must be from 1 to 247 on a serial line".into(), None))
        })
        .need();
    let is_given = section.has("registers");
    let tables =
        section.tables("registers", "Values that are read: a list of `{ name, address, .. }`.").unwrap_or_default();
    section.note_needed("registers", "");
    if !is_given {
        let hint = "for example: registers = [{ name = \"t\", address = 100, type = \"i16\" }]";
        section.missing("registers", "`registers` is missing", hint);
    } else if tables.is_empty() && !section.is_bad("registers") {
        section.wrong("registers", "`registers` is empty");
    }
    if let Some(name) = &name {
        section.session().name(section.at("name"), name);
    }
    let mut names = BTreeSet::new();
    let mut registers = Vec::new();
    for table in tables {
        let at = table.span();
        let Some(register) = read_register(table) else { continue };
        if !names.insert(register.name.clone()) {
            section.session().problem(at, format!("two registers are called `{}`", register.name), None);
        }
        registers.push(register);
    }
    section.end();
    let unit = unit?;
    Some(Slave { name: name.unwrap_or_else(|| format!("unit-{unit}")), unit, registers })
}

fn read_register(mut section: Section<'_>) -> Option<Register> {
    let name = section
        .text("name")
        .doc("Name of the value: a member of the record.")
        .example("\"temperature\"")
        .not_empty()
        .need();
    let table = section
        .choice(
            "table",
            &[
                ("holding", Table::Holding, "Holding registers, function 3."),
                ("input", Table::Input, "Input registers, function 4."),
                ("coil", Table::Coil, "Coils, function 1."),
                ("discrete", Table::Discrete, "Discrete inputs, function 2."),
            ],
        )
        .doc("Where the value lies.")
        .or(Table::Holding);
    let address = section
        .whole::<u32>("address")
        .doc("Address as on the wire, from 0 to 65535. Holding register 40101 of a manual is address 100.")
        .example("100")
        .check(|address| {
            let hint = "addresses are those on the wire, from 0: holding register 400101 of a manual is address 100";
            (*address > 65_535).then(|| ("an address is a number from 0 to 65535".into(), Some(hint.into())))
        })
        .need();
    let kind = section
        .choice(
            "type",
            &[
                ("bool", Number::Bool, "A coil or discrete input."),
                ("u16", Number::U16, "One register."),
                ("i16", Number::I16, "One register, signed."),
                ("u32", Number::U32, "Two registers."),
                ("i32", Number::I32, "Two registers, signed."),
                ("f32", Number::F32, "Two registers, IEEE 754."),
                ("u64", Number::U64, "Four registers."),
                ("i64", Number::I64, "Four registers, signed."),
                ("f64", Number::F64, "Four registers, IEEE 754."),
            ],
        )
        .doc("Type of the value.")
        .get_or("`\"bool\"` for coils and discrete inputs, `\"u16\"` for registers");
    let word_order = section.choice("word_order", &BYTE_ORDERS).doc("Order of the registers of one value.").or(true);
    let byte_order = section.choice("byte_order", &BYTE_ORDERS).doc("Order of the bytes in a register.").or(true);
    let scale = section.number("scale").doc("The number is multiplied by this.").or(1.0);
    let offset = section.number("offset").doc("This is added to the scaled number.").or(0.0);
    let unit =
        section.text("unit").doc("Unit of measurement. It becomes an attribute of the record.").example("\"°C\"").get();
    let kind =
        kind.or_else(|| (!section.has("type")).then_some(if table.has_bits() { Number::Bool } else { Number::U16 }));
    if !section.is_bad("table") && kind.is_some_and(|kind| (kind == Number::Bool) != table.has_bits()) {
        section.wrong("type", "coils and discrete inputs are `bool`, and only they");
    }
    let at = section.at("address");
    let session = section.session();
    section.end();
    let (name, kind, address) = (name?, kind?, u16::try_from(address?).ok()?);
    if (40_001..=49_999).contains(&address) && table == Table::Holding
        || (30_001..=39_999).contains(&address) && table == Table::Input
        || (10_001..=19_999).contains(&address) && table == Table::Discrete
    {
        let wire = address % 10_000 - 1;
        let hint = format!("addresses are those on the wire, from 0: register {address} is address {wire}");
        let message = format!("address {address} looks like a register number of a manual");
        session.warn(at.clone(), message, Some(hint));
    }
    if u32::from(address) + u32::from(kind.width()) > 65_536 {
        session.problem(at, "it would end behind address 65535", None);
    }
    let (low_word_first, low_byte_first) = (!word_order, !byte_order);
    Some(Register { name, table, address, kind, low_word_first, low_byte_first, scale, offset, unit })
}
