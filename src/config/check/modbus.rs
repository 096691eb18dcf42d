//! `[source.NAME]` with `kind = "modbus"`

use super::Checker;
use crate::config::raw::modbus as raw;
use crate::config::raw::serial::ByteOrder;
use crate::config::value::{Line, Modbus, ModbusLink, Number, Place, Register, Slave, Table};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;

/// Where Modbus TCP is spoken (Modbus messaging on TCP/IP 1.0b, section 4.2.1.1).
const PORT: u16 = 502;

impl Checker<'_> {
    pub(super) fn modbus(
        &mut self,
        label: &str,
        span: &Range<usize>,
        line: Line,
        given: raw::Modbus,
    ) -> Option<Modbus> {
        let every = given.every.as_ref().map_or(Duration::from_secs(1), |every| every.get_ref().0);
        if let Some(at) = given.every.as_ref().filter(|_| !(10..=86_400_000).contains(&every.as_millis())) {
            self.problem(at.span(), "`every` must be from 10ms to 24h".into(), None);
        }
        if given.every.is_none() {
            self.assume(format!("{label}: every = \"1s\""));
        }
        let timeout = given.timeout.as_ref().map_or(Duration::from_millis(500), |timeout| timeout.get_ref().0);
        if let Some(at) = given.timeout.as_ref().filter(|_| !(10..=60_000).contains(&timeout.as_millis())) {
            self.problem(at.span(), "`timeout` must be from 10ms to 60s".into(), None);
        }
        let max_registers = given.max_registers.as_ref().map_or(125, |most| *most.get_ref());
        if let Some(at) = given.max_registers.as_ref().filter(|_| !(1..=125).contains(&max_registers)) {
            let hint = "the protocol allows 125 in a request; some devices allow 32 or fewer";
            self.problem(at.span(), "`max_registers` must be from 1 to 125".into(), Some(hint.into()));
        }
        let reached = match (given.tcp, given.path) {
            (Some(tcp), None) => {
                let text = tcp.get_ref();
                let place = Place::parse(text, Some(PORT));
                if place.is_none() {
                    let hint = "for example tcp = \"10.0.0.5\", \"plc.example.com:502\" or \"[fd00::5]:502\"";
                    self.problem(tcp.span(), format!("`{text}` is not host or host:port"), Some(hint.into()));
                }
                Some(ModbusLink::Tcp(place.map_or_else(String::new, |place| place.to_string())))
            }
            (None, Some(path)) => Some(ModbusLink::Rtu(path.into_inner(), line)),
            _ => {
                let hint = "tcp = \"10.0.0.5:502\", or path = \"/dev/ttyUSB0\" with baud and so on";
                self.problem(span.clone(), "give `tcp` or `path`, one of them".into(), Some(hint.into()));
                None
            }
        };
        let serial = matches!(reached, Some(ModbusLink::Rtu(..)));
        let mut names = BTreeSet::new();
        let mut slaves = Vec::new();
        for slave in given.slave.iter().flatten() {
            if let Some(slave) = self.slave(slave, serial) {
                if !names.insert(slave.name.clone()) {
                    self.problem(span.clone(), format!("two slaves are called `{}`", slave.name), None);
                }
                slaves.push(slave);
            }
        }
        if given.slave.as_ref().is_none_or(Vec::is_empty) {
            let hint = "[[source.NAME.slave]] with name, unit, registers";
            self.problem(span.clone(), "there is no slave".into(), Some(hint.into()));
        }
        Some(Modbus { link: reached?, every, timeout, max_registers, slaves })
    }

    fn slave(&mut self, slave: &Spanned<raw::Slave>, serial: bool) -> Option<Slave> {
        let span = slave.span();
        let raw::Slave { name, unit, registers } = slave.get_ref().clone();
        let unit = self.need(unit, &span, "unit", "1");
        if let Some(at) = unit.as_ref().filter(|unit| serial && !(1..=247).contains(unit.get_ref())) {
            self.problem(at.span(), "`unit` must be from 1 to 247 on a serial line".into(), None);
        }
        let registers = self.need(registers, &span, "registers", "[{ name = \"t\", address = 100, type = \"i16\" }]");
        let unit = unit?.into_inner();
        let name = match name {
            Some(name) => {
                self.name(name.span(), name.get_ref());
                name.into_inner()
            }
            None => format!("unit-{unit}"),
        };
        let registers = registers?;
        if registers.get_ref().is_empty() {
            self.problem(registers.span(), "`registers` is empty".into(), None);
        }
        let mut names = BTreeSet::new();
        let mut known = Vec::new();
        for register in registers.get_ref() {
            let Some(found) = self.register(register) else { continue };
            if !names.insert(found.name.clone()) {
                self.problem(register.span(), format!("two registers are called `{}`", found.name), None);
            }
            known.push(found);
        }
        Some(Slave { name, unit, registers: known })
    }

    fn register(&mut self, register: &Spanned<raw::Register>) -> Option<Register> {
        let span = register.span();
        let given = register.get_ref().clone();
        let name = self.need(given.name, &span, "name", "\"temperature\"");
        let address = self.need(given.address, &span, "address", "100");
        let table = given.table.unwrap_or(Table::Holding);
        let kind = match &given.kind {
            Some(kind) => *kind.get_ref(),
            None => {
                if table.has_bits() {
                    Number::Bool
                } else {
                    Number::U16
                }
            }
        };
        if (kind == Number::Bool) != table.has_bits() {
            let message = "coils and discrete inputs are `bool`, and only they";
            self.problem(given.kind.as_ref().map_or(span.clone(), Spanned::span), message.into(), None);
        }
        for factor in [&given.scale, &given.offset].into_iter().flatten() {
            if !factor.get_ref().is_finite() {
                self.problem(factor.span(), "this must be a number".into(), None);
            }
        }
        let (name, address) = (name?, address?);
        let Ok(first) = u16::try_from(*address.get_ref()) else {
            let hint = "addresses are those on the wire, from 0: holding register 400101 of a manual is address 100";
            self.problem(address.span(), "an address is a number from 0 to 65535".into(), Some(hint.into()));
            return None;
        };
        if (40_001..=49_999).contains(&first) && table == Table::Holding
            || (30_001..=39_999).contains(&first) && table == Table::Input
            || (10_001..=19_999).contains(&first) && table == Table::Discrete
        {
            let hint =
                format!("addresses are those on the wire, from 0: register {first} is address {}", first % 10_000 - 1);
            let message = format!("address {first} looks like a register number of a manual");
            self.warn(address.span(), message, Some(hint));
        }
        if *address.get_ref() <= 65_535 && *address.get_ref() + u32::from(kind.width()) > 65_536 {
            self.problem(address.span(), "it would end behind address 65535".into(), None);
        }
        if name.get_ref().is_empty() {
            self.problem(name.span(), "`name` is empty".into(), None);
        }
        Some(Register {
            name: name.into_inner(),
            table,
            address: first,
            kind,
            low_word_first: given.word_order == Some(ByteOrder::Little),
            low_byte_first: given.byte_order == Some(ByteOrder::Little),
            scale: given.scale.map_or(1.0, Spanned::into_inner),
            offset: given.offset.map_or(0.0, Spanned::into_inner),
            unit: given.unit,
        })
    }
}
