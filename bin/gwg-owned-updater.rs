//! For tests: an updater that obeys an attacker; see `src/owned/`.
fn main() -> std::process::ExitCode {
    gwg::owned_updater_main()
}
