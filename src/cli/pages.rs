//! The manual pages and the completions of the packages. They are made by this test, so the program itself does not
//! carry them.

#![allow(clippy::unwrap_used, reason = "a test")]

use super::Arguments;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use std::path::Path;

/// The commands of the feature `lab`, which packages do not have.
const LAB: [&str; 3] = ["hub", "demo", "bench"];

/// The command line of a package.
fn packaged() -> Command {
    let all = Arguments::command();
    let commands = all.get_subcommands().filter(|command| !LAB.contains(&command.get_name())).cloned();
    let about = all.get_about().cloned().unwrap_or_default();
    let arguments = all.get_arguments().cloned();
    Command::new("forebay").version(env!("CARGO_PKG_VERSION")).about(about).args(arguments).subcommands(commands)
}

/// The manual page of a command, and those of its own commands.
fn manuals(command: &Command, name: &str, made: &mut Vec<(String, Vec<u8>)>) {
    let mut page = Vec::new();
    let own: &str = name.to_string().leak();
    let named = command.clone().name(own).version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    Man::new(named).render(&mut page).unwrap();
    made.push((format!("man/{name}.1"), page));
    for own in command.get_subcommands() {
        manuals(own, &format!("{name}-{}", own.get_name()), made);
    }
}

#[test]
fn manual_pages_and_completions_are_those_that_the_code_gives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let mut made = Vec::new();
    manuals(&packaged(), "forebay", &mut made);
    for (shell, path) in [(Shell::Bash, "forebay.bash"), (Shell::Zsh, "_forebay"), (Shell::Fish, "forebay.fish")] {
        let mut script = Vec::new();
        generate(shell, &mut packaged(), "forebay", &mut script);
        made.push((format!("completions/{path}"), script));
    }
    for (path, made) in made {
        let path = root.join(path);
        if std::env::var_os("FOREBAY_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &made).unwrap();
        }
        let is = std::fs::read(&path).unwrap_or_default();
        assert!(is == made, "{} is not what the code gives: run again with FOREBAY_BLESS=1", path.display());
    }
}
