//! What the surroundings of the process say, read in one place, once.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

/// The environment, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Environment {
    /// `$STATE_DIRECTORY`: what systemd made for this service; the first, if there are more.
    pub state_directory: Option<PathBuf>,
    /// Colours are wanted on stdout: it is a terminal, and `$NO_COLOR` is not set.
    pub colour_out: bool,
    /// The same of stderr.
    pub colour_err: bool,
}

impl Environment {
    /// Reads the environment of this process.
    pub fn read() -> Environment {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Environment {
            state_directory: std::env::var_os("STATE_DIRECTORY").and_then(first_directory),
            colour_out: wanted && std::io::stdout().is_terminal(),
            colour_err: wanted && std::io::stderr().is_terminal(),
        }
    }
}

/// systemd separates several directories by colons.
fn first_directory(value: OsString) -> Option<PathBuf> {
    let value = value.to_string_lossy();
    let first = value.split(':').next().filter(|first| !first.is_empty());
    first.map(PathBuf::from)
}

/// The machine's name as the kernel has it: within a container, the container's.
pub fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_state_directory_counts() {
        let first = |value: &str| first_directory(OsString::from(value));
        assert_eq!(first("/var/lib/a:/var/lib/b"), Some(PathBuf::from("/var/lib/a")));
        assert_eq!(first("/var/lib/a"), Some(PathBuf::from("/var/lib/a")));
        assert_eq!(first(""), None);
    }

    #[test]
    fn this_machine_has_a_name() {
        assert!(hostname().is_some_and(|name| !name.contains(char::is_whitespace)));
    }
}
