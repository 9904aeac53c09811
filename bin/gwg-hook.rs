//! The executable that runs hooks; see `src/hook/`.
fn main() -> std::process::ExitCode {
    gwg::hook_main()
}
