//! The folder of the store: who may write, how much room, what the mount and the device do to a flush.

use super::{Finding, bad, doubt, good};
use crate::config::Config;
use crate::platform::disk;
use crate::telemetry::people;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Options of mounts that make a flush mean less than it says, each with its meaning (ext4(5), mount(8)).
const OPTIONS: [(&str, &str); 4] = [
    ("nobarrier", "a flush does not reach the medium"),
    ("barrier=0", "a flush does not reach the medium"),
    ("data=writeback", "after a power cut files may have old contents"),
    ("ro", "nothing can be written"),
];

/// Looks at the folder of the store.
pub fn look(config: &Config) -> Vec<Finding> {
    let state = &config.state;
    let about = "state";
    let Ok(meta) = std::fs::metadata(state) else {
        let parent = state.parent().filter(|parent| parent.is_dir());
        return vec![match parent {
            Some(_) => good(about, format!("{} is made at the first start", state.display())),
            None => bad(
                about,
                format!("{} is not there, and neither is the folder above it", state.display()),
                "is a disk not mounted?",
            ),
        }];
    };
    let mut findings = vec![access(state, &meta), room(config)];
    if disk::is_out_of_inodes(state) {
        findings.push(bad("disk", "no inodes are left: no file can be made", "remove small files on this disk"));
    }
    if let Some((kind, why)) = disk::filesystem(state) {
        findings.push(bad("disk", format!("{kind}: {why}"), "put `state` on a disk of this machine"));
    }
    findings.extend(mount(state));
    findings.extend(wear(meta.dev()));
    findings
}

fn access(state: &Path, meta: &std::fs::Metadata) -> Finding {
    let about = "state";
    let shown = state.display();
    if rustix::fs::access(state, rustix::fs::Access::WRITE_OK).is_err() {
        let advice = "run the doctor as the agent's user: `sudo -u forebay forebay doctor`; or give it the folder";
        return doubt(about, format!("{shown} may not be written by this user"), advice);
    }
    if meta.mode() & 0o007 != 0 {
        return doubt(
            about,
            format!("{shown} may be read by everybody on this machine"),
            format!("chmod o-rwx {shown}"),
        );
    }
    good(about, format!("{shown} can be written"))
}

fn room(config: &Config) -> Finding {
    let (about, cap) = ("disk", config.store.cap);
    let Some(free) = disk::free(&config.state) else {
        return doubt(about, "its room cannot be read", "is it mounted?");
    };
    let segments = std::fs::read_dir(config.state.join("log")).into_iter().flatten().flatten();
    let spares = std::fs::read_dir(config.state.join("spare")).into_iter().flatten().flatten();
    let held: u64 =
        segments.chain(spares).filter_map(|file| file.metadata().ok()).map(|meta| meta.blocks() * 512).sum();
    let wanted = cap.saturating_sub(held);
    let found = format!(
        "{} free; the store has {} and may grow to {}",
        people::size(free),
        people::size(held),
        people::size(cap)
    );
    if free < wanted {
        let advice =
            "make room, or lower `cap`: else the disk is full before the store is, and its sources wait earlier";
        return doubt(about, found, advice);
    }
    good(about, found)
}

/// The options of the mount that has a folder.
fn mount(state: &Path) -> Vec<Finding> {
    let Ok(state) = state.canonicalize() else { return Vec::new() };
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    // The last of the longest is the one on top.
    let of =
        fields.filter(|fields| fields.len() > 3 && state.starts_with(fields[1])).max_by_key(|fields| fields[1].len());
    let Some(fields) = of else { return Vec::new() };
    let set: Vec<&str> = fields[3].split(',').collect();
    let wrong = OPTIONS.iter().filter(|(option, _)| set.contains(option)).map(|(option, meaning)| {
        let found = format!("{} is mounted with `{option}`: {meaning}", fields[1]);
        bad("disk", found, "take the option out of /etc/fstab, and mount it again")
    });
    let wrong: Vec<Finding> = wrong.collect();
    if wrong.is_empty() { vec![good("disk", format!("{} on {}, {}", fields[2], fields[1], fields[3]))] } else { wrong }
}

/// How worn a device is, where it tells: eMMC does (JEDEC eMMC 5.0, EXT_CSD 267 to 269), SD cards do not.
fn wear(device: u64) -> Option<Finding> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let mut place: PathBuf = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    // A partition lies below its disk.
    if place.join("partition").exists() {
        place = place.parent()?.to_path_buf();
    }
    let read = |name: &str| std::fs::read_to_string(place.join("device").join(name)).ok();
    let life = read("life_time")?;
    // Steps of a tenth: 0x01 is up to 10 %, 0x0b is beyond its life.
    let steps = life.split_whitespace().filter_map(|step| u8::from_str_radix(step.trim_start_matches("0x"), 16).ok());
    let worst = steps.max()?;
    let found = format!("the eMMC has used up to {} % of its life", u32::from(worst) * 10);
    Some(match worst {
        0..=7 => good("wear", found),
        8..=9 => doubt("wear", found, "plan to replace it; a longer `linger` writes less"),
        _ => bad("wear", found, "replace it"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Grade;

    #[test]
    fn the_mount_of_a_folder_is_found_with_its_options() {
        let found = mount(Path::new("/proc/self"));
        assert_eq!(found.len(), 1);
        assert!(found[0].found.contains("proc on /proc"), "{found:?}");
        assert_eq!(found[0].grade, Grade::Good);
    }
}
