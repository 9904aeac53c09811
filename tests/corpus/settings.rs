//! What a repository says about how to check it out: attributes, filters, submodules. Nothing of it is
//! executed, fetched, or followed out of the work tree.

use super::{Case, Deployed, DeployedWith, Push, Refused, Stuck};
use gwg::audit::Reason::Other;

macro_rules! case {
    ($case:literal, $script:expr, $expect:expr) => {
        Case { name: $case, plant: "", push: Push::Script($script), expect: $expect }
    };
    ($case:literal, $plant:expr, $script:expr, $expect:expr) => {
        Case { name: $case, plant: $plant, push: Push::Script($script), expect: $expect }
    };
}

/// Commits what stands in the remote's work tree.
macro_rules! commit {
    ($script:literal) => {
        concat!($script, "; git add -A; git commit -qm evil")
    };
}

pub const CASES: &[Case] = &[
    case!(
        "a filter that the configuration has a program for",
        "git config filter.x.smudge ../../outside/payload; git config filter.x.process ../../outside/payload; git config filter.x.required true",
        commit!("echo '* filter=x' > .gitattributes; echo two > a"),
        Deployed
    ),
    case!("a filter without a program", commit!("echo '* filter=x -text' > .gitattributes; echo two > a"), Deployed),
    case!(
        "a diff and a merge driver",
        "git config diff.x.command ../../outside/payload; git config merge.x.driver ../../outside/payload; git config diff.x.textconv ../../outside/payload",
        commit!("echo '* diff=x merge=x' > .gitattributes; echo two > a"),
        Deployed
    ),
    case!("export-subst", commit!("echo 'a export-subst' > .gitattributes; echo '$Format:%H%n%(trailers)$' > a"), Deployed),
    case!("ident", commit!("echo 'a ident' > .gitattributes; echo '$Id$' > a"), Deployed),
    case!("ends of lines", commit!("printf '* text eol=crlf\\n' > .gitattributes; printf 'x\\ny\\n' > n"), Deployed),
    case!(
        "an encoding of the work tree, which libgit2 does not apply",
        "",
        "b=$(printf 'evil' | blob); t=$(echo '* working-tree-encoding=UTF-16LE' | blob); point $( (entry 100644 .gitattributes $t; entry 100644 x $b) | tree)",
        DeployedWith(" M x")
    ),
    case!(
        "100,000 attributes",
        commit!("for i in $(seq 1000); do echo \"*.x$i a$i=b -c$i [attr]m$i d$i\"; echo \"[attr]n$i m$i\"; done > .gitattributes; echo two > a"),
        Deployed
    ),
    case!(
        "an attribute of 1 MB",
        commit!("(printf '* '; head -c 1000000 /dev/zero | tr '\\0' x) > .gitattributes; echo two > a"),
        DeployedWith("gitattributesLineLength")
    ),
    case!(
        "a .gitattributes that is a symlink",
        "point $( (entry 120000 .gitattributes $(printf ../../outside/a | blob); entry 100644 a $(echo x | blob)) | tree)",
        Deployed
    ),
    case!(
        "a .gitmodules that is a symlink",
        "point $( (entry 120000 .gitmodules $(printf ../../outside/a | blob); entry 160000 sub $(git rev-parse first)) | tree)",
        Refused(Other, "the symlink \".gitmodules\", which it must not")
    ),
    case!(
        "a .gitignore that is a symlink",
        "point $( (entry 120000 .gitignore $(printf ../../outside/a | blob); entry 100644 a $(echo x | blob)) | tree)",
        Deployed
    ),
    case!(
        "a submodule whose URL is an option",
        "m=$(printf '[submodule \"x\"]\\n\\tpath = sub\\n\\turl = -u./payload\\n\\tupdate = !../../outside/payload\\n' | blob)
         point $( (entry 100644 .gitmodules $m; entry 100755 payload $(echo '#!/bin/sh' | blob); entry 160000 sub $(git rev-parse first)) | tree)",
        DeployedWith("gitmodulesUrl: disallowed")
    ),
    case!(
        "a submodule whose path and name lead out",
        "m=$(printf '[submodule \"../../../outside\"]\\n\\tpath = ../outside\\n\\turl = git://127.0.0.1:1/x\\n[submodule \"y\"]\\n\\tpath = -x\\n\\turl = ext::sh -c ../outside/payload\\n' | blob)
         point $( (entry 160000 -- $(git rev-parse first); entry 100644 .gitmodules $m; entry 160000 sub $(git rev-parse first)) | tree)",
        DeployedWith("gitmodulesName: disallowed")
    ),
    case!(
        "a submodule with a carriage return at the end of its path",
        "m=$(printf '[submodule \"x\"]\\n\\tpath = \"sub\\r\"\\n\\turl = ../x\\n' | blob)
         point $( (entry 100644 .gitmodules $m; entry 160000 \"sub\\r\" $(git rev-parse first); entry 120000 sub $(printf .git/hooks | blob)) | tree)",
        DeployedWith("treeNotSorted")
    ),
    case!(
        "a submodule below a symlinked .git/modules",
        "ln -s ../../../outside .git/modules",
        "m=$(printf '[submodule \"x\"]\\n\\tpath = sub\\n\\turl = ../x\\n' | blob)
         point $( (entry 100644 .gitmodules $m; entry 160000 sub $(git rev-parse first)) | tree)",
        Stuck(gwg::audit::Reason::ForeignDirectory, "modules is a symlink")
    ),
    case!(
        "a submodule where a symlink that leads out is planted",
        "ln -s ../../outside sub",
        "point $(entry 160000 sub $(git rev-parse first) | tree)",
        Deployed
    ),
    case!("a submodule at .git", "point $(entry 160000 .git $(git rev-parse first) | tree)", Refused(Other, "which it must not")),
    case!("a submodule in the place of a directory", "point $(entry 160000 dir $(git rev-parse first) | tree)", Deployed),
    case!(
        "a bare repository in the tree, with a configuration that runs programs",
        commit!("git init -q --bare bare; git -C bare config core.fsmonitor ../../outside/payload; mkdir -p bare/refs/x bare/objects/x; touch bare/refs/x/k bare/objects/x/k"),
        Deployed
    ),
];
