//! Supervisor (to come).

/// Runs the gateway.
pub fn main(_: crate::config::Config) -> std::process::ExitCode {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "gwg: the supervisor is not there yet");
    std::process::ExitCode::FAILURE
}
