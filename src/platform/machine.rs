//! The identity of this machine, and of its present boot.

use std::path::Path;

/// The host's name, as the kernel has it; `gateway` when it has none.
#[must_use]
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().trim().to_string();
    if name.is_empty() { "gateway".to_string() } else { name }
}

/// The kernel's random id of this boot; zero where there is none.
#[must_use]
pub fn boot_id() -> [u8; 16] {
    id_from(Path::new("/proc/sys/kernel/random/boot_id"))
}

/// Files with the serial number of the hardware, where the kernel shows one. A cloned card has the
/// `/etc/machine-id` of its original, but another board under it.
const SERIALS: [&str; 2] = ["/proc/device-tree/serial-number", "/sys/class/dmi/id/product_uuid"];

/// The machine's id: `/etc/machine-id` together with the hardware's serial number; zero where
/// there is neither.
#[must_use]
pub fn machine_id() -> [u8; 16] {
    let system = id_from(Path::new("/etc/machine-id"));
    let serial = SERIALS.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
    if serial.is_empty() { system } else { mixed(system, &serial) }
}

/// FNV-1a with 128 bits, begun at the system's id.
fn mixed(system: [u8; 16], serial: &[u8]) -> [u8; 16] {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let step = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
    serial.iter().fold(u128::from_le_bytes(system), step).to_le_bytes()
}

fn id_from(path: &Path) -> [u8; 16] {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
    let mut id = [0; 16];
    for (slot, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *slot = pair[0] << 4 | pair[1];
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_of_a_card_on_another_board_is_another_machine() {
        assert_ne!(mixed([1; 16], b"10000000a"), mixed([1; 16], b"10000000b"));
        assert_ne!(mixed([1; 16], b"10000000a"), mixed([2; 16], b"10000000a"));
    }

    #[test]
    fn an_id_is_read_from_hex_with_or_without_dashes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        std::fs::write(&path, "00112233-4455-6677-8899-aabbccddeeff\n").unwrap();
        assert_eq!(id_from(&path)[..3], [0x00, 0x11, 0x22]);
        assert_eq!(id_from(&path)[15], 0xff);
        assert_eq!(id_from(&dir.path().join("none")), [0; 16]);
    }
}
