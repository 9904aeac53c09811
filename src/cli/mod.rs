//! The operator's commands. Runs in the supervisor's executable; flags and help have one source.

mod ask;
mod audit;
mod check;
mod delivery;
mod demo;
mod exit;
mod manual;
mod places;
mod secret;
mod setup;

use crate::{config, supervisor};
use clap::{CommandFactory, Parser, Subcommand};
use exit::{Exit, Failure};
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Keeps git work trees equal to their remotes: a signed push webhook arrives, the tree follows.
///
/// Without a command gwg runs in the foreground until SIGTERM or SIGINT.
#[derive(Debug, Parser)]
#[command(name = "gwg", version = VERSION, after_help = EXAMPLES)]
struct Flags {
    /// The configuration, in YAML, TOML or JSON. Without it, config.yaml, .yml, .toml or .json in
    /// /etc/gwg, then (unless root) in the current directory.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks the configuration and prints what would run; exit status 78 where it is wrong.
    Check(Question),
    /// What can be done with audit files.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Shows the main job on this machine, with nothing but its own git.
    ///
    /// Sets up a remote on loopback, starts the real processes on it, pushes, delivers, forges and
    /// kills. Needs no configuration, no network and no root. Exit status 0 if all of it worked.
    Demo,
    /// Says how it stands with the running gateway and its repositories.
    Status(ask::status::Wishes),
    /// Has repositories updated now.
    Update(ask::update::Wishes),
    /// Shows what happened: deliveries and updates.
    Log(ask::log::Wishes),
    /// Has the running gateway read its configuration again.
    Reload(ask::connect::Where),
    /// Lists the work trees of repositories that are no longer configured, and deletes those that may go.
    ///
    /// A tree may go if gwg cloned it and nobody has changed it since: every file is as its commit has it, there are
    /// no others, and HEAD is where gwg left it. Of every other one it says why it stays.
    Prune(ask::prune::Wishes),
    /// Has the executable that is installed now take over from the running gateway, in the same process.
    ///
    /// It is tried first: one that can't run, or refuses the configuration, changes nothing. No connection is
    /// refused or reset meanwhile; what runs gets 30 s to end, and is made good where it takes longer.
    Upgrade(ask::connect::Where),
    /// Says whether this executable could take over: a running gateway asks it.
    #[command(hide = true)]
    Successor {
        /// Where that gateway listens.
        #[arg(long)]
        listen: Option<SocketAddr>,
        /// The children's executables, as it has opened them: NAME=DESCRIPTOR.
        #[arg(value_parser = descriptor)]
        executables: Vec<(String, RawFd)>,
    },
    /// Makes a delivery to the running gateway, signed as the forge would.
    Send(ask::send::Wishes),
    /// Prints a random webhook secret.
    Secret,
    /// Prints what a new repository needs: configuration, deploy key, host key, webhook.
    Setup(setup::Wishes),
    /// Prints a shell's completions for gwg.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Writes the manual pages into a directory, for packages.
    #[command(hide = true)]
    Man {
        /// Where to.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Says whether each record of an audit file is as it was written and in its place, and which is not.
    ///
    /// Of several files, the older first, the chain must go on from one to the next. Exit status 1 where
    /// a record was changed, removed or moved. What is missing at the end shows beside syslog only.
    Verify {
        /// The files.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

/// What this is, and what its executables are linked with.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("GWG_LINKED"), ")");

/// What `gwg check` is asked instead of what would run.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Question {
    /// Says which layers of confinement this machine offers. Reads no configuration.
    #[arg(long)]
    host: bool,
    /// Prints what AppArmor's local files need for the places that the configuration names.
    #[arg(long)]
    apparmor: bool,
    /// Prints the commands that label those places for SELinux.
    #[arg(long)]
    selinux: bool,
    /// Prints what systemd's unit needs for those places.
    #[arg(long)]
    systemd: bool,
}

const EXAMPLES: &str = "\
Examples:
  gwg                              run with /etc/gwg/config.yaml
  gwg --config ./site.toml         run with another configuration
  gwg check --config ./site.toml   say what that would do, or what is wrong with it
  gwg check --host                 say how far this machine can confine gwg's processes
  gwg setup git@HOST:PATH          say what a new repository needs
  gwg audit verify FILE            say whether an audit file is as it was written
  GWG_PORT=8080 gwg                variables override global keys";

/// Reads the flags and does what they say.
pub fn main() -> ExitCode {
    let flags = Flags::parse();
    // Secrets are read from here on. No core dump holds them, and no other process of this user,
    // a child that was taken over among them, may look into this one or take its descriptors.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        let _ = writeln!(std::io::stderr(), "gwg: prctl(PR_SET_DUMPABLE): {error}");
        return ExitCode::FAILURE;
    }
    let mut env = config::Environment::of_process();
    match flags.command {
        None => {
            supervisor::hold_harmless();
            let origin = config::Origin { file: flags.config, env };
            match load(&origin) {
                (Ok(config), sources) => supervisor::main(config, origin, sources),
                (Err(error), _) => refuse(&error),
            }
        }
        Some(Command::Demo) => demo::main(),
        Some(Command::Audit(AuditCommand::Verify { files })) => audit::main(&files),
        Some(Command::Status(wishes)) => end(ask::status::show(&wishes)),
        Some(Command::Update(wishes)) => end(ask::update::update(&wishes)),
        Some(Command::Log(wishes)) => end(ask::log::show(&wishes)),
        Some(Command::Prune(wishes)) => end(ask::prune::prune(&wishes)),
        Some(Command::Reload(gateway)) => end(ask::reload(&gateway)),
        Some(Command::Upgrade(gateway)) => end(ask::upgrade(&gateway)),
        Some(Command::Successor { listen, executables }) => {
            env.dry = true;
            match config::load(flags.config.as_deref(), &env) {
                Ok(config) => end(could_take_over(&config, listen, executables)),
                Err(error) => refuse(&error),
            }
        }
        Some(Command::Send(wishes)) => {
            env.dry = true;
            end(ask::send::send(&wishes, flags.config.as_deref(), &env))
        }
        Some(Command::Secret) => end(secret::make().map(|secret| secret + "\n")),
        Some(Command::Setup(wishes)) => end(setup::text(&wishes)),
        Some(Command::Completions { shell }) => end(completions(shell)),
        Some(Command::Man { output }) => end(manual::write(&Flags::command(), &output).map(|()| String::new()).map_err(Failure::from)),
        Some(Command::Check(Question { host: true, .. })) => print(&supervisor::host()),
        Some(Command::Check(question)) => {
            env.dry = true;
            match config::load(flags.config.as_deref(), &env) {
                Ok(config) => print(&answer(&question, &config, &env)),
                Err(error) => refuse(&error),
            }
        }
    }
}

/// How long one who takes over waits for a configuration that was right just before: somebody may be saving it.
const SAVING: Duration = Duration::from_secs(10);

fn load(origin: &config::Origin) -> (Result<config::Config, config::ConfigError>, config::Sources) {
    let begun = Instant::now();
    loop {
        let (loaded, sources) = origin.load();
        if loaded.is_ok() || !supervisor::is_handed_over() || begun.elapsed() > SAVING {
            return (loaded, sources);
        }
        std::thread::sleep(SAVING / 100);
    }
}

fn descriptor(text: &str) -> Result<(String, RawFd), String> {
    let (name, number) = text.split_once('=').ok_or("NAME=DESCRIPTOR is wanted")?;
    Ok((name.to_owned(), number.parse().map_err(|error| format!("{number}: {error}"))?))
}

fn could_take_over(config: &config::Config, listen: Option<SocketAddr>, executables: Vec<(String, RawFd)>) -> Result<String, Failure> {
    match supervisor::could_take_over(config, listen, executables.into_iter().collect()) {
        Ok(()) => Ok(format!("{} {}\n", supervisor::YES, env!("CARGO_PKG_VERSION"))),
        Err(why) => Err(Failure::new(Exit::Failed, why)),
    }
}

fn answer(question: &Question, config: &config::Config, env: &config::Environment) -> String {
    match question {
        Question { apparmor: true, .. } => places::apparmor(config),
        Question { selinux: true, .. } => places::selinux(config),
        Question { systemd: true, .. } => places::systemd(config),
        Question { .. } => check::report(config, env),
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Ends a command with what it has to say.
fn end(said: Result<String, Failure>) -> ExitCode {
    match said {
        Ok(text) => print(&text),
        Err(Failure { exit, message }) => {
            // Where standard error is closed there is nobody to tell; the exit status still says it.
            let _ = writeln!(std::io::stderr(), "gwg: {message}");
            exit.into()
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<String, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Flags::command(), "gwg", &mut script);
    String::from_utf8(script).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

fn refuse(error: &config::ConfigError) -> ExitCode {
    // Where standard error is closed there is nobody to tell; the exit status still says it.
    let _ = writeln!(std::io::stderr(), "{error}");
    Exit::Config.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_well_formed() {
        Flags::command().debug_assert();
    }

    #[test]
    fn the_configuration_may_be_named_before_and_after_the_command() {
        for words in [["gwg", "check", "--config", "x.yaml"], ["gwg", "--config", "x.yaml", "check"]] {
            let flags = Flags::try_parse_from(words).unwrap();
            assert_eq!(flags.config, Some("x.yaml".into()));
            assert!(matches!(flags.command, Some(Command::Check(Question { host: false, .. }))));
        }
        assert!(Flags::try_parse_from(["gwg"]).unwrap().command.is_none());
        assert!(Flags::try_parse_from(["gwg", "chekc"]).is_err());
    }
}
