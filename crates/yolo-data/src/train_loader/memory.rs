//! How much memory a process may still take.

/// Bytes that can be had without swapping: what the system has left, or the container's limit leaves, whichever
/// is less. `None` where the system does not say (it is asked through Linux' files).
pub(super) fn available() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let system = mem_available(&read("/proc/meminfo")?)?;
    let limit = read("/sys/fs/cgroup/memory.max").zip(read("/sys/fs/cgroup/memory.current"));
    let reclaimable =
        read("/sys/fs/cgroup/memory.stat").and_then(|stat| value_of(&stat, "inactive_file")).unwrap_or(0);
    match limit.and_then(|(max, current)| left_in_group(&max, &current, reclaimable)) {
        Some(left) => Some(system.min(left)),
        None => Some(system),
    }
}

/// `MemAvailable` of `/proc/meminfo`, in bytes; the file counts in KiB.
fn mem_available(meminfo: &str) -> Option<u64> {
    value_of(meminfo, "MemAvailable:")?.checked_mul(1024)
}

/// The number after `key`, on the line that begins with it.
fn value_of(text: &str, key: &str) -> Option<u64> {
    let mut words = text
        .lines()
        .map(str::split_whitespace)
        .find_map(|mut words| (words.next() == Some(key)).then_some(words))?;
    words.next()?.parse().ok()
}

/// What a control group's limit leaves; `None` without a limit (`max`). File pages that are not in use count as
/// taken there, but are given up on demand.
fn left_in_group(max: &str, current: &str, reclaimable: u64) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    Some(max.saturating_sub(current.saturating_sub(reclaimable)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_in_kibibytes() {
        let text = "MemTotal:       32768 kB\nMemFree:          100 kB\nMemAvailable:     2048 kB\n";
        assert_eq!(mem_available(text), Some(2 << 20));
        assert_eq!(mem_available("MemTotal: 5 kB\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_system_has_memory() {
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn a_group_without_limit_has_no_say() {
        assert_eq!(left_in_group("max\n", "100\n", 0), None);
        assert_eq!(left_in_group("1000\n", "400\n", 150), Some(750));
        assert_eq!(left_in_group("1000\n", "1400\n", 0), Some(0));
    }
}
