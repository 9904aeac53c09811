//! For tests: starts owned children as the supervisor starts its own; see `src/owned/`.
fn main() -> std::process::ExitCode {
    gwg::stand_in_main()
}
