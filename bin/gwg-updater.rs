//! The executable of the updater; see `src/updater/`.
#![allow(unsafe_code)] // two functions that libgit2 finds in place of the C library's
gwg::answer_for_the_resolver!();

fn main() -> std::process::ExitCode {
    gwg::updater_main()
}
