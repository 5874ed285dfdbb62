//! What a process has used: processor time and memory, as Linux counts them.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};

/// Processor time of all threads of the process so far.
///
/// From `schedstat`, in nanoseconds; `stat` counts in steps of 10 ms.
pub(crate) fn cpu_time(process: u32) -> Result<Duration> {
    let mut total = 0_u64;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let nanoseconds = text.split(' ').next().and_then(|first| first.parse::<u64>().ok());
        total = total.saturating_add(nanoseconds.unwrap_or(0));
    }
    ensure!(total > 0, "this kernel keeps no schedstat");
    Ok(Duration::from_nanos(total))
}

/// Resident memory of the process, in bytes.
pub(crate) fn resident_bytes(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes.saturating_mul(1024))
}

/// Keeps this process and what it starts off the first core, which belongs to Envoy.
pub(crate) fn leave_first_core() -> Result<bool> {
    let cores = std::thread::available_parallelism()?.get();
    if cores < 2 {
        return Ok(false);
    }
    let others = format!("1-{}", cores.saturating_sub(1));
    let own = std::process::id().to_string();
    let output = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", &others, &own])
        .output()?;
    ensure!(output.status.success(), "taskset: {}", String::from_utf8_lossy(&output.stderr));
    Ok(true)
}

/// A binary built beside this one.
pub(crate) fn sibling(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name(name);
    ensure!(path.exists(), "{} is missing; `make release` builds it", path.display());
    Ok(path)
}
