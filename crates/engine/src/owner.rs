//! Who holds a path: enough to see that a holder on this machine is dead, so that its work is
//! rolled forward at once instead of after its lease.

use std::fs;

/// A process, named so that another process of the same machine can tell whether it still runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner(String);

impl Owner {
    /// `boot-id/pid/start-time` of this process; the parts that the system does not tell are `?`.
    #[must_use]
    pub fn this_process() -> Self {
        let pid = std::process::id();
        let boot = boot_id().unwrap_or_else(|| "?".to_owned());
        let start = start_time(pid).unwrap_or_else(|| "?".to_owned());
        Self(format!("{boot}/{pid}/{start}"))
    }

    /// As written to a pending row.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether the process that wrote `owner` certainly does not run any more: it ran on this machine
/// and boot, and its pid is gone or belongs to a later process. A process of another machine (or
/// of another pid namespace, which has another start time for the pid or none) is never called
/// dead on a guess: its boot id differs or its pid cannot be judged.
#[must_use]
pub fn is_dead_here(owner: &str) -> bool {
    let mut parts = owner.split('/');
    let (Some(boot), Some(pid), Some(start)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    if boot == "?" || start == "?" || boot_id().as_deref() != Some(boot) {
        return false;
    }
    let Ok(pid) = pid.parse::<u32>() else { return false };
    start_time(pid).as_deref() != Some(start)
}

/// Boot id and pid namespace: containers of one machine share the former but not the latter.
fn boot_id() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}+{}", boot.trim(), namespace.to_str()?.replace('/', "")))
}

/// Field 22 of /proc/PID/stat (proc(5)): start time in clock ticks since boot.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    // A zombie holds nothing open any more.
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn this_process_lives() {
        let me = Owner::this_process();
        assert!(!me.as_str().contains('?'), "{me:?}");
        assert!(!is_dead_here(me.as_str()));
    }

    #[test]
    fn a_child_is_dead_only_after_it_ended() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let (boot, start) = (boot_id().unwrap(), start_time(child.id()).unwrap());
        let owner = format!("{boot}/{}/{start}", child.id());
        assert!(!is_dead_here(&owner));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_dead_here(&owner));
    }

    #[test]
    fn strangers_are_not_judged() {
        for owner in ["", "x", "other-boot/1/2", "?/1/2", "other+pid:[1]/4000000/7"] {
            assert!(!is_dead_here(owner), "{owner}");
        }
    }
}
