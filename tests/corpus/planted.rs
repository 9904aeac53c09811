//! What someone who may write in the deployed tree, `.git` included, leaves there before an update.

use super::{Case, Deployed, DeployedWith, Expect, Push, Stuck};
use gwg::audit::Reason::{Directory, ForeignDirectory, Locked, Other};

const fn planted(name: &'static str, plant: &'static str, expect: Expect) -> Case {
    Case { name, plant, push: Push::Honest, expect }
}

/// Planted, and the commit that comes removes or changes the kind of everything.
const fn turned(name: &'static str, plant: &'static str) -> Case {
    let push = Push::Script(
        "git rm -qr a dir gone; mkdir -p a later/deep; echo x > a/b; echo x > dir; ln -s a gone; echo x > later/deep/f; git add -A; git commit -qm turned",
    );
    Case { name, plant, push, expect: Deployed }
}

const LINKED: Expect = Stuck(ForeignDirectory, "is a symlink");
const ELSEWHERE: Expect = Stuck(ForeignDirectory, "another repository");

pub const CASES: &[Case] = &[
    planted("a directory is a symlink that leads out", "rm -r dir; ln -s ../../outside dir", Deployed),
    planted("a directory below is one", "rm -r dir/sub; ln -s ../../../outside dir/sub", Deployed),
    planted("a file is a symlink that leads out", "ln -sf ../../outside/a a; ln -sf ../../../outside/b dir/b", Deployed),
    planted("a file is a symlink to nothing yet", "ln -sf ../../outside/new a", Deployed),
    planted("symlinks where something new comes", "ln -s ../../outside later", Deployed),
    planted("a symlink where something is removed", "rm -r gone; ln -s ../../outside gone", Deployed),
    turned("all directories are symlinks and each file changes its kind", "rm -r dir gone; ln -s ../../outside dir; ln -s ../../outside gone; ln -s ../../outside later"),
    turned("all files are symlinks and each changes its kind", "for f in a dir/b dir/sub/c gone/d; do ln -sf $PWD/../../outside/a $f; done"),
    planted("a pipe in the place of a file", "rm a; mkfifo a", Deployed),
    planted("a socket's and a pipe's directory in the place of a file", "rm a; mkdir -p a/x; mkfifo a/x/p; ln -s ../../../outside a/x/l", Deployed),
    planted(
        "1,100 directories, one in the other, in the place of a file",
         "rm a; mkdir -p a/$(printf 'd/%.0s' $(seq 1100))",
        Deployed,
    ),
    planted("1,100 untracked directories, one in the other", "mkdir -p u/$(printf 'd/%.0s' $(seq 1100))", Stuck(Other, "remove it")),
    planted("nothing may be written or entered", "chmod 0 dir/sub dir gone; chmod 0 a", Stuck(Directory, "Permission denied")),
    planted(
        "all hooks",
        "mkdir -p .git/hooks; for h in post-checkout post-merge reference-transaction post-index-change pre-auto-gc post-rewrite fsmonitor-watchman; do cp ../../outside/payload .git/hooks/$h; chmod +x .git/hooks/$h; done",
        Deployed,
    ),
    planted(
        "a configuration that runs programs",
        "p=$PWD/../../outside/payload; chmod +x $p; for k in core.fsmonitor core.sshCommand core.gitProxy core.editor core.pager core.askPass credential.helper uploadpack.packObjectsHook gpg.program remote.origin.uploadpack remote.origin.vcs; do git config $k $p; done; git config core.hooksPath ../../outside",
        Deployed,
    ),
    planted(
        "a configuration that leads elsewhere",
        "git config core.worktree ../../../outside; git config include.path ../../../outside/config; git config url.git://127.0.0.1:1/.insteadOf git://; git config remote.origin.url git://127.0.0.1:1/x
         git config http.proxy http://127.0.0.1:1; git config core.attributesFile ../../outside/a; git config core.excludesFile ../../outside/a; git config remote.origin.mirror true; git config core.bare true",
        Deployed,
    ),
    planted("a configuration that turns protections off", "git config core.protectNTFS false; git config core.protectHFS false; git config core.symlinks false; git config core.ignoreCase true; git config core.fileMode false", Deployed),
    planted("a configuration of rubbish", "head -c 5000 /dev/urandom > .git/config", Deployed),
    planted("a configuration of 3 MB", "head -c 3000000 /dev/zero | tr '\\0' x > .git/config", Deployed),
    planted("a configuration for this work tree only", "git config extensions.worktreeConfig true; printf '[core]\\n\\tworktree = ../../../outside\\n' > .git/config.worktree", Deployed),
    planted("alternates", "echo ../../../outside > .git/objects/info/alternates", ELSEWHERE),
    planted("alternates of http", "echo http://127.0.0.1:1/ > .git/objects/info/http-alternates", ELSEWHERE),
    planted("a common directory", "echo ../../../outside > .git/commondir", ELSEWHERE),
    planted("a gitfile", "mv .git ../g; echo 'gitdir: ../g' > .git", Stuck(ForeignDirectory, "gitfiles")),
    planted("a symlink to the repository", "mv .git ../g; ln -s ../g .git", LINKED),
    planted("objects are a symlink", "mv .git/objects ../o; ln -s ../../o .git/objects", LINKED),
    planted("refs are a symlink", "rm -r .git/refs/heads; ln -s ../../../../outside .git/refs/heads", LINKED),
    planted("HEAD is a symlink", "ln -sf ../../../outside/a .git/HEAD", LINKED),
    planted("the index is a symlink", "ln -sf ../../../outside/a .git/index", LINKED),
    planted("a lock is a symlink", "ln -s ../../../outside/new .git/index.lock", LINKED),
    planted("gwg's directory is a symlink", "rm -r .git/gwg; ln -s ../../../outside .git/gwg", LINKED),
    planted("the updater's known hosts are a symlink", "ln -sf ../../../../../outside/a .git/gwg/home/.ssh/known_hosts", LINKED),
    planted("a pipe in .git", "rm .git/index; mkfifo .git/index", Stuck(ForeignDirectory, "neither a file nor a directory")),
    planted("200 directories, one in the other, in .git",  "mkdir -p .git/$(printf 'd/%.0s' $(seq 200))", Stuck(ForeignDirectory, "directories deep")),
    planted("someone's lock", "touch .git/index.lock", Stuck(Locked, "another program's lock")),
    planted("HEAD leads out", "echo 'ref: refs/heads/../../../outside/a' > .git/HEAD", Deployed),
    planted("a branch that leads out", "echo 'ref: refs/heads/../../../../outside/a' > .git/refs/heads/main", Deployed),
    planted("a branch that leads to itself", "echo 'ref: refs/heads/main' > .git/refs/heads/main; echo 'ref: refs/remotes/origin/main' > .git/refs/remotes/origin/main", Deployed),
    planted("packed refs of rubbish", "head -c 5000 /dev/urandom > .git/packed-refs", Deployed),
    planted("packed refs with names that lead out", "echo \"$(git rev-parse HEAD) refs/heads/../../../outside/x\" > .git/packed-refs", DeployedWith("packed refname is dangerous")),
    planted("an index of rubbish", "head -c 5000 /dev/urandom > .git/index", Deployed),
    planted("an index that is empty", ": > .git/index", Deployed),
    planted("objects that are not what they are called", "o=$(git rev-parse HEAD:a); for p in .git/objects/pack/*.pack; do chmod +w $p; git unpack-objects -q < $p || true; done; head -c 1000 /dev/urandom > ../x; rm ../x", Deployed),
    planted("a replacement for a commit", "git replace $(git rev-parse HEAD) $(git commit-tree -m evil $(git mktree </dev/null))", Deployed),
    planted("a graft", "mkdir -p .git/info; echo \"$(git rev-parse HEAD) 0707070707070707070707070707070707070707\" > .git/info/grafts", DeployedWith("grafts")),
    planted("attributes with a filter", "mkdir -p .git/info; echo '* filter=x ident eol=crlf' > .git/info/attributes; git config filter.x.smudge ../../outside/payload", Deployed),
    planted("sparse checkout", "git config core.sparseCheckout true; mkdir -p .git/info; echo '/dir/' > .git/info/sparse-checkout", Deployed),
    planted("a multi-pack index and a commit graph of rubbish", "mkdir -p .git/objects/info; head -c 3000 /dev/urandom > .git/objects/pack/multi-pack-index; head -c 3000 /dev/urandom > .git/objects/info/commit-graph", DeployedWith("multi-pack-index signature")),
    planted("a pack and an index of rubbish", "n=.git/objects/pack/pack-0707070707070707070707070707070707070707; head -c 3000 /dev/urandom > $n.pack; head -c 3000 /dev/urandom > $n.idx", DeployedWith("index not opened")),
    planted("a merge that someone began", "git rev-parse HEAD > .git/MERGE_HEAD; echo x > .git/MERGE_MSG; mkdir .git/rebase-merge; echo '../../outside/payload' > .git/rebase-merge/git-rebase-todo", Deployed),
];
