//! Thousands of repositories: what they share is read and kept once.

use super::*;
use std::fmt::Write;

const MANY: usize = 10_000;

#[test]
fn ten_thousand_repositories_share_one_key_and_one_known_hosts() {
    let bench = Bench::new();
    let mut text = String::from("repos:\n");
    for number in 0..MANY {
        let directory = bench.at(&format!("trees/{number}"));
        let key = bench.at("key");
        writeln!(
            text,
            "  - url: git@github.com:ns/{number}.git\n    path: /{number}\n    directory: {}\n    secret: 0123456789abcdef\n    sshPrivKey: {}",
            directory.display(),
            key.display()
        )
        .unwrap();
    }
    fs::write(bench.at("c.yaml"), text).unwrap();
    fs::set_permissions(bench.at("c.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    let start = std::time::Instant::now();
    let config = load(Some(&bench.at("c.yaml")), &bench.env).unwrap_or_else(|error| panic!("{error}"));
    let loaded = start.elapsed();
    assert_eq!((config.repos.len(), config.keys.len()), (MANY, 1));
    let briefs = split(config, Before::NOTHING, &mut 0);
    eprintln!("{MANY} repositories: loaded in {loaded:?}, split after {:?}", start.elapsed());
    let mut updaters = briefs.updaters.values();
    let first = &updaters.next().unwrap().known_hosts;
    assert!(updaters.all(|brief| Arc::ptr_eq(first, &brief.known_hosts)));
    assert_eq!((briefs.listener.1.len(), briefs.worker.2.len(), briefs.worker.1.len()), (MANY, MANY, 1));
}

#[test]
fn one_mistake_in_each_of_thousands_stays_readable() {
    let bench = Bench::new();
    let repos: String =
        (0..MANY).map(|number| format!("  - {{url: 'https://h/x', path: p, directory: @/{number}, unsigned: true}}\n")).collect();
    let error = bench.error("c.yaml", &format!("repos:\n{repos}"));
    assert_eq!(error.lines().count(), 21);
    assert!(error.ends_with("and 9980 more"), "{error}");
}
