//! Randomness from the operating system, for identities and for jitter.

use std::time::Duration;

#[cfg(test)]
thread_local! {
    static SEED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Makes this thread's numbers follow from a seed, so that a failing run can be replayed.
#[cfg(test)]
pub fn seed(seed: u64) {
    SEED.set(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
}

/// Fills an array with random bytes.
///
/// If the operating system refuses (no such Linux is known since 3.17), the bytes are derived from time and process
/// id. Then identities stay distinct in practice, and nothing panics.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    #[cfg(test)]
    if SEED.get() != 0 {
        for byte in &mut out {
            SEED.set(SEED.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
            *byte = SEED.get().to_be_bytes()[0];
        }
        return out;
    }
    if getrandom::fill(&mut out).is_err() {
        let mut seed = crate::platform::clock::wall_ms().unsigned_abs() ^ u64::from(std::process::id()).rotate_left(40);
        for chunk in out.chunks_mut(8) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let length = chunk.len();
            chunk.copy_from_slice(&seed.to_le_bytes()[..length]);
        }
    }
    out
}

/// A random number below `bound`; zero when `bound` is zero.
#[must_use]
pub fn below(bound: u64) -> u64 {
    // The modulo bias is below 2^-32 for the bounds used here (milliseconds).
    u64::from_le_bytes(bytes()).checked_rem(bound).unwrap_or(0)
}

/// The wait before the next attempt. Its upper limit is `first_ms`, doubled with every failure up to `most_ms`. The
/// wait is random, from half of the limit to the whole, so that a fleet does not come back at once.
#[must_use]
pub fn backoff(first_ms: u64, most_ms: u64, failures: u32) -> Duration {
    let ceiling = (first_ms << failures.min(10)).min(most_ms);
    Duration::from_millis(ceiling / 2 + below(ceiling / 2 + 1))
}

/// A random 32-bit number.
#[must_use]
pub fn u32() -> u32 {
    u32::from_le_bytes(bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_its_limit_and_half_of_it_is_chance() {
        for (failures, ceiling) in [(0, 200), (1, 400), (5, 5000), (u32::MAX, 5000)] {
            let waits: Vec<u128> = (0..100).map(|_| backoff(200, 5000, failures).as_millis()).collect();
            assert!(waits.iter().all(|wait| (ceiling / 2..=ceiling).contains(wait)), "{failures}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{failures}: no chance in it");
        }
    }
}
