//! The executable of the updater; see `src/updater/`.
fn main() -> std::process::ExitCode {
    gwg::updater_main()
}
