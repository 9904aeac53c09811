//! The executable of the supervisor and of the operator's commands; see `src/cli/`.
fn main() -> std::process::ExitCode {
    gwg::gwg_main()
}
