//! The executable of the listener; see `src/listener/`.
fn main() -> std::process::ExitCode {
    gwg::listener_main()
}
