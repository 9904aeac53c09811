//! The layers by name, and whether each is set: in every build that can be installed, all of them
//! always are. Runs in the supervisor and in every child.
//!
//! The owned builds (feature `owned`, see `src/owned/`) leave out what their arguments name, so that the
//! tests can see what each layer stops. A release build can't contain that feature.

/// A layer of the confinement that an owned build can leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// A user and a group of its own, and no supplementary group.
    Users,
    /// No capability in any set.
    Capabilities,
    /// No-new-privs.
    NoNewPrivs,
    /// No ptrace and no `/proc/PID/mem` for others of its user.
    NonDumpable,
    /// Resource limits.
    Limits,
    /// Network, IPC and UTS namespaces of its own.
    Namespaces,
    /// Landlock.
    Landlock,
    /// The filter of system calls.
    Seccomp,
}

#[cfg(not(feature = "owned"))]
impl Layer {
    /// It is set.
    pub const fn is_on(self) -> bool {
        true
    }
}

/// What the children are told of it: nothing.
#[cfg(all(feature = "supervisor", not(feature = "owned")))]
pub const fn left_out() -> Option<String> {
    None
}

#[cfg(feature = "owned")]
pub use chosen::left_out;

/// The owned builds' choice.
#[cfg(feature = "owned")]
mod chosen {
    use super::Layer;
    use std::sync::OnceLock;

    /// Before the names, with commas between them, or `all`.
    const FLAG: &str = "--without=";

    impl Layer {
        /// All of them.
        pub const ALL: [Self; 8] = [
            Self::Users,
            Self::Capabilities,
            Self::NoNewPrivs,
            Self::NonDumpable,
            Self::Limits,
            Self::Namespaces,
            Self::Landlock,
            Self::Seccomp,
        ];

        /// As the arguments and the published table have it.
        pub const fn name(self) -> &'static str {
            match self {
                Self::Users => "users",
                Self::Capabilities => "capabilities",
                Self::NoNewPrivs => "no-new-privs",
                Self::NonDumpable => "non-dumpable",
                Self::Limits => "limits",
                Self::Namespaces => "namespaces",
                Self::Landlock => "landlock",
                Self::Seccomp => "seccomp",
            }
        }

        /// Whether it is set. The first question reads the arguments; between fork and exec it is answered
        /// from memory.
        pub fn is_on(self) -> bool {
            static OFF: OnceLock<Vec<Layer>> = OnceLock::new();
            !OFF.get_or_init(read).contains(&self)
        }
    }

    fn read() -> Vec<Layer> {
        let names = std::env::args().find_map(|argument| Some(argument.strip_prefix(FLAG)?.to_owned())).unwrap_or_default();
        let is_named = |layer: &Layer| names.split(',').any(|name| name == "all" || name == layer.name());
        Layer::ALL.into_iter().filter(is_named).collect()
    }

    /// What the children are told of it.
    #[cfg(feature = "supervisor")]
    pub fn left_out() -> Option<String> {
        let names: Vec<_> = Layer::ALL.into_iter().filter(|layer| !layer.is_on()).map(Layer::name).collect();
        (!names.is_empty()).then(|| format!("{FLAG}{}", names.join(",")))
    }
}
