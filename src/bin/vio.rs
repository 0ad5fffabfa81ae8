//! The command-line tool `vio`: reads the command line, runs it, and gives the shell the exit code.

use versile_io::tool::args::Cli;
use versile_io::tool::run::run;

fn main() {
    let exit = match Cli::read(std::env::args_os()) {
        Ok(cli) => run(cli),
        Err(error) => error.report(),
    };
    // not a return from main: that would wait for a thread that reads a terminal or a file nobody needs any more. All
    // that was to be printed is printed, and nothing is buffered
    std::process::exit(exit.code().into());
}
