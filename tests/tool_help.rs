//! The help texts of `vio` as they are printed, so that a change of a flag, an option or an exit code shows up as a diff.
//!
//! They are written at a width of 80 columns whatever the terminal of the test is. `cargo insta review`, or
//! `INSTA_UPDATE=always cargo test`, takes a wanted change over.
#![cfg(feature = "cli")]

use versile_io::tool::args::Cli;

/// The long help of the tool, or of one of its commands.
fn help(command: Option<&str>) -> String {
    let mut vio = Cli::definition().term_width(80);
    vio.build();
    match command {
        None => vio.render_long_help().to_string(),
        Some(name) => vio.find_subcommand_mut(name).expect("a command").render_long_help().to_string(),
    }
}

fn check(name: &str, help: String) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, help));
}

#[test]
fn vio_help() {
    check("vio_help", help(None));
}

#[test]
fn vio_relay_help() {
    check("vio_relay_help", help(Some("relay")));
}

#[test]
fn vio_copy_help() {
    check("vio_copy_help", help(Some("copy")));
}
