//! Gets tokens from Microsoft Entra: by secret or certificate, federated token, managed identity, or a program.
//!
//! The requests are those of the OAuth 2.0 client credentials flow on the Microsoft identity platform,
//! of the instance metadata service (api-version 2018-02-01), of App Service (2019-08-01) and of Azure Arc
//! (2019-11-01).

mod arc;
mod assertion;
mod settings;

pub use settings::{Application, Entra, Giver};

use crate::platform::clock;
use crate::platform::tls::{self, Trust};
use crate::sink::dial::{clock_hint, step};
use crate::sink::{Class, DeliverError};
use crate::telemetry::people;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The advice in an error message when Entra refuses an application.
const OURS: &str = "check tenant, client id and secret (or certificate) of `credential`";
const GIVEN: &str = "check that this machine has an identity, and `client_id` where it has several";
/// The time limit for an answer, and for a program.
const PATIENCE: Duration = Duration::from_secs(15);
/// The assumed lifetime of a token that does not tell its end, in seconds.
const LIFE_S: u64 = 3600;
/// At most this much of a program's output is read, in bytes.
const MOST_PRINTED: u64 = 64 << 10;
/// At most this many characters of an error's text are shown.
const MOST_SHOWN: usize = 300;

/// A token for a resource (an address without a path), and when it ends (seconds since the Unix epoch).
///
/// # Errors
/// `Denied` where Entra refuses, else `Transient`.
pub async fn token(entra: &Entra, ca: Option<&Path>, resource: &str) -> Result<(String, u64), DeliverError> {
    let (request, from, hint) = match entra {
        Entra::Command(words) => {
            let from = words.first().map_or("", String::as_str);
            return found(&run(words).await?, from);
        }
        Entra::ClientSecret { application, secret } => {
            let secret = secret.now();
            (apply(application, ca, resource, &[("client_secret", secret.expose())])?, &application.authority, OURS)
        }
        Entra::ClientCertificate { application, certificate, key } => {
            let audience = address(application);
            let made = assertion::assertion(certificate, key, &audience, &application.client_id, clock::wall_s())?;
            (apply(application, ca, resource, &asserted(&made))?, &application.authority, OURS)
        }
        Entra::WorkloadIdentity { application, token_file } => {
            // The file is read each time: a new token is written to it before the old token ends.
            let assertion = std::fs::read_to_string(token_file);
            let assertion = assertion.map_err(|error| {
                DeliverError::transient(format_args!("cannot read {}: {error}", token_file.display()))
            })?;
            (apply(application, ca, resource, &asserted(assertion.trim()))?, &application.authority, OURS)
        }
        Entra::ManagedIdentity { client_id, giver } => {
            let client = client(ca, false)?;
            let (request, place) = match giver {
                Giver::Imds(place) => {
                    let url = format!("{place}/metadata/identity/oauth2/token?api-version=2018-02-01");
                    (client.get(url).header("Metadata", "true"), place)
                }
                Giver::AppService(place, header) => {
                    let url = format!("{place}?api-version=2019-08-01");
                    (client.get(url).header("X-IDENTITY-HEADER", header.expose()), place)
                }
                Giver::Arc(place) => {
                    (client.get(format!("{place}?api-version=2019-11-01")).header("Metadata", "true"), place)
                }
            };
            let resource = format!("{resource}/");
            let mut about = vec![("resource", resource.as_str())];
            about.extend(client_id.as_deref().map(|id| ("client_id", id)));
            let mut request = request.query(&about);
            if let Giver::Arc(place) = giver {
                request = arc::proved(request, place).await?;
            }
            (request, place, GIVEN)
        }
    };
    found(&ask(request, from, hint).await?, from)
}

/// The token in the answer of `from`, and its end.
fn found(text: &str, from: &str) -> Result<(String, u64), DeliverError> {
    let (token, until) = read(text, clock::wall_s())
        .ok_or_else(|| DeliverError::transient(format_args!("{from}: what it gives has no token in it")))?;
    step("entra", format_args!("a token from {from}, good for {} s", until.saturating_sub(clock::wall_s())));
    Ok((token, until))
}

fn client(ca: Option<&Path>, may_be_proxied: bool) -> Result<Client, DeliverError> {
    let config = tls::client_with(Trust { ca, ..Trust::default() }).map_err(DeliverError::transient)?;
    let builder = Client::builder().tls_backend_preconfigured((*config).clone()).timeout(PATIENCE);
    let builder = if may_be_proxied { builder } else { builder.no_proxy() };
    builder.build().map_err(DeliverError::transient)
}

/// The address where an application asks for tokens.
fn address(Application { authority, tenant, .. }: &Application) -> String {
    format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'))
}

fn apply(
    application: &Application,
    ca: Option<&Path>,
    resource: &str,
    proof: &[(&str, &str)],
) -> Result<RequestBuilder, DeliverError> {
    let scope = format!("{resource}/.default");
    let mut form =
        vec![("grant_type", "client_credentials"), ("client_id", &*application.client_id), ("scope", scope.as_str())];
    form.extend(proof);
    Ok(client(ca, true)?.post(address(application)).form(&form))
}

