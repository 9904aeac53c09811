//! Hooks: what is accepted, and what is wrong with them.

use super::*;

/// Line 6 is the hook. `@` is the bench's directory.
fn with(hook: &str) -> String {
    format!("{SMALL}    hook: {hook}\n")
}

#[test]
fn every_mistake_in_a_hook_names_line_key_and_remedy() {
    let bench = Bench::new();
    bench.write("plain", "#!/bin/sh\n", 0o644);
    bench.write("open", "#!/bin/sh\n", 0o777);
    let at_user = |key: &str| format!("{{command: [/bin/true], {key}}}");
    for (hook, place, what, remedy) in [
        ("/bin/true".to_owned(), "", "this should be keys with values", "shipped examples"),
        ("{user: 1}".to_owned(), ".command", "the command is missing", "/bin/sh, -c"),
        ("{command: []}".to_owned(), ".command", "the command is missing", "write a list"),
        ("{command: /bin/true}".to_owned(), ".command", "this should be a list", "shipped examples"),
        ("{command: [true.sh]}".to_owned(), ".command", "the program: the path is relative", "no shell looks for it"),
        ("{command: [/bin/../bin/true]}".to_owned(), ".command", "the program: the path holds ..", "whole path"),
        ("{command: [/nonexistent/x]}".to_owned(), ".command", "there is no program /nonexistent/x", "arguments follow it"),
        ("{command: [@]}".to_owned(), ".command", "is no program", "executable file"),
        ("{command: [@/plain]}".to_owned(), ".command", "is no program", "chmod +x"),
        ("{command: [@/open]}".to_owned(), ".command", "others than its owner can write", "chmod go-w"),
        ("{command: [/bin/true, \"a\\0b\"]}".to_owned(), ".command", "zero byte", "remove it"),
        (format!("{{command: [/bin/true, \"{}\"]}}", "x".repeat(200_000)), ".command", "longer than 128 KiB", "into a file"),
        (at_user("timeout: 0"), ".timeout", "out of range", "1s to 1d"),
        (at_user("timeout: 2d"), ".timeout", "out of range", "1s to 1d"),
        (at_user("timeout: soon"), ".timeout", "this should be a number of seconds", "shipped examples"),
        (at_user("on: always"), ".on", "there is no \"always\"", "success or failure"),
        (at_user("env: {GWG_NEW: x}"), ".env.GWG_NEW", "gwg's own", "another name"),
        (at_user("env: {1A: x}"), ".env.1A", "no name of a variable", "letters, digits"),
        (at_user("env: {A-B: x}"), ".env.A-B", "no name of a variable", "letters, digits"),
        (at_user("env: {A: 1}"), ".env.A", "this should be text", "quotes"),
        (at_user("write: [@/nowhere]"), ".write[0]", "is no directory", "make it"),
        (at_user("write: [here]"), ".write[0]", "the path is relative", "whole path"),
        (at_user("user: no-such-user"), ".user", "there is no user \"no-such-user\"", "make it with: useradd --system"),
        (at_user("user: root"), ".user", "is root", "without rights"),
        (at_user("user: 64009"), ".user", "gwg is not root, so a hook runs as", "remove the key"),
        (at_user("usr: x"), "", "there is no key usr", "did you mean user?"),
        ("[{command: [/bin/true]}, {command: [/bin/true]}]".to_owned(), "[1].on", "another hook on success", "one command"),
    ] {
        let error = bench.error("c.yaml", &with(&hook));
        let place = format!("repos[0].hook{place}");
        for part in ["c.yaml:6: ", &place, what, remedy] {
            assert!(error.contains(part), "{part} is not in: {error}\nof {hook}");
        }
    }
}

#[test]
fn a_hook_is_one_or_one_of_each_kind() {
    let bench = Bench::new();
    let config = bench.load("c.yaml", &with("{command: [/bin/sh, -c, exit]}")).unwrap_or_else(|error| panic!("{error}"));
    let hooks = &config.repos[0].hooks;
    let hook = hooks.success.as_ref().unwrap();
    assert_eq!(
        (hook.command.len(), hook.timeout_ms, hook.env.len(), hook.write.is_none(), hooks.failure.is_none()),
        (3, 300_000, 0, true, true)
    );

    let toml = "[[repos]]\nurl = \"https://h/one\"\npath = \"/one\"\ndirectory = \"@/one\"\nsecret = \"0123456789abcdef\"\n\
                [[repos.hook]]\ncommand = [\"/bin/true\"]\non = \"failure\"\nwrite = [\"@\", \"@/one/cache\"]\nenv = { A = \"b\" }\n\
                [[repos.hook]]\ncommand = [\"@/one/deploy\"]\ntimeout = \"90s\"\n";
    let config = bench.load("c.toml", toml).unwrap_or_else(|error| panic!("{error}"));
    let hooks = &config.repos[0].hooks;
    let (success, failure) = (hooks.success.as_ref().unwrap(), hooks.failure.as_ref().unwrap());
    assert_eq!((success.timeout_ms, failure.write.as_ref().unwrap().len(), failure.env[0].1.expose()), (90_000, 2, &b"b"[..]));
    assert!(config.warnings.iter().any(|warning| warning.contains("whoever may push runs code")), "{:?}", config.warnings);
}

#[test]
fn a_variable_may_be_a_secret_and_is_never_told() {
    let bench = Bench::new();
    for env in ["{A: \"canary\\0\"}", "{A: [canary, canary]}", "{A: {canary: canary}}"] {
        let error = bench.error("c.yaml", &with(&format!("{{command: [/bin/true], env: {env}}}")));
        assert!(!error.contains("canary"), "{error}");
    }
}
