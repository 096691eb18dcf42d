//! The identity of a machine outside Azure: Azure Arc's agent gives tokens to programs that can read its file.
//!
//! The steps are those of "Authenticate against Azure resources with Azure Arc-enabled servers". The agent refuses
//! the first request and names the file. The second request shows the content of the file.

use crate::section::Secret;
use crate::sink::{Class, DeliverError};
use crate::telemetry::people;
use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, StatusCode};
use std::path::{Path, PathBuf};

/// The folder where the agent writes the file; a file in another folder is not trusted.
const FOLDER: &str = "/var/opt/azcmagent/tokens";
/// The largest size of the file that is accepted, in bytes.
const MOST: u64 = 4096;

/// Adds the proof that the agent asks for to a request.
///
/// # Errors
/// When the agent does not ask for a proof, or the file cannot be read.
pub async fn proved(request: RequestBuilder, place: &str) -> Result<RequestBuilder, DeliverError> {
    let failed = |what: &str| DeliverError::transient(format_args!("{place}: {what}"));
    let first = request.try_clone().ok_or_else(|| failed("the request cannot be made twice"))?;
    let answer = first.send().await.map_err(|error| failed(&people::cause(&error)))?;
    if answer.status() != StatusCode::UNAUTHORIZED {
        return Err(failed(&format!("Azure Arc's agent does not ask for a proof, but answers {}", answer.status())));
    }
    let challenge = answer.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    let denied = |message: String| DeliverError { class: Class::Denied, message };
    let file = challenge.and_then(|challenge| file(challenge, Path::new(FOLDER)));
    let file = file.ok_or_else(|| denied(format!("{place}: names no file in {FOLDER}")))?;
    let size = std::fs::metadata(&file).map_or(0, |about| about.len());
    if size > MOST {
        return Err(denied(format!("{}: {size} bytes, where {MOST} is the most", file.display())));
    }
    let proof = std::fs::read_to_string(&file).map(Secret::new).map_err(|error| {
        let message = format!("cannot read {}: {error}", file.display());
        match error.kind() {
            // The agent writes a new file for each request.
            std::io::ErrorKind::NotFound => DeliverError::transient(message),
            _ => denied(format!("{message}; the user that Forebay runs as must be in the group himds")),
        }
    })?;
    Ok(request.header(AUTHORIZATION, format!("Basic {}", proof.expose().trim())))
}

/// The file that a challenge names, if it is one of the agent's.
fn file(challenge: &str, folder: &Path) -> Option<PathBuf> {
    let path = PathBuf::from(challenge.trim().strip_prefix("Basic realm=")?.trim_matches('"'));
    let is_ours = path.parent() == Some(folder) && path.extension().is_some_and(|ending| ending == "key");
    is_ours.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_in_the_agents_folder_is_believed() {
        let file = |challenge: &str| file(challenge, Path::new(FOLDER));
        let good = PathBuf::from("/var/opt/azcmagent/tokens/a.key");
        assert_eq!(file("Basic realm=/var/opt/azcmagent/tokens/a.key"), Some(good.clone()));
        assert_eq!(file("Basic realm=\"/var/opt/azcmagent/tokens/a.key\""), Some(good));
        for bad in [
            "Basic realm=/etc/shadow",
            "Basic realm=/var/opt/azcmagent/tokens/../../../../etc/x.key",
            "Basic realm=/var/opt/azcmagent/tokens/a.txt",
            "Bearer realm=/var/opt/azcmagent/tokens/a.key",
            "",
        ] {
            assert_eq!(file(bad), None, "{bad}");
        }
    }
}
