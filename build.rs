//! Tells the executables which versions they are linked with, for `--version`: hyper has no constant
//! for its own, and gwg's supervisor holds no libgit2 that it could ask. From Cargo.lock, which is
//! what is built; tests/floors.rs asks the libraries themselves where they can say it.

use std::fs;

/// Package, name as people know it, and whether the library's own version is behind the `+`.
const SHOWN: [(&str, &str, bool); 4] =
    [("hyper", "hyper", false), ("libgit2-sys", "libgit2", true), ("libssh2-sys", "libssh2-sys", false), ("openssl-src", "OpenSSL", true)];

fn main() {
    println!("cargo:rerun-if-changed=Cargo.lock");
    println!("cargo:rerun-if-changed=build.rs");
    let lock = fs::read_to_string("Cargo.lock").unwrap_or_default();
    let shown = SHOWN.map(|(package, name, vendored)| {
        let version = version(&lock, package).unwrap_or("unknown");
        let version = if vendored { version.rsplit('+').next().unwrap_or(version) } else { version };
        format!("{name} {version}")
    });
    println!("cargo:rustc-env=GWG_LINKED={}", shown.join(", "));
}

fn version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let block = lock.split("[[package]]").find(|block| block.contains(&format!("\nname = \"{package}\"\n")))?;
    block.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
}
