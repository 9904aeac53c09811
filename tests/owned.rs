//! The builds that obey an attacker are for tests, and can't get into an installation: no default
//! feature, no release build, no trace in the ordinary executables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use support::owned;
use support::scratch::Scratch;

const CHILDREN: [&str; 2] = ["gwg-listener", "gwg-updater"];

/// What only they contain: the argument that leaves layers out, and the names of the room's functions.
const TRACES: [&str; 2] = ["--without=", "3gwg5owned"];

fn contains(executable: &Path, trace: &str) -> bool {
    let status = Command::new("grep").args(["-q", "-a", "-F", "-e", trace]).arg(executable).status().unwrap();
    match status.code() {
        Some(0) => true,
        Some(1) => false,
        _ => panic!("grep in {}: {status}", executable.display()),
    }
}

#[test]
fn no_ordinary_executable_contains_a_trace_of_it() {
    for executable in
        [env!("CARGO_BIN_EXE_gwg"), env!("CARGO_BIN_EXE_gwg-listener"), env!("CARGO_BIN_EXE_gwg-worker"), env!("CARGO_BIN_EXE_gwg-updater")]
    {
        TRACES.iter().for_each(|trace| assert!(!contains(Path::new(executable), trace), "{trace} in {executable}"));
    }
    let Some(directory) = owned::directory() else { return };
    for executable in CHILDREN.map(|name| directory.join(name.replace("gwg-", "gwg-owned-"))) {
        TRACES.iter().for_each(|trace| assert!(contains(&executable, trace), "no {trace} in {executable:?}: this test sees nothing"));
    }
}

/// What the compiler says of the sources alone. It finds no crate, and says so after it has read the features.
fn compiled(feature: &[&str], assertions: &str) -> String {
    let cargo = owned::cargo();
    let compiler = Path::new(cargo.get_program()).with_file_name("rustc");
    let mut command = Command::new(if compiler.is_file() { compiler } else { "rustc".into() });
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--out-dir"]);
    let scratch = Scratch::new();
    command.arg(scratch.path());
    command.args(feature).arg(format!("-Cdebug-assertions={assertions}")).arg("src/lib.rs");
    let output = command.env("CARGO_PKG_VERSION", "0").output().unwrap();
    assert!(!output.status.success(), "the compiler needs no crate: this test sees nothing");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_release_build_refuses_the_feature() {
    const FEATURE: &[&str] = &["--cfg", "feature=\"owned\""];
    const REFUSAL: &str = "never for a release build";
    assert!(compiled(FEATURE, "off").contains(REFUSAL));
    assert!(!compiled(FEATURE, "on").contains(REFUSAL), "it says so always: this test sees nothing");
    assert!(!compiled(&[], "off").contains(REFUSAL), "the ordinary release build is refused");
}

#[test]
fn no_other_feature_and_no_profile_brings_it() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let features = manifest.split_once("\n[features]\n").unwrap().1.split_once("\n[[bin]]").unwrap().0;
    let code: Vec<_> = features.lines().filter(|line| !line.starts_with('#') && line.contains("owned")).collect();
    assert_eq!(code, ["owned = []"]);
    assert!(!manifest.contains("debug-assertions"), "a profile changes what a release build is");
}
