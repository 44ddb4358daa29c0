//! How much memory a process can still use.

/// Bytes that are available without swapping: what the system or the container's limit leaves, whichever is less.
/// `None` if the system does not report it (it is read from Linux's files).
pub fn available() -> Option<u64> {
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

/// Bytes that a control group's limit leaves; `None` without a limit (`max`). Inactive file pages are counted as free,
/// because the kernel frees them on demand.
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
    fn a_control_group_without_limit_is_ignored() {
        assert_eq!(left_in_group("max\n", "100\n", 0), None);
        assert_eq!(left_in_group("1000\n", "400\n", 150), Some(750));
        assert_eq!(left_in_group("1000\n", "1400\n", 0), Some(0));
    }
}
