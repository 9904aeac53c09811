//! Every mistake: its message names the file, the line, the key, what is wrong and what to do.

use super::*;

/// Line 6 is the first of the repository.
const BASE: &str = "listen: localhost
port: 5555
logging:
  level: info
repos:
  - url: git&github.com:ns/one.git
    path: /one
    directory: @/one
    secret: 0123456789abcdef
    sshPrivKey: @/key
";

fn with(from: &str, to: &str) -> String {
    assert!(BASE.contains(from), "{from}");
    BASE.replace(from, to)
}

/// Loads a text in which & stands for the @ of a URL.
fn error_of(bench: &Bench, text: &str) -> String {
    let text = text.replace('@', bench.directory.path().to_str().unwrap()).replace('&', "@");
    let path = bench.at("c.yaml");
    fs::write(&path, &text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    load(Some(&path), &bench.env).err().unwrap_or_else(|| panic!("accepted:\n{text}")).to_string()
}

#[test]
fn every_mistake_names_line_key_and_remedy() {
    let bench = Bench::new();
    bench.write("k.pub", "ssh-ed25519 AAAA me", 0o600);
    bench.write("empty", "\n", 0o600);
    let second = |keys: &str| format!("{BASE}  - {{url: \"https://h/two\", secret: 0123456789abcdef, {keys}}}\n");
    for (text, place, what, remedy) in [
        (with("port: 5555", "port: 0"), ":2: port", "0 is out of range", "from 1 to 65535"),
        (with("port: 5555", "port: 65536"), ":2: port", "65536 is out of range", "from 1 to 65535"),
        (with("port: 5555", "port: x"), ":2: port", "this should be a whole number", "digits"),
        (with("port: 5555", "retry_count: 0"), ":2: retry_count", "out of range", "from 1"),
        (with("port: 5555", "retry_delay: -1"), ":2: retry_delay", "can't be negative", ""),
        (with("port: 5555", "retry_delay: 2d"), ":2: retry_delay", "too long", "1 days"),
        (with("port: 5555", "reconcile: often"), ":2: reconcile", "a number of seconds", "examples"),
        (with("port: 5555", "threads: 0"), ":2: threads", "out of range", "from 1 to 1000"),
        (with("port: 5555", "limits: {pack: 1}"), ":2: limits.pack", "out of range", "from 64KiB"),
        (with("port: 5555", "limits: {object: 10 gigs}"), ":2: limits.object", "a number of bytes", ""),
        (with("port: 5555", "limits: {files: -1}"), ":2: limits.files", "out of range", "from 1 to"),
        (with("port: 5555", "limits: {deadline: 500ms}"), ":2: limits.deadline", "out of range", "from 1 second"),
        (with("port: 5555", "gc: {objects: often}"), ":2: gc.objects", "neither auto nor off", "write auto or off"),
        (with("port: 5555", "gc: {object: auto}"), ":2: gc.object", "no key object", "did you mean objects?"),
        (with("port: 5555", "limits: {file: 1}"), ":2: limits.file", "no key file", "did you mean files?"),
        (with("    path: /one\n", "    path: /one\n    limits: {tree: 0}\n"), ":8: repos[0].limits.tree", "out of range", "from 64KiB"),
        (with("port: 5555", "initialise: 1"), ":2: initialise", "true or false", "quotes"),
        (with("localhost", "example.org"), ":1: listen", "is not an address", "localhost"),
        (with("localhost", "127.0.0.1:80"), ":1: listen", "is not an address", "port"),
        (with("level: info", "level: inof"), ":4: logging.level", "no level \"inof\"", "did you mean info?"),
        (with("level: info", "output: log"), ":4: logging.output", "relative", "whole path"),
        (with("level: info", "output: @/no/log"), ":4: logging.output", "can't be opened", "directory"),
        (with("level: info", "levle: info"), ":4: logging.levle", "no key levle", "did you mean level?"),
        (with("port: 5555", "prot: 5555"), ":2: prot", "no key prot", "did you mean port?"),
        (with("port: 5555", "zzz: 5555"), ":2: zzz", "no key zzz", "the keys here are listen, port"),
        (with("path: /one", "pth: /one"), ":7: repos[0].pth", "no key pth", "did you mean path?"),
        (with("path: /one", "sshprivkey: /one"), ":7: repos[0].sshprivkey", "no key sshprivkey", "did you mean sshPrivKey?"),
        (with("port: 5555", "listen: x"), "", "duplicate", "syntax"),
        (with("port: 5555", "  port: 1"), "", "", "syntax"),
        (with("  - url: git&github.com:ns/one.git\n    path", "  - path"), ":6: repos[0].url", "missing", "every repository needs"),
        (with("    path: /one\n", ""), ":6: repos[0].path", "missing", "every repository needs"),
        (with("    directory: @/one\n", ""), ":6: repos[0].directory", "missing", "every repository needs"),
        (with("directory: @/one", "directory:"), ":8: repos[0].directory", "missing", "every repository needs"),
        (with("    secret: 0123456789abcdef\n", ""), ":6: repos[0].secret", "missing", "secretFile"),
        (with("0123456789abcdef", ""), ":9: repos[0].secret", "missing", "unsigned: true"),
        (with("0123456789abcdef", "''"), ":9: repos[0].secret", "empty", "openssl rand"),
        (with("0123456789abcdef", "[]"), ":9: repos[0].secret", "missing", "unsigned: true"),
        (with("0123456789abcdef", "[0123456789abcdef, '']"), ":9: repos[0].secret", "empty", "openssl rand"),
        (with("0123456789abcdef", "12345"), ":9: repos[0].secret", "this should be text", "quotes"),
        (with("secret: 0123456789abcdef", "secretFile: @/empty"), ":9: repos[0].secretFile", "empty", "openssl rand"),
        (with("secret: 0123456789abcdef", "secretFile: @/none"), ":9: repos[0].secretFile", "can't be read (No such file", "owner"),
        (with("    path", "    secretFile: @/empty\n    path"), ":7: repos[0].secretFile", "a secret as well", "list"),
        (with("    path", "    unsigned: true\n    path"), ":7: repos[0].unsigned", "and has a secret", "remove"),
        (with("    path", "    signature: md5\n    path"), ":7: repos[0].signature", "no kind of signature", "sha256"),
        (with("path: /one", "path: one"), ":7: repos[0].path", "does not begin with a slash", "write /one"),
        (with("path: /one", "path: /a/../b"), ":7: repos[0].path", "/../", "plainly"),
        (with("path: /one", "path: /a?b"), ":7: repos[0].path", "letter", "%XX"),
        (with("directory: @/one", "directory: srv/one"), ":8: repos[0].directory", "relative", "from /"),
        (with("directory: @/one", "directory: ~/one"), ":8: repos[0].directory", "~", "whole path"),
        (with("directory: @/one", "directory: /etc"), ":8: repos[0].directory", "belongs to the system", "of the repository's own"),
        (with("git&github.com:ns/one.git", "http://h/x"), ":6: repos[0].url", "neither encrypted", "https"),
        (with("git&github.com:ns/one.git", "/srv/x.git"), ":6: repos[0].url", "a path on this machine", "git://localhost"),
        (with("git&github.com:ns/one.git", "https://a:canary&h/x"), ":6: repos[0].url", "a password", "sshPrivKey"),
        (with("git&github.com:ns/one.git", "https://h/x"), ":10: repos[0].sshPrivKey", "would do nothing", "ssh URL"),
        (with("sshPrivKey: @/key", "sshPrivKey: "), ":10: repos[0].sshPrivKey", "missing", "https"),
        (with("sshPrivKey: @/key", "sshPrivKey: key"), ":10: repos[0].sshPrivKey", "relative", "from /"),
        (with("@/key", "@/none"), ":10: repos[0].sshPrivKey", "can't be read (No such file", "mode"),
        (with("@/key", "@"), ":10: repos[0].sshPrivKey", "not a regular file", "path"),
        (with("@/key", "@/k.pub"), ":10: repos[0].sshPrivKey", "public key", "without .pub"),
        (with("    path", "    label: a b\n    path"), ":7: repos[0].label", "no branch or tag", "main"),
        (with("    path", "    label: refs/heads/x\n    path"), ":7: repos[0].label", "full ref name", "x"),
        (with("    path", "    labelType: tag\n    path"), ":6: repos[0].label", "missing", "only a branch"),
        (with("    path", "    labelType: tag\n    branch: x\n    path"), ":8: repos[0].branch", "labelType says tag", "label"),
        (with("    path", "    label: a\n    branch: b\n    path"), ":8: repos[0].branch", "a label as well", "keep label"),
        (with("    path", "    remote: a b\n    path"), ":7: repos[0].remote", "no remote", "origin"),
        (with("    path", "    trigger: t\n    path"), ":7: repos[0].trigger", "relative", "from /"),
        (with("    path", "    trigger: @/one/.git/hooks/x\n    path"), ":7: repos[0].trigger", ".git", "outside"),
        (with("    path", "    knownHosts: @/none\n    path"), ":7: repos[0].knownHosts", "can't be read", "mode"),
        (with("    path", "    caFile: @/key\n    path"), ":7: repos[0].caFile", "not an https URL", "knownHosts"),
        (second("path: /two, directory: @/two, caFile: @/key"), ":11: repos[1].caFile", "no PEM certificate", "BEGIN"),
        (second("path: /two, directory: @/two, knownHosts: @/key"), ":11: repos[1].knownHosts", "would do nothing", "caFile"),
        (second("path: /two, directory: @/two, sshPassPhrase: x"), ":11: repos[1].sshPassPhrase", "would do nothing", "name the key"),
        (second("path: /one/, directory: @/two"), ":11: repos[1].path", "repos[0] has the same path, /one", "of its own"),
        (second("path: /two, directory: @//one/"), ":11: repos[1].directory", "repos[0] has the same directory", "of its own"),
        (second("path: /two, directory: @/one/two"), ":11: repos[1].directory", "one inside the other", "of its own"),
        ("".into(), "", "the file is empty", "examples"),
        ("# nothing\n\n".into(), "", "the file is empty", "examples"),
        ("repos: 5\n".into(), ":1: repos", "a list", "examples"),
        ("just text\n".into(), "", "keys with values", "examples"),
    ] {
        let error = error_of(&bench, &text);
        let lines: Vec<_> = error.lines().collect();
        let wanted = format!("{}{place}: ", bench.at("c.yaml").display());
        let wanted = if place.is_empty() { bench.at("c.yaml").display().to_string() } else { wanted };
        assert!(
            lines.len() == 1 && error.starts_with(&wanted) && error.contains(what) && error.contains(remedy),
            "wanted {wanted}…{what}…{remedy}\ngot {error}"
        );
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_files_order() {
    let bench = Bench::new();
    let text = with("path: /one", "path: one").replace("port: 5555", "port: 0").replace("@/key", "@/none");
    let error = error_of(&bench, &text);
    let keys: Vec<_> = error.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(keys, ["port", "repos[0].path", "repos[0].sshPrivKey"]);
}

#[test]
fn a_secret_is_never_told_wherever_it_stands() {
    let bench = Bench::new();
    for (name, text) in [
        ("c.yaml", "repos:\n  - secret: {canary: canary}\n"),
        ("c.yaml", "port: canary\n"),
        ("c.yaml", "port: \"canary, expected canary\"\n"),
        ("c.yaml", "initialise: canary\n"),
        ("c.yaml", "logging: canary\n"),
        ("c.yaml", "repos: canary\n"),
        ("c.yaml", "repos:\n  - canary\n"),
        ("c.yaml", "repos:\n  - unsigned: canary\n"),
        ("c.yaml", "repos:\n  - secret: canary\n   path: x\n"),
        ("c.yaml", "repos:\n  - secret: \"canary\n"),
        ("c.yaml", "repos:\n  - secret: canary: canary\n"),
        ("c.yaml", "repos:\n  - secret: *canary\n"),
        ("c.yaml", "repos:\n  - secret: 'canary' canary\n"),
        ("c.yaml", "repos:\n  - sshPassPhrase: [canary, canary]\n"),
        ("c.yaml", "retry_delay: canary\n"),
        ("c.toml", "port = \"canary\"\n"),
        ("c.toml", "[[repos]]\nsecret = canary\n"),
        ("c.toml", "[[repos]]\nsecret = \"canary\nx\"\n"),
        ("c.toml", "[[repos]]\nsecret = {canary = \"canary\"}\n"),
        ("c.toml", "[[repos]]\nsecret = 'canary' canary\n"),
        ("c.toml", "retry_delay = \"canary\"\n"),
        ("c.json", "{\"port\": \"canary\"}"),
        ("c.json", "{\"repos\": [{\"secret\": canary}]}"),
        ("c.json", "{\"repos\": [{\"secret\": \"canary}]}"),
        ("c.json", "{\"repos\": [{\"secret\": {\"canary\": 1}}]}"),
        ("c.json", "{\"retry_delay\": \"canary\"} canary"),
    ] {
        let error = bench.error(name, text);
        // YAML's aliases have names, and a secret may begin like one.
        assert!(!error.contains("canary"), "{text}\n{error}");
        assert!(error.contains("c."), "{error}");
    }
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let bench = Bench::new();
    for mode in [0o620, 0o602, 0o666] {
        let path = bench.write("c.yaml", SMALL, mode);
        let error = load(Some(&path), &bench.env).err().unwrap().to_string();
        assert!(error.contains("others than its owner can write") && error.contains("chmod go-w"), "{error}");
    }
}

#[test]
fn what_is_no_configuration_file_is_refused() {
    let bench = Bench::new();
    for (name, bytes, what) in
        [("c.ini", &b"x"[..], "format is not known"), ("config", b"x", "format is not known"), ("c.yaml", b"\xff\xfe", "not UTF-8")]
    {
        let path = bench.at(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = load(Some(&path), &bench.env).err().unwrap().to_string();
        assert!(error.contains(what), "{error}");
    }
    fs::create_dir(bench.at("d.yaml")).unwrap();
    nix::unistd::mkfifo(&bench.at("f.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in ["d.yaml", "f.yaml"] {
        let error = load(Some(&bench.at(name)), &bench.env).err().unwrap().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
    let error = load(Some(&bench.at("none.yaml")), &bench.env).err().unwrap().to_string();
    assert!(error.contains("none.yaml") && error.contains("No such file"), "{error}");
}

#[test]
fn trees_that_meet_through_a_symlink_are_refused() {
    let bench = Bench::new();
    fs::create_dir(bench.at("real")).unwrap();
    std::os::unix::fs::symlink("real", bench.at("link")).unwrap();
    for (one, two) in [("real", "link"), ("real/a", "link/a"), ("real", "link/a"), ("link/a/b", "real/a")] {
        let text = format!(
            "{}  - {{url: 'https://h/two', path: /two, directory: @/{two}, unsigned: true}}\n",
            SMALL.replace("@/one", &format!("@/{one}"))
        );
        let error = bench.error("c.yaml", &text);
        assert!(error.contains("repos[1].directory"), "{one} {two}: {error}");
    }
}

#[test]
fn a_tree_may_not_hold_the_configuration_itself() {
    let bench = Bench::new();
    let error = bench.error("c.yaml", &SMALL.replace("@/one", "@"));
    assert!(error.contains("the file lies in the work tree of /one"), "{error}");
}

#[test]
fn a_message_is_one_line_and_holds_nothing_that_a_terminal_obeys() {
    let bench = Bench::new();
    for text in ["\"a\\e[2J\\nb\": 1\n", "logging: {level: \"\\e[2J\\n\"}\n", "repos: [{directory: \"/a\\n\\e[2J\"}]\n"] {
        let error = bench.error("c.yaml", text);
        assert!(!error.chars().any(|letter| letter.is_control() && letter != '\n'), "{error:?}");
        assert!(error.lines().all(|line| line.starts_with('/')), "{error:?}");
    }
}

#[test]
fn audit_and_proxies_are_checked() {
    let bench = Bench::new();
    for (block, key, what) in [
        ("audit: {facility: local9}", "audit.facility", "no facility \"local9\"; did you mean local"),
        ("audit: {facility: x}", "audit.facility", "write one of authpriv"),
        ("audit: {tag: \"web hooks\"}", "audit.tag", "this is no tag"),
        ("audit: {file: audit}", "audit.file", "write the whole path"),
        ("audit: {file: /nonexistent/audit}", "audit.file", "can't be opened"),
        ("audit: {socket: log}", "audit.socket", "relative"),
        ("audit: {sylog: true}", "audit.sylog", "did you mean syslog?"),
        ("trusted_proxies: [10.0.0.1/8]", "trusted_proxies[0]", "\"10.0.0.1/8\" is no network"),
        ("trusted_proxies: [\"::1\", proxy.example]", "trusted_proxies[1]", "\"proxy.example\" is no network"),
        ("proxy_protocol: true", "proxy_protocol", "no proxy that could speak it"),
    ] {
        let error = bench.error("c.yaml", &format!("{block}\n{}", super::SMALL));
        assert!(error.contains(key) && error.contains(what), "{block}: {error}");
    }
}
