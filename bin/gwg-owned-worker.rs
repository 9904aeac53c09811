//! For tests: a worker that obeys an attacker; see `src/owned/`.
fn main() -> std::process::ExitCode {
    gwg::owned_worker_main()
}
