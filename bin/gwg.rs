//! The executable of the supervisor and of the operator's commands; see `src/cli/`.
use gwg::confine::heap::Wiping;
use std::alloc::System;

#[global_allocator]
static HEAP: Wiping = Wiping(System);

fn main() -> std::process::ExitCode {
    gwg::gwg_main()
}
