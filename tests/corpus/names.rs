//! Trees whose names, modes or links lead out of the work tree, into `.git`, or beyond what a file
//! system holds.

use super::{Case, Deployed, DeployedWith, Push, Refused};
use gwg::audit::Reason::{Corrupt, Limit, Other};

const NOT_ALLOWED: &str = "which it must not";
const INVALID: &str = "invalid path";

/// A file of this name (bash's `printf %b`) at the root.
macro_rules! file {
    ($case:literal, $name:literal, $expect:expr) => {
        Case {
            name: $case,
            plant: "",
            push: Push::Script(concat!("point $(entry 100644 '", $name, "' $(echo evil | blob) | tree)")),
            expect: $expect,
        }
    };
}

/// A directory of this name with `config` and `hooks/post-checkout` in it.
macro_rules! directory {
    ($case:literal, $name:literal, $expect:expr) => {
        Case {
            name: $case,
            plant: "",
            push: Push::Script(concat!(
                "b=$(echo '[core] fsmonitor = ../outside/payload' | blob); h=$(entry 100755 post-checkout $b | tree)
                 point $(entry 40000 '",
                $name,
                "' $( (entry 100644 config $b; entry 40000 hooks $h) | tree) | tree)"
            )),
            expect: $expect,
        }
    };
}

macro_rules! case {
    ($case:literal, $script:expr, $expect:expr) => {
        Case { name: $case, plant: "", push: Push::Script($script), expect: $expect }
    };
}

pub const CASES: &[Case] = &[
    directory!(".git itself", ".git", Refused(Other, NOT_ALLOWED)),
    directory!(".GIT", ".GIT", Refused(Other, NOT_ALLOWED)),
    directory!(".gIt", ".gIt", Refused(Other, NOT_ALLOWED)),
    directory!("git~1, which NTFS takes for .git", "git~1", Refused(Other, INVALID)),
    directory!("GIT~1", "GIT~1", Refused(Other, INVALID)),
    directory!(".g\\u200cit, which HFS takes for .git", ".g\\xe2\\x80\\x8cit", Refused(Other, INVALID)),
    directory!(".git\\ufeff", ".git\\xef\\xbb\\xbf", Refused(Other, INVALID)),
    directory!(".git with a space after it", ".git ", Refused(Other, INVALID)),
    directory!(".git with a dot after it", ".git.", Refused(Other, INVALID)),
    directory!(".git's alternate data stream", ".git::$INDEX_ALLOCATION", Refused(Other, INVALID)),
    file!(".git:stream", ".git:x", Refused(Other, INVALID)),
    file!("a .git that is a file", ".git", Refused(Other, NOT_ALLOWED)),
    directory!("..", "..", Refused(Other, NOT_ALLOWED)),
    directory!(".", ".", Refused(Other, NOT_ALLOWED)),
    file!("a name with slashes that leads out", "../../outside/a", Refused(Other, NOT_ALLOWED)),
    file!("a name that is an absolute path", "/tmp/gwg-corpus-must-not-exist", Refused(Other, NOT_ALLOWED)),
    file!("a name with a slash that leads into .git", ".git/hooks/post-checkout", Refused(Other, NOT_ALLOWED)),
    file!("backslashes that lead out", "..\\\\..\\\\outside\\\\a", Deployed),
    file!("backslashes that lead into .git", ".git\\\\hooks\\\\post-checkout", Refused(Other, INVALID)),
    file!("a drive", "C:evil", Deployed),
    file!("a device of DOS", "aux", Deployed),
    case!(
        "a nested .git",
        "h=$(entry 100755 post-checkout $(echo evil | blob) | tree); point $(entry 40000 dir $(entry 40000 .git $h | tree) | tree)",
        Refused(Other, NOT_ALLOWED)
    ),
    case!(
        "a symlink and a directory of one name",
        "l=$(printf ../../outside | blob); d=$(entry 100644 a $(echo evil | blob) | tree)
         point $( (entry 120000 x $l; entry 40000 x $d) | tree)",
        Refused(Other, NOT_ALLOWED)
    ),
    case!(
        "a symlink, and a directory whose name differs in case",
        "l=$(printf ../../outside | blob); d=$(entry 100644 a $(echo evil | blob) | tree)
         point $( (entry 120000 X $l; entry 40000 x $d) | tree)",
        Deployed
    ),
    case!(
        "a symlink, and a file whose name goes through it",
        "l=$(printf ../../outside | blob); point $( (entry 120000 x $l; entry 100644 x/a $(echo evil | blob)) | tree)",
        Refused(Other, NOT_ALLOWED)
    ),
    case!(
        "a directory becomes a symlink that leads out",
        "l=$(printf ../../outside | blob); point $( (entry 120000 dir $l; entry 120000 gone $l) | tree)",
        Deployed
    ),
    case!("a file becomes an absolute symlink", "point $(entry 120000 a $(printf /etc/passwd | blob) | tree)", Deployed),
    case!("a symlink to .git/config", "point $(entry 120000 a $(printf .git/config | blob) | tree)", Deployed),
    case!("a symlink to itself", "point $(entry 120000 a $(printf a | blob) | tree)", Deployed),
    case!(
        "a symlink with a target of 5,000 bytes",
        "point $(entry 120000 a $(printf '%05000d' 0 | blob) | tree)",
        Refused(Other, "whose target no file system takes")
    ),
    case!(
        "a symlink whose target holds a NUL",
        "point $(entry 120000 a $(printf '/etc\\0x' | blob) | tree)",
        Refused(Other, "whose target no file system takes")
    ),
    case!("a symlink to nowhere at all", "point $(entry 120000 a $(printf '' | blob) | tree)", Refused(Other, "target")),
    case!("one name twice", "b=$(echo evil | blob); point $( (entry 100644 x $b; entry 100755 x $b) | tree)", Refused(Other, NOT_ALLOWED)),
    case!(
        "a name of 256 bytes",
        "point $(entry 100644 $(printf '%0256d' 0) $(echo evil | blob) | tree)",
        Refused(Limit, "a name of 256 bytes")
    ),
    case!(
        "a name of 4,096 bytes",
        "point $(entry 100644 $(printf '%04096d' 0) $(echo evil | blob) | tree)",
        Refused(Limit, "a name of 4096 bytes")
    ),
    case!("a name of 255 bytes", "point $(entry 100644 $(printf '%0255d' 0) $(echo honest | blob) | tree)", Deployed),
    case!(
        "a path of 4,200 bytes",
        "t=$(entry 100644 f $(echo evil | blob) | tree); n=$(printf '%0210d' 0); for i in $(seq 20); do t=$(entry 40000 $n $t | tree); done; point $t",
        Refused(Limit, "a path of")
    ),
    case!(
        "97 directories, one in the other",
        "t=$(entry 100644 f $(echo evil | blob) | tree); for i in $(seq 97); do t=$(entry 40000 d $t | tree); done; point $t",
        Refused(Limit, "more than 96 directories deep")
    ),
    case!(
        "90 directories, one in the other",
        "t=$(entry 100644 f $(echo honest | blob) | tree); for i in $(seq 90); do t=$(entry 40000 d $t | tree); done; point $t",
        Deployed
    ),
    file!("a name that is no UTF-8", "\\xff\\xfe\\x80", Deployed),
    file!("a name with newlines and escape codes", "x\\n\\x1b]0;evil\\x07\\r\\x9b31m\\n2026-01-01 INFO update ok", Deployed),
    file!("a name that is refused and holds escape codes", "\\x1b[2J/\\n\\xc2\\x9b31m", Refused(Other, NOT_ALLOWED)),
    file!("a name that looks like an option", "--upload-pack=touch ran", Deployed),
    case!("a mode with zeroes before it", "point $(entry 0100644 x $(echo evil | blob) | tree)", Deployed),
    case!("a mode of a device", "point $(entry 60666 x $(echo evil | blob) | tree)", Refused(Corrupt, "cannot read header for")),
    case!("a mode of a set-uid program", "point $(entry 104755 x $(echo evil | blob) | tree)", Deployed),
    case!(
        "a mode longer than a number",
        "point $(entry 7777777777777777777777 x $(echo evil | blob) | tree)",
        Refused(Corrupt, "filemode")
    ),
    case!(
        "entries out of order",
        "b=$(echo evil | blob); point $( (entry 100644 z $b; entry 100644 a $b; entry 40000 m $(entry 100644 x $b | tree)) | tree)",
        DeployedWith("treeNotSorted")
    ),
    case!(
        "a file that is a tree",
        "point $(entry 100644 x $(entry 100644 y $(echo evil | blob) | tree) | tree)",
        Refused(Other, "for a file, and it is a tree")
    ),
    case!("a tree without an entry", "point $(printf '' | tree)", Deployed),
];
