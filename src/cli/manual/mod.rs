//! `gwg man`: the manual pages. Those of the commands come from the flags themselves, the one of
//! the configuration from docs/configuration.md, so that none of them can tell another story.

mod markdown;
mod roff;

use super::exit::Exit;
use clap::Command;
use std::io;
use std::path::Path;

/// What an operator reads of the configuration on the web is what stands in its manual page.
const CONFIGURATION: &str = include_str!("../../../docs/configuration.md");

const FILES: &[(&str, &str)] = &[
    ("/etc/gwg/config.yaml", "The configuration, where no other is named: gwg.yaml(5)."),
    ("/run/gwg/control.sock", "Where a running gateway takes commands; without root, gwg/control.sock in $XDG_RUNTIME_DIR."),
    ("/var/lib/gwg", "What was deployed, and the history that `gwg log` shows; without root, gwg in $XDG_STATE_HOME."),
];

/// One page, and the name of its file.
pub struct Page {
    /// As in `gwg-status.1`.
    pub file: String,
    /// In the language of man(7).
    pub text: String,
}

/// Every page.
///
/// # Errors
/// Those of rendering into memory: none.
pub fn pages(command: &Command) -> io::Result<Vec<Page>> {
    let mut command = command.clone();
    command.build();
    let mut pages = vec![main_page(&command)?];
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let name = format!("gwg-{}", sub.get_name());
        let mut text = render(sub, &name)?;
        text.push_str(&see_also(&["gwg(1)", "gwg.yaml(5)"]));
        pages.push(Page { file: format!("{name}.1"), text });
    }
    let body = markdown::to_roff(CONFIGURATION);
    let head = roff::head("gwg.yaml", 5, "the configuration of gwg, the git webhook gateway");
    pages.push(Page { file: "gwg.yaml.5".into(), text: head + &body + &see_also(&["gwg(1)"]) });
    Ok(pages)
}

/// Writes every page into a directory, which is made where it is missing.
///
/// # Errors
/// Those of writing.
pub fn write(command: &Command, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    pages(command)?.iter().try_for_each(|page| std::fs::write(directory.join(&page.file), &page.text))
}

fn main_page(command: &Command) -> io::Result<Page> {
    let mut text = render(command, "gwg")?;
    text.push_str(&roff::section("EXIT STATUS"));
    for exit in Exit::ALL {
        text.push_str(&roff::item(&exit.status().to_string(), exit.meaning()));
    }
    text.push_str(&roff::item("2", "The flags are wrong."));
    text.push_str(&roff::section("FILES"));
    FILES.iter().for_each(|(file, meaning)| text.push_str(&roff::item(file, meaning)));
    let subs = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    let others: Vec<String> = subs.map(|sub| format!("gwg-{}(1)", sub.get_name())).chain(["gwg.yaml(5)".to_owned()]).collect();
    text.push_str(&see_also(&others.iter().map(String::as_str).collect::<Vec<_>>()));
    Ok(Page { file: "gwg.1".into(), text })
}

/// A command's page, as clap's own crate makes it.
fn render(command: &Command, name: &str) -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .date("")
        .source(concat!("gwg ", env!("CARGO_PKG_VERSION")))
        .manual("gwg")
        .render(&mut page)?;
    String::from_utf8(page).map_err(io::Error::other)
}

fn see_also(others: &[&str]) -> String {
    roff::section("SEE ALSO") + &roff::text(&others.join(", ")) + "\n"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use clap::CommandFactory;

    /// What a reader sees, roughly: without escapes and font changes.
    fn seen(page: &str) -> String {
        page.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "").replace("\\fI", "").replace("\\&", "").replace("\\*(Aq", "'")
    }

    fn page(name: &str) -> String {
        let pages = pages(&crate::cli::Flags::command()).unwrap();
        let page = pages.iter().find(|page| page.file == name);
        seen(&page.unwrap_or_else(|| panic!("there is no page {name}")).text)
    }

    #[test]
    fn each_command_has_a_page_with_each_of_its_flags() {
        let mut command = crate::cli::Flags::command();
        command.build();
        let mut checked = 0;
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
            let text = page(&format!("gwg-{}.1", sub.get_name()));
            for argument in sub.get_arguments().filter(|argument| argument.get_id() != "help") {
                let long = argument.get_long().map(|long| format!("--{long}"));
                let name = long.or_else(|| Some(format!("[{}]", argument.get_value_names()?.first()?))).unwrap();
                let bare = name.trim_matches(['[', ']']);
                assert!(text.contains(bare), "gwg-{}.1 does not name {name}:\n{text}", sub.get_name());
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                let first: String = help.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
                let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(flat.contains(&first), "gwg-{}.1 does not explain {name} ({first})", sub.get_name());
                checked += 1;
            }
            assert!(page("gwg.1").contains(&format!("gwg-{}(1)", sub.get_name())));
        }
        assert!(checked > 10, "{checked} flags");
    }

    #[test]
    fn no_line_of_a_page_is_taken_for_a_request_by_mistake() {
        const KNOWN: [&str; 14] = [".TH", ".SH", ".SS", ".PP", ".TP", ".IP", ".EX", ".EE", ".RS", ".RE", ".br", ".ie", ".el", ".sp"];
        for page in pages(&crate::cli::Flags::command()).unwrap() {
            for line in page.text.lines().filter(|line| line.starts_with(['.', '\''])) {
                let request = line.split_whitespace().next().unwrap_or_default();
                assert!(KNOWN.contains(&request), "{}: {line}", page.file);
            }
        }
    }
}
