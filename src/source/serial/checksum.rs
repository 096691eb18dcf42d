//! Checks the checksum of a frame.

use super::settings::Checksum;
use crc::{CRC_16_IBM_3740, CRC_16_MODBUS, Crc};

const MODBUS: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);
/// CRC-16/CCITT-FALSE. Its name in the catalogue is CRC-16/IBM-3740.
const CCITT: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_3740);

/// The frame without its checksum (NMEA keeps it), or `None` if the checksum is wrong or missing.
#[must_use]
pub fn proven(rule: Checksum, frame: &[u8]) -> Option<&[u8]> {
    match rule {
        Checksum::NmeaXor => {
            let body = frame.strip_prefix(b"$").or_else(|| frame.strip_prefix(b"!"))?;
            let star = body.iter().rposition(|byte| *byte == b'*')?;
            let sum = std::str::from_utf8(body.get(star + 1..star + 3)?).ok()?;
            let good = body[..star].iter().fold(0, |sum, byte| sum ^ byte) == u8::from_str_radix(sum, 16).ok()?;
            good.then_some(frame)
        }
        Checksum::Crc16Modbus => {
            let (body, sum) = frame.split_last_chunk::<2>()?;
            (MODBUS.checksum(body) == u16::from_le_bytes(*sum)).then_some(body)
        }
        Checksum::Crc16Ccitt => {
            let (body, sum) = frame.split_last_chunk::<2>()?;
            (CCITT.checksum(body) == u16::from_be_bytes(*sum)).then_some(body)
        }
        Checksum::Sum8 => {
            let (sum, body) = frame.split_last()?;
            (body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == *sum).then_some(body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sums_pass_and_a_flipped_bit_does_not() {
        // The request "read one holding register of slave 1" of the Modbus specification; "123456789"
        // of the CRC catalogue.
        let frames: [(Checksum, &[u8], &[u8]); 4] = [
            (Checksum::NmeaXor, b"$HEHDT,90,T*08", b"$HEHDT,90,T*08"),
            (Checksum::Crc16Modbus, b"\x01\x03\0\0\0\x01\x84\x0a", b"\x01\x03\0\0\0\x01"),
            (Checksum::Crc16Ccitt, b"123456789\x29\xb1", b"123456789"),
            (Checksum::Sum8, b"\xff\x02\x01", b"\xff\x02"),
        ];
        for (rule, frame, body) in frames {
            assert_eq!(proven(rule, frame), Some(body), "{rule:?}");
            let mut bad = frame.to_vec();
            bad[1] ^= 1;
            assert_eq!((proven(rule, &bad), proven(rule, b"")), (None, None), "{rule:?}");
        }
    }
}
