//! For tests: an updater that obeys an attacker; see `src/owned/`.
#![allow(unsafe_code)] // as in the real one
gwg::answer_for_the_resolver!();

fn main() -> std::process::ExitCode {
    gwg::owned_updater_main()
}
