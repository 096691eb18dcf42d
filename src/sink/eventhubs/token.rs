//! Tokens for a hub: a signature that we make, a signature that was given, or a token of Microsoft Entra.

use super::{Credential, Settings as EventHubs};
use crate::platform::{clock, random, sas};
use crate::sink::{Class, DeliverError, entra};
use std::time::{Duration, Instant};

/// The token type of a shared access signature (`docs/reference/event-hubs.md`, "CBS").
const SAS: &str = "servicebus.windows.net:sastoken";
/// The token type of a token of Entra.
const JWT: &str = "jwt";
/// The resource of a token of Entra: any namespace that the token's owner may send to
/// (`docs/reference/event-hubs.md`, "Microsoft Entra").
const RESOURCE: &str = "https://eventhubs.azure.net";

/// A token is not relied on in this many seconds before its end.
const MARGIN_S: u64 = 90;
/// When no new token is given, the next attempt comes after this many seconds.
const AGAIN_S: u64 = 60;

/// A token for the hub.
#[derive(Debug)]
pub struct Token {
    /// `servicebus.windows.net:sastoken` or `jwt`
    pub kind: &'static str,
    /// The token itself.
    pub text: String,
    /// The end of the token, in seconds since the Unix epoch; `None` when it is not known.
    pub until_s: Option<u64>,
    /// True when the token was given, so that Forebay cannot make another token.
    is_given: bool,
    made_s: u64,
}

/// The time of a token's renewal, and its end, in seconds since the Unix epoch. The clock may be set meanwhile, so
/// the token is also renewed after the same running time.
#[derive(Debug, Clone, Copy)]
pub struct Renewal {
    at_s: u64,
    until_s: u64,
    at: Instant,
}

impl Renewal {
    /// Whether it is time for a new token.
    pub fn is_due(self, now_s: u64) -> bool {
        now_s >= self.at_s || Instant::now() >= self.at
    }

    /// Puts the renewal off after a failed attempt, and returns whether the old token is still good.
    pub fn put_off(&mut self, now_s: u64) -> bool {
        self.at_s = now_s + AGAIN_S;
        self.at = Instant::now() + Duration::from_secs(AGAIN_S);
        now_s + MARGIN_S < self.until_s
    }
}

impl Token {
    /// Makes a token for the hub; the address of its resource has this scheme.
    ///
    /// # Errors
    /// When Entra gives no token.
    pub async fn make(settings: &EventHubs, scheme: &str) -> Result<Self, DeliverError> {
        let made_s = clock::wall_s();
        let (kind, text, until_s, is_given) = match settings.connection.credential_now() {
            Credential::Entra(entra) => {
                let (text, until) = entra::token(&entra, settings.ca.as_deref(), RESOURCE).await?;
                (JWT, text, Some(until), false)
            }
            Credential::Key { name, key } => {
                let until = made_s + sas::LIFE_S;
                let resource = settings.connection.endpoint.address(scheme, &settings.audience());
                (SAS, sas::sign(&resource, Some(&name), key.expose().as_bytes(), until), Some(until), false)
            }
            Credential::Signature(text) => (SAS, text.expose().to_string(), None, true),
        };
        Ok(Self { kind, text, until_s, is_given, made_s })
    }

    /// The value of HTTP's header `Authorization`.
    pub fn authorization(&self) -> String {
        if self.kind == JWT { format!("Bearer {}", self.text) } else { self.text.clone() }
    }

    /// The renewal, at 70 % to 80 % of the token's life. A few failed attempts do no harm then, and a fleet that
    /// was started together does not renew together.
    pub fn renewal(&self) -> Option<Renewal> {
        let until_s = self.until_s?;
        let tenth = until_s.saturating_sub(self.made_s) / 10;
        let at_s = until_s - 2 * tenth - random::below(tenth + 1);
        // The running time is limited to one year: a token may never end.
        let life = Duration::from_secs(at_s.saturating_sub(self.made_s).min(31_536_000));
        Some(Renewal { at_s, until_s, at: Instant::now() + life })
    }

    /// The failure when the hub refuses the token with this status.
    pub fn refused(&self, status: i64, description: &str) -> DeliverError {
        let denied = matches!(status, 400..=404) || self.is_given;
        let class = if denied { Class::Denied } else { Class::Transient };
        let hint = match self.kind {
            JWT => "check that it has the role Azure Event Hubs Data Sender, and this machine's clock",
            _ => "check the connection string's key name and key, and this machine's clock",
        };
        DeliverError { class, message: format!("the hub refuses the token ({status} {description}); {hint}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_that_fails_is_put_off_as_long_as_the_token_is_good() {
        let mut renewal = Renewal { at_s: 700, until_s: 1000, at: Instant::now() + Duration::from_secs(700) };
        assert!(!renewal.is_due(699) && renewal.is_due(700));
        assert!(renewal.put_off(700) && !renewal.is_due(759) && renewal.is_due(760));
        assert!(!renewal.put_off(910), "its last seconds do not count");
        let set_back = Renewal { at: Instant::now(), ..renewal };
        assert!(set_back.is_due(0), "its time has passed, whatever the clock says");
    }
}
