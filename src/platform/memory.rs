//! The memory that this process takes, and the memory that it may take.

use std::path::Path;

/// Memory of this process for data, in bytes: without the program and other files that it maps, because the kernel
/// can read those again (`/proc/self/statm`, proc_pid_statm(5)).
#[must_use]
pub fn used() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split(' ').skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared).saturating_mul(rustix::param::page_size() as u64)
}

/// The memory that this process may take, in bytes: the least of the machine's memory and the limits of its control
/// groups (`MemoryMax=` of systemd, `--memory` of a container).
#[must_use]
pub fn limit() -> u64 {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    of_groups(&groups, Path::new("/sys/fs/cgroup")).min(of_machine())
}

fn of_machine() -> u64 {
    let about = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = about.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    total.and_then(|kib| kib.parse::<u64>().ok()).map_or(u64::MAX, |kib| kib.saturating_mul(1024))
}

/// The least limit of the control groups that `/proc/self/cgroup` names, and of all groups above them (cgroups(7)).
fn of_groups(groups: &str, mounted: &Path) -> u64 {
    let mut least = u64::MAX;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (top, file) = match controllers {
            "" => (mounted.to_path_buf(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (mounted.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = top.join(path.trim_start_matches('/'));
        for group in group.ancestors().take_while(|group| group.starts_with(&top)) {
            // "max" is no limit; a group that a container does not see has no file.
            let limit = std::fs::read_to_string(group.join(file)).ok().and_then(|text| text.trim().parse().ok());
            least = least.min(limit.unwrap_or(u64::MAX));
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_counts() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(of_groups("0::/system.slice/forebay.service\n", dir.path()), u64::MAX, "no file, no limit");
        write("system.slice/forebay.service/memory.max", "max\n");
        assert_eq!(of_groups("0::/system.slice/forebay.service\n", dir.path()), u64::MAX);
        write("system.slice/memory.max", "268435456\n");
        assert_eq!(of_groups("0::/system.slice/forebay.service\n", dir.path()), 256 << 20);
        write("memory/box/memory.limit_in_bytes", "1000\n");
        assert_eq!(of_groups("4:cpu,memory:/box\n3:pids:/x\nnonsense\n", dir.path()), 1000);
    }

    #[test]
    fn this_process_takes_memory_and_the_machine_has_more() {
        let before = used();
        let block = vec![1_u8; 64 << 20];
        assert!(used() >= before + (32 << 20) && block.len() > 1, "{before} {}", used());
        assert!(limit() > used());
    }
}
