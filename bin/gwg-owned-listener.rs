//! For tests: a listener that obeys an attacker; see `src/owned/`.
fn main() -> std::process::ExitCode {
    gwg::owned_listener_main()
}
