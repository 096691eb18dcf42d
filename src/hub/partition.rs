//! The partition that a key leads to, computed as the service does it. The hash is Bob Jenkins' lookup3
//! (hashlittle2, public domain, <https://burtleburtle.net/bob/c/lookup3.c>). Both halves are folded into 16 bits
//! with a sign, and the remainder loses its sign. Microsoft's clients for .NET, Java and JavaScript say that they
//! do the same ("a direct port of the Event Hubs service code"). The Python client takes the remainder of negative
//! numbers in another way, so it disagrees with them for some keys.

/// The partition of a key among `count` partitions.
#[must_use]
pub fn of(key: &str, count: u16) -> u16 {
    let hash = i32::from(hash(key.as_bytes()));
    u16::try_from((hash % i32::from(count.max(1))).unsigned_abs()).unwrap_or(0)
}

fn hash(bytes: &[u8]) -> i16 {
    let (high, low) = lookup3(bytes);
    let [.., a, b] = (high ^ low).to_be_bytes();
    i16::from_be_bytes([a, b])
}

fn lookup3(bytes: &[u8]) -> (u32, u32) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let start = 0xdead_beef_u32.wrapping_add(length);
    let (mut a, mut b, mut c) = (start, start, start);
    let mut rest = bytes;
    // The last twelve bytes, or fewer, are mixed in another way.
    while let Some((block, after)) = rest.split_first_chunk::<12>().filter(|(_, after)| !after.is_empty()) {
        (a, b, c) = add((a, b, c), block);
        for (down, up) in [(4, 0), (6, 1), (8, 2), (16, 0), (19, 1), (4, 2)] {
            (a, b, c) = mixed((a, b, c), up, down);
        }
        rest = after;
    }
    if rest.is_empty() {
        return (c, b);
    }
    let mut block = [0; 12];
    block[..rest.len()].copy_from_slice(rest);
    (a, b, c) = add((a, b, c), &block);
    for (into, from, by) in [(2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24)] {
        let mut words = [a, b, c];
        words[into] = (words[into] ^ words[from]).wrapping_sub(words[from].rotate_left(by));
        [a, b, c] = words;
    }
    (c, b)
}

fn add((a, b, c): (u32, u32, u32), block: &[u8; 12]) -> (u32, u32, u32) {
    let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    (a.wrapping_add(word(0)), b.wrapping_add(word(4)), c.wrapping_add(word(8)))
}

/// A step of the mixing. Word `at` loses the word before it, and is XORed with that word rotated by `by`. Then the
/// word before it grows by the word after.
fn mixed((a, b, c): (u32, u32, u32), at: usize, by: u32) -> (u32, u32, u32) {
    let mut words = [a, b, c];
    let (before, after) = ((at + 2) % 3, (at + 1) % 3);
    words[at] = words[at].wrapping_sub(words[before]) ^ words[before].rotate_left(by);
    words[before] = words[before].wrapping_add(words[after]);
    words.into()
}
