//! Puts registers into few requests, and turns words into numbers. Pure functions.

use super::settings::{Number, Register, Table};

/// The most words, and the most bits, of one request (Modbus application protocol 1.1b3, 6.1 and 6.3).
const MOST_WORDS: u16 = 125;
const MOST_BITS: u16 = 2000;

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The table to read from.
    pub table: Table,
    /// The first address.
    pub address: u16,
    /// The number of words or bits.
    pub count: u16,
}

/// The fewest requests that cover all registers and no other address, in order of address. A device may refuse
/// a request that touches a register that it does not have.
#[must_use]
pub fn requests(registers: &[Register], most_words: u16) -> Vec<Request> {
    let mut sorted: Vec<&Register> = registers.iter().collect();
    sorted.sort_by_key(|register| (register.table, register.address));
    let mut out: Vec<Request> = Vec::new();
    for register in sorted {
        let (table, start) = (register.table, register.address);
        let end = u32::from(start) + u32::from(register.kind.width());
        let most = if table.has_bits() { MOST_BITS } else { most_words.min(MOST_WORDS) };
        if let Some(last) = out.last_mut().filter(|last| last.table == table) {
            let last_end = u32::from(last.address) + u32::from(last.count);
            let count = end.max(last_end) - u32::from(last.address);
            if u32::from(start) <= last_end && count <= u32::from(most) {
                last.count = u16::try_from(count).unwrap_or(most);
                continue;
            }
        }
        out.push(Request { table, address: start, count: register.kind.width() });
    }
    out
}

impl Request {
    /// Two requests for the same registers, about half each. `None` if there is only one register, or if all
    /// registers overlap.
    #[must_use]
    pub fn split(self, registers: &[Register]) -> Option<[Self; 2]> {
        let mut inside: Vec<&Register> = registers.iter().filter(|register| self.place(register).is_some()).collect();
        inside.sort_by_key(|register| register.address);
        let end = |register: &Register| u32::from(register.address) + u32::from(register.kind.width());
        let mut covered = 0;
        let mut cuts = Vec::new();
        for register in inside {
            if covered > 0 && u32::from(register.address) >= covered {
                cuts.push(register.address);
            }
            covered = covered.max(end(register));
        }
        let middle = u32::from(self.address) + u32::from(self.count) / 2;
        let cut = cuts.into_iter().min_by_key(|cut| u32::from(*cut).abs_diff(middle))?;
        let first = Self { count: cut - self.address, ..self };
        Some([first, Self { address: cut, count: self.count - first.count, ..self }])
    }

    /// The index of a register in the answer, if the request covers it.
    #[must_use]
    pub fn place(&self, register: &Register) -> Option<usize> {
        let at = register.address.checked_sub(self.address).filter(|_| register.table == self.table)?;
        (at + register.kind.width() <= self.count).then_some(usize::from(at))
    }
}

/// The number in some words, as JSON; `null` if it is not finite. Returns `None` if there are too few words.
#[must_use]
pub fn number(register: &Register, words: &[u16]) -> Option<String> {
    let mut words = words.get(..usize::from(register.kind.width()))?.to_vec();
    if register.low_word_first {
        words.reverse();
    }
    if register.low_byte_first {
        for word in &mut words {
            *word = word.swap_bytes();
        }
    }
    let bits = words.iter().fold(0_u64, |bits, word| bits << 16 | u64::from(*word));
    let low = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(0);
    let whole = |value: i128| scaled(register, value);
    Some(match register.kind {
        Number::Bool => (bits != 0).to_string(),
        Number::U16 | Number::U32 | Number::U64 => whole(i128::from(bits)),
        Number::I16 => whole(i128::from(words[0].cast_signed())),
        Number::I32 => whole(i128::from(low(bits).cast_signed())),
        Number::I64 => whole(i128::from(bits.cast_signed())),
        Number::F32 => {
            // 21.7 as f32 is 21.700000762939453 as f64. So the shortest text of the f32 is taken.
            let single: f64 = f32::from_bits(low(bits)).to_string().parse().unwrap_or(f64::NAN);
            finite(single * register.scale + register.offset)
        }
        Number::F64 => finite(f64::from_bits(bits) * register.scale + register.offset),
    })
}

/// The shortest text that reads back as the same number; `null` if it is not finite, because JSON has no such
/// number.
fn finite(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { "null".into() }
}

