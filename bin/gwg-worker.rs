//! The executable of the worker; see `src/worker/`.
fn main() -> std::process::ExitCode {
    gwg::worker_main()
}
