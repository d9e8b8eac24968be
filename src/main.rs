//! The process: its allocator, its command line, its exit code.

use std::process::ExitCode;

use scaivault_proxy::seal::ZeroOnFree;

#[global_allocator]
static ALLOCATOR: ZeroOnFree = ZeroOnFree;

fn main() -> ExitCode {
    scaivault_proxy::cli::main()
}
