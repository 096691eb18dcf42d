//! Masks secrets in texts that are shown. A configuration may contain a secret by mistake: in the open, under a
//! misspelt key, in a URL. Even then, no output shows the secret.

use super::problem::nearest;
use regex_lite::{Captures, Regex};
use std::sync::OnceLock;

/// Words in the names of keys whose values are secrets, or contain secrets.
const KEYS: [&str; 9] =
    ["connection", "password", "pass", "secret", "token", "credential", "signature", "sharedaccesskey", "apikey"];
/// Patterns of texts that are always masked. The group `secret` of each pattern is the part to mask.
const PATTERNS: [&str; 6] = [
    // User and password in a URL; the password may have any character but spaces and quotes.
    r#"://(?P<secret>[^\s"'`]*)@"#,
    // The same without a scheme.
    r#"[^\s"'`:/@,\[]+:(?P<secret>[^\s"'`]+)@"#,
    r#"(?i)(sharedaccesskey|sharedaccesssignature|accountkey|password|passwd|pwd|token|sig)\s*=\s*["']?(?P<secret>[^;&\s"'`{]+)"#,
    // A JSON Web Token.
    r"(?P<secret>eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]+)*)",
    // A key in base64 or hex.
    r"(?P<secret>[A-Za-z0-9+_-]{32,}={0,2})",
    // A key in base64 with a slash looks like a path; only `=` at its end shows that it is a key.
    r"(?P<secret>[A-Za-z0-9+/]{31,}={1,2})",
];

fn patterns() -> &'static [Regex] {
    static COMPILED: OnceLock<Vec<Regex>> = OnceLock::new();
    // A pattern that does not compile would be found by every test of this file.
    COMPILED.get_or_init(|| PATTERNS.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect())
}

/// Replaces each character by a star, so that the marks below a line stay in their place.
fn stars(text: &str) -> String {
    "*".repeat(text.chars().count())
}

/// Masks everything in a text that looks like a secret.
#[must_use]
pub fn text(text: &str) -> String {
    let mut out = text.to_string();
    for pattern in patterns() {
        let masked = pattern.replace_all(&out, |found: &Captures<'_>| {
            let (Some(all), Some(secret)) = (found.get(0), found.name("secret")) else { return String::new() };
            let (before, after) = (&out[all.start()..secret.start()], &out[secret.end()..all.end()]);
            format!("{before}{}{after}", stars(secret.as_str()))
        });
        out = masked.into_owned();
    }
    out
}

/// Masks a line of a configuration. `is_broken` means that the text is not TOML, so values cannot be recognised.
#[must_use]
pub fn line(line: &str, is_broken: bool) -> String {
    if !is_broken && let Some(at) = outside_quotes(line).find('#') {
        // `outside_quotes` keeps the place of every character, so its index is valid in the line too.
        let at = line.char_indices().nth(at).map_or(line.len(), |(at, _)| at);
        let (code, comment) = line.split_at(at);
        let is_value = comment.contains(['=', ':', '"', '\'']);
        let comment = if is_value && names_a_secret(comment) { stars(comment) } else { text(comment) };
        return format!("{}{comment}", self::line(code, false));
    }
    let (key, value) = match line.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (line, None),
    };
    let is_key = key.trim().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.\"'".contains(&byte));
    let key = if is_key || !is_broken { text(key) } else { stars(key) };
    let is_table = line.trim_start().starts_with('[');
    match value {
        Some(value) if is_broken || names_a_secret(&key) || names_a_secret(&outside_quotes(line)) => {
            format!("{key}={}", values_masked(value, is_broken))
        }
        None if is_broken && !is_table => stars(line),
        _ => logins_masked(&text(line)),
    }
}

/// Masks logins in quoted texts: everything before an `@`, except the scheme. A login may have spaces.
fn logins_masked(line: &str) -> String {
    let mut parts: Vec<String> = line.split('"').map(String::from).collect();
    for text in parts.iter_mut().skip(1).step_by(2) {
        let Some(end) = text.rfind('@') else { continue };
        let begin = text[..end].find("://").map_or(0, |at| at + 3);
        if text[begin..end].contains(':') {
            *text = format!("{}{}{}", &text[..begin], stars(&text[begin..end]), &text[end..]);
        }
    }
    parts.join("\"")
}

/// Whether a word of a text is the name of a secret.
#[must_use]
pub fn names_a_secret(text: &str) -> bool {
    text.split(|c: char| !is_of_a_word(c)).any(is_secret)
}

