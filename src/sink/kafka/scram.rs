//! SCRAM (RFC 5802, RFC 7677), the client's side: pure, and without channel binding.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;

/// The largest number of iterations; a server that asks for more work is refused.
const MOST_ITERATIONS: u32 = 1_000_000;

/// The hash function of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SCRAM-SHA-256
    Sha256,
    /// SCRAM-SHA-512
    Sha512,
}

/// The client's state in one exchange.
#[derive(Debug)]
pub struct Scram<'a> {
    hash: Hash,
    password: &'a str,
    first_bare: String,
    nonce: String,
    /// The signature that the server must send as its proof; empty before the challenge was answered.
    expected: Vec<u8>,
}

impl<'a> Scram<'a> {
    /// Begins an exchange; the nonce must never be used again.
    #[must_use]
    pub fn new(hash: Hash, user: &str, password: &'a str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { hash, password, first_bare: format!("n={user},r={nonce}"), nonce, expected: Vec::new() }
    }

    /// The first message of the client.
    #[must_use]
    pub fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// The answer of the client to the server's challenge.
    ///
    /// # Errors
    /// When the challenge is not valid.
    pub fn answer(&mut self, challenge: &str) -> Result<String, &'static str> {
        let field = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let nonce = field("r").filter(|nonce| nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len());
        let nonce = nonce.ok_or("its challenge is not for us")?;
        let salt = field("s").and_then(|salt| STANDARD.decode(salt).ok()).ok_or("its challenge has no salt")?;
        let iterations = field("i").and_then(|count| count.parse::<u32>().ok());
        let iterations = iterations.filter(|count| *count <= MOST_ITERATIONS).and_then(NonZeroU32::new);
        let iterations = iterations.ok_or("its challenge has no iterations, or too many")?;
        let (derive, mac, sum) = match self.hash {
            Hash::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, &digest::SHA256),
            Hash::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, hmac::HMAC_SHA512, &digest::SHA512),
        };
        let mut salted = vec![0; sum.output_len()];
        pbkdf2::derive(derive, iterations, &salt, self.password.as_bytes(), &mut salted);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(mac, key), text);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(sum, client_key.as_ref());
        // "biws" is "n,,": no channel binding.
        let bare = format!("c=biws,r={nonce}");
        let all = format!("{},{challenge},{bare}", self.first_bare);
        let signature = sign(stored_key.as_ref(), all.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, sign)| key ^ sign).collect();
        let server_key = sign(&salted, b"Server Key");
        self.expected = sign(server_key.as_ref(), all.as_bytes()).as_ref().to_vec();
        Ok(format!("{bare},p={}", STANDARD.encode(proof)))
    }

    /// Checks that the server knows the password too.
    ///
    /// # Errors
    /// When the server's answer does not prove it.
    pub fn verify(&self, answer: &str) -> Result<(), &'static str> {
        let proof =
            answer.split(',').find_map(|part| part.strip_prefix("v=")).and_then(|proof| STANDARD.decode(proof).ok());
        if proof.is_some_and(|proof| !self.expected.is_empty() && proof == self.expected) {
            Ok(())
        } else {
            Err("it does not prove that it knows the password: is it the right server?")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exchange_of_rfc_7677() {
        let mut scram = Scram::new(Hash::Sha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO".into());
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        assert!(scram.verify("v=").is_err(), "nothing was asked yet");
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(
            scram.answer(challenge).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(scram.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").is_ok());
        assert!(scram.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=").is_err());
        assert!(scram.verify("e=other-error").is_err());
    }

    #[test]
    fn a_challenge_that_is_none_is_refused() {
        for challenge in [
            "",
            "r=abc,s=AAAA,i=4096",
            "r=me,s=AAAA,i=4096",
            "r=meyou,i=4096",
            "r=meyou,s=AAAA,i=0",
            "r=meyou,s=AAAA,i=4000000000",
        ] {
            let mut scram = Scram::new(Hash::Sha512, "a=b,c", "p", "me".into());
            assert_eq!(scram.first(), "n,,n=a=3Db=2Cc,r=me");
            assert!(scram.answer(challenge).is_err(), "{challenge}");
        }
    }
}