async fn ask(request: RequestBuilder, place: &str, hint: &str) -> Result<String, DeliverError> {
    // The library's errors name the address, but no secret: secrets are in the body or in a header.
    let failed = |error: &dyn std::fmt::Display| DeliverError::transient(format_args!("{place}: {error}"));
    let answer = request.send().await.map_err(|error| {
        let cause = people::cause(&error);
        failed(&format_args!("no token: {cause}{}", clock_hint(&cause)))
    })?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| failed(&error))?;
    if status.is_success() {
        return Ok(text);
    }
    let answered: Value = serde_json::from_str(&text).unwrap_or_default();
    let answered = answered["error_description"].as_str().or(answered["error"].as_str()).unwrap_or_default();
    let answered: String = answered.lines().next().unwrap_or_default().chars().take(MOST_SHOWN).collect();
    let passes = status.is_server_error()
        || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT, StatusCode::GONE].contains(&status)
        // The metadata service answers 404 while it is being updated; an unknown tenant is a 400.
        || status == StatusCode::NOT_FOUND;
    let hint = if passes { String::new() } else { format!("; {hint}") };
    let class = if passes { Class::Transient } else { Class::Denied };
    Err(DeliverError {
        class,
        message: format!("{place} gives no token ({status}): {answered}{hint}{}", clock_hint(&answered)),
    })
}

/// The form fields with a signed proof, from another issuer or from us.
fn asserted(assertion: &str) -> [(&'static str, &str); 2] {
    [("client_assertion_type", ASSERTION), ("client_assertion", assertion)]
}

async fn run(words: &[String]) -> Result<String, DeliverError> {
    let [program, arguments @ ..] = words else {
        return Err(DeliverError { class: Class::Denied, message: "`command` is empty".into() });
    };
    let failed = |what: &dyn std::fmt::Display| DeliverError::transient(format_args!("{program}: {what}"));
    let spawned =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
    let mut child = spawned.map_err(|error| failed(&error))?;
    let output = child.stdout.take();
    let done = timeout(PATIENCE, async {
        let mut text = Vec::new();
        if let Some(output) = output {
            output.take(MOST_PRINTED).read_to_end(&mut text).await?;
        }
        Ok::<_, std::io::Error>((text, child.wait().await?))
    });
    let (text, status) = match done.await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => return Err(failed(&error)),
        Err(_) => return Err(failed(&"no token in time")),
    };
    if !status.success() {
        // The output of the program may contain anything, so it is not shown.
        return Err(failed(&format_args!("it ended with {status}")));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The token in an answer, and its end (seconds since the Unix epoch); `None` when the answer has no token.
#[must_use]
pub fn read(text: &str, now_s: u64) -> Option<(String, u64)> {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let token = match &json {
        Value::Object(_) => json["access_token"].as_str().or(json["accessToken"].as_str())?,
        _ => text.trim(),
    };
    if token.is_empty() || token.contains(char::is_whitespace) {
        return None;
    }
    // Some services write these numbers as numbers, others as text.
    let number = |name: &str| json[name].as_u64().or_else(|| json[name].as_str()?.parse().ok());
    let until = number("expires_in").map(|life| now_s.saturating_add(life)).or_else(|| number("expires_on"));
    let until = until.or_else(|| claim(token)).unwrap_or(now_s + LIFE_S);
    Some((token.to_string(), until))
}

/// The end that a JWT gives in `exp` (RFC 7519, section 4.1.4), in seconds since the Unix epoch.
fn claim(token: &str) -> Option<u64> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Value>(&payload).ok()?["exp"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_what_each_of_the_givers_answers() {
        let read = |text: &str| read(text, 1000);
        let jwt = format!("e30.{}.x", URL_SAFE_NO_PAD.encode("{\"exp\":5000}"));
        assert_eq!(read("{\"access_token\":\"t\",\"expires_in\":3599}"), Some(("t".into(), 4599)));
        assert_eq!(
            read("{\"access_token\":\"t\",\"expires_in\":\"86399\",\"expires_on\":\"9\"}"),
            Some(("t".into(), 87_399))
        );
        assert_eq!(read("{\"access_token\":\"t\",\"expires_on\":\"7000\"}"), Some(("t".into(), 7000)));
        assert_eq!(
            read(&format!("{{\"accessToken\":\"{jwt}\",\"expiresOn\":\"2026-11-25 10:00:00\"}}")),
            Some((jwt.clone(), 5000))
        );
        assert_eq!(read(&format!("{jwt}\n")), Some((jwt, 5000)));
        assert_eq!(read("opaque"), Some(("opaque".into(), 4600)));
        let endless = format!("{{\"access_token\":\"t\",\"expires_in\":{}}}", u64::MAX);
        assert_eq!(read(&endless), Some(("t".into(), u64::MAX)), "and no panic");
        for bad in ["", " \n", "{}", "{\"access_token\":7}", "two words", "{\"access_token\":\"\"}", "[1]\n[2]"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
