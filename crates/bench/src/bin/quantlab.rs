//! The program; its commands are `bench::commands`.

fn main() -> std::process::ExitCode {
    bench::commands::main()
}