fn is_of_a_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Whether a word is the name of a secret, perhaps misspelt.
fn is_secret(word: &str) -> bool {
    let word = word.to_ascii_lowercase().replace(['_', '-'], "");
    KEYS.iter().any(|key| word.contains(key)) || word.len() > 4 && nearest(&word, KEYS).is_some()
}

/// Blanks the characters in quotes. The result has one ASCII character for each character of the line.
fn outside_quotes(line: &str) -> String {
    let mut quote = None;
    let keep = |c: char| match quote {
        Some(open) => {
            quote = quote.filter(|_| c != open);
            ' '
        }
        None => {
            quote = Some(c).filter(|c| matches!(c, '"' | '\''));
            if c.is_ascii() { c } else { ' ' }
        }
    };
    line.chars().map(keep).collect()
}

/// Replaces texts in quotes by stars. Where the quotes do not show which part is a text, the whole value becomes
/// stars.
fn values_masked(value: &str, is_broken: bool) -> String {
    let quotes = value.chars().filter(|c| matches!(c, '"' | '\'')).count();
    if is_broken || quotes == 0 || quotes % 2 == 1 || value.contains('\\') {
        let start = value.len() - value.trim_start().len();
        return format!("{}{}", &value[..start], stars(&value[start..]));
    }
    let mut quote = None;
    let mask = |c: char| match quote {
        Some(open) if c == open => {
            quote = None;
            c
        }
        Some(_) => '*',
        // A number may be a secret too.
        None if c.is_ascii_digit() => '*',
        None => {
            quote = Some(c).filter(|c| matches!(c, '"' | '\''));
            c
        }
    };
    value.chars().map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_left_in_a_line_whatever_the_mistake() {
        for shown in [
            "connection = \"Endpoint=sb://x/;SharedAccessKeyName=k;SharedAccessKey=hunter2\"",
            "conection = \"hunter2\"",
            "password = \"hunter2\"",
            "pasword = \"hunter2\"",
            "passphrase_password = 'hunter2'",
            "sasl = { mechanism = \"plain\", username = \"u\", password = \"hunter2\" }",
            "url = \"mqtt://user:hunter2@host\"",
            "urls = [\"mqtt://a\", \"mqtt://user:hun/ter2hunter2@host\"]",
            "topics = \"Endpoint=sb://x/;SharedAccessKey=hunter2;EntityPath=e\"",
            "token = hunter2",
            "device = \"Pwd=hunter2;\"",
            "secret = \"hunter2",
            "# password=hunter2",
            "ä = 1 # old: password = \"hunter2\"",
            "pass = \"hunter2\"",
            "passphrase = 'hunter2'",
            "\"password\" = \"hunter2\"",
            "password = \"say \\\"hunter2\\\" now\"",
            "sasl = { username = \"u\", password = \"hunter2\", x = 5 }",
            "url = \"mqtt://user:hun hunter2@b\"",
            "brokers = [\"u:hunter2@k:9092\"]",
            "url = \"ws://b/mqtt?token=hunter2\"",
            "password = { env = \"NOPE\" } # token: hunter2",
        ] {
            assert!(!line(shown, false).contains("hunter2"), "{}", line(shown, false));
            assert_eq!(line(shown, false).chars().count(), shown.chars().count());
        }
        for broken in
            ["password = \"hunter2", "hunter2\"\"\"", "x = hunter2 \"a\"", "password : hunter2", "password: hunter2="]
        {
            assert!(!line(broken, true).contains("hunter2"), "{}", line(broken, true));
        }
        let key = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=";
        assert!(!text(&format!("`{key}` is no name")).contains("c2Vj"));
        for key in ["abcdefghijklmnop/qrstuvwxyz0123456789ABCDEF=", "user:hunter2abc@host"] {
            assert!(!text(key).contains("abc"), "{}", text(key));
        }
        assert_eq!(text("password = { env = \"MQTT_PASSWORD\" }"), "password = { env = \"MQTT_PASSWORD\" }");
        assert!(!text("Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc_def").contains("eyJ"));
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        for shown in [
            "qos = 7",
            "topics = [\"plant/#\", \"a\"]",
            "url = \"mqtt://10.0.0.5:1884\"",
            "kind = \"flie\"",
            "[source.plant]",
            "path = \"/var/log/app.log\"",
            "linger = 5",
            "event_hub = \"readings\"   # where the connection string has no EntityPath",
        ] {
            assert_eq!(line(shown, false), shown);
        }
        assert_eq!(line("[source.a", true), "[source.a");
        assert_eq!(text("unknown key `topic`"), "unknown key `topic`");
    }
}
