//! Tokens for a hub: a signature that we make, one that was given, or one of Microsoft Entra.

use super::sas;
use super::{Credential, Settings as EventHubs};
use crate::platform::{clock, random};
use crate::sink::{Class, DeliverError, entra};
use std::time::{Duration, Instant};

/// What a shared access signature is called (`docs/reference/event-hubs.md`, "CBS").
const SAS: &str = "servicebus.windows.net:sastoken";
/// What a token of Entra is called.
const JWT: &str = "jwt";
/// What it is for: any namespace that its owner may send to (`docs/reference/event-hubs.md`, "Microsoft Entra").
const RESOURCE: &str = "https://eventhubs.azure.net";

/// A token is not relied on for its last seconds.
const MARGIN_S: u64 = 90;
/// Whoever gives no new one is asked again after so many seconds.
const AGAIN_S: u64 = 60;

/// A token.
#[derive(Debug)]
pub struct Token {
    /// `servicebus.windows.net:sastoken` or `jwt`
    pub kind: &'static str,
    /// The token itself.
    pub text: String,
    /// When it ends, seconds since the Unix epoch; none: not known.
    pub until_s: Option<u64>,
    /// Nobody here can make another one.
    is_given: bool,
    made_s: u64,
}

/// When a token is to be made again, and when it ends; seconds since the Unix epoch. The clock may be set
/// meanwhile: after as much running time it is made again too.
#[derive(Debug, Clone, Copy)]
pub struct Renewal {
    at_s: u64,
    until_s: u64,
    at: Instant,
}

impl Renewal {
    /// Whether it is time for a new one.
    pub fn is_due(self, now_s: u64) -> bool {
        now_s >= self.at_s || Instant::now() >= self.at
    }

    /// No new one is given: whether the old one is good yet. Then it is asked for again a while later.
    pub fn put_off(&mut self, now_s: u64) -> bool {
        self.at_s = now_s + AGAIN_S;
        self.at = Instant::now() + Duration::from_secs(AGAIN_S);
        now_s + MARGIN_S < self.until_s
    }
}

impl Token {
    /// One for the hub, its resource written with this scheme.
    ///
    /// # Errors
    /// When whoever gives it does not.
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
                (SAS, sas::sign(&resource, &name, key.expose(), until), Some(until), false)
            }
            Credential::Signature(text) => (SAS, text.expose().to_string(), None, true),
        };
        Ok(Self { kind, text, until_s, is_given, made_s })
    }

    /// As HTTP has it.
    pub fn authorization(&self) -> String {
        if self.kind == JWT { format!("Bearer {}", self.text) } else { self.text.clone() }
    }

    /// At seven to eight tenths of its life, so that a few failed tries do no harm, and that a fleet that
    /// was started together does not renew together.
    pub fn renewal(&self) -> Option<Renewal> {
        let until_s = self.until_s?;
        let tenth = until_s.saturating_sub(self.made_s) / 10;
        let at_s = until_s - 2 * tenth - random::below(tenth + 1);
        // A token for ever is one for a year.
        let life = Duration::from_secs(at_s.saturating_sub(self.made_s).min(31_536_000));
        Some(Renewal { at_s, until_s, at: Instant::now() + life })
    }

    /// The hub answered the token with this status.
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