/// A whole number with scale and offset applied. The text has as many decimals as scale and offset have, since
/// 217 times 0.1 is not 21.7 in binary.
fn scaled(register: &Register, value: i128) -> String {
    let is = |value: f64, other: f64| value.total_cmp(&other).is_eq();
    if is(register.scale, 1.0) && is(register.offset, 0.0) {
        return value.to_string();
    }
    let digits = |factor: f64| factor.to_string().split_once('.').map_or(0, |(_, digits)| digits.len());
    let digits = digits(register.scale).max(digits(register.offset));
    // Exact up to 53 bits, as JSON readers take numbers anyway.
    let number = value as f64 * register.scale + register.offset;
    if number.is_finite() { format!("{number:.digits$}") } else { "null".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(table: Table, address: u16, kind: Number) -> Register {
        Register {
            name: "r".into(),
            table,
            address,
            kind,
            low_word_first: false,
            low_byte_first: false,
            scale: 1.0,
            offset: 0.0,
            unit: None,
        }
    }

    #[test]
    fn adjacent_registers_share_a_request_and_limits_hold() {
        let holding = |address, kind| register(Table::Holding, address, kind);
        let all = [
            holding(101, Number::F32),
            holding(100, Number::U16),
            holding(300, Number::U16),
            register(Table::Coil, 100, Number::Bool),
            holding(65_535, Number::U16),
        ];
        let asked = requests(&all, MOST_WORDS);
        let shown: Vec<_> = asked.iter().map(|r| (r.table, r.address, r.count)).collect();
        assert_eq!(
            shown,
            [(Table::Holding, 100, 3), (Table::Holding, 300, 1), (Table::Holding, 65_535, 1), (Table::Coil, 100, 1)]
        );
        assert_eq!(
            (asked[0].place(&all[0]), asked[0].place(&all[2]), asked[3].place(&all[3])),
            (Some(1), None, Some(0))
        );
        let many: Vec<_> = (0..300).map(|address| holding(address, Number::U16)).collect();
        assert_eq!(requests(&many, MOST_WORDS).iter().map(|request| request.count).collect::<Vec<_>>(), [125, 125, 50]);
    }

    #[test]
    fn words_are_numbers_in_any_order() {
        let mut float = register(Table::Holding, 0, Number::F32);
        assert_eq!(number(&float, &[0x41ad, 0x999a]).as_deref(), Some("21.7"));
        float.low_word_first = true;
        assert_eq!(number(&float, &[0x999a, 0x41ad]).as_deref(), Some("21.7"));
        float.low_byte_first = true;
        assert_eq!(number(&float, &[0x9a99, 0xad41]).as_deref(), Some("21.7"));
        assert_eq!(number(&float, &[1]), None);
        let of = |kind, words: &[u16]| number(&register(Table::Input, 0, kind), words).unwrap();
        assert_eq!(of(Number::I16, &[0xffff]), "-1");
        assert_eq!(of(Number::I32, &[0xffff, 0xfffe]), "-2");
        assert_eq!(of(Number::U32, &[0xffff, 0xffff]), "4294967295");
        assert_eq!(of(Number::U64, &[0xffff; 4]), u64::MAX.to_string());
        assert_eq!(of(Number::F64, &[0x4035, 0xb333, 0x3333, 0x3333]), "21.7");
        assert_eq!(of(Number::F32, &[0x7fc0, 0]), "null");
    }

    #[test]
    fn a_request_is_split_between_registers_down_to_one() {
        let holding = |address, kind| register(Table::Holding, address, kind);
        let all =
            [holding(10, Number::U16), holding(11, Number::F32), holding(13, Number::U16), holding(12, Number::U16)];
        let asked = requests(&all, MOST_WORDS);
        assert_eq!(asked.len(), 1);
        let shown = |halves: [Request; 2]| halves.map(|half| (half.address, half.count));
        let halves = asked[0].split(&all).unwrap();
        assert!([[(10, 1), (11, 3)], [(10, 3), (13, 1)]].contains(&shown(halves)), "{halves:?}");
        let one = Request { table: Table::Holding, address: 11, count: 2 };
        assert_eq!(one.split(&all), None, "12 is within 11");
        assert_eq!(Request { address: 10, count: 1, ..one }.split(&all), None);
        let some: Vec<_> = (0..100).map(|address| holding(address, Number::U16)).collect();
        assert_eq!(requests(&some, 30).iter().map(|request| request.count).collect::<Vec<_>>(), [30, 30, 30, 10]);
        assert_eq!(shown(requests(&some, MOST_WORDS)[0].split(&some).unwrap()), [(0, 50), (50, 50)]);
    }

    #[test]
    fn scale_and_offset_keep_their_digits() {
        let mut tenths = register(Table::Holding, 0, Number::I16);
        tenths.scale = 0.1;
        assert_eq!(number(&tenths, &[217]).as_deref(), Some("21.7"));
        (tenths.scale, tenths.offset) = (0.5, -40.0);
        assert_eq!(number(&tenths, &[0xfffd]).as_deref(), Some("-41.5"));
        tenths.scale = 10.0;
        assert_eq!(number(&tenths, &[3]).as_deref(), Some("-10"));
    }
}
