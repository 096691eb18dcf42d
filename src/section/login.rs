//! A name and a password.

use super::{Secret, Section};

/// Name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: Secret,
}

impl Login {
    /// Reads `username` and `password`, which go together.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let user = section.text("username").doc("The user name. It goes with `password`.").get();
        let password = section.secret("password", "The password. It goes with `username`.");
        match (section.has("username"), section.has("password")) {
            (true, false) => {
                let hint = "for example: password = { env = \"PASSWORD\" }";
                section.wrong_because("username", "`username` without `password`", hint);
            }
            (false, true) => section.wrong("password", "`password` without `username`"),
            _ => {}
        }
        Some(Self { user: user?, password: password? })
    }
}
