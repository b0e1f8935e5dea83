//! What a run was made with and on: revision, compiler, burn, processor, host.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment as RFC 3339, UTC, in whole seconds. A clock that stands before 1970 or behind 9999 says the nearest moment that can be
/// written: it is for people, and no reason to lose a run.
pub fn stamp(moment: SystemTime) -> String {
    const LAST: u64 = 253_402_300_799;
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs().min(LAST);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// Facts about this process that every run records.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Git revision of the working directory, `-dirty` behind it where files differ; empty without git.
    pub git_revision: String,
    /// `rustc --version` of the compiler that built this binary.
    pub rustc: &'static str,
    /// burn's version.
    pub burn: &'static str,
    /// Vector extensions of this processor, space separated.
    pub cpu_features: String,
    /// Host name; empty where the system does not tell.
    pub host: String,
}

impl Environment {
    /// Asks git, the processor and the system.
    pub fn detect() -> Self {
        Self {
            git_revision: git_revision().unwrap_or_default(),
            rustc: env!("QUANTLAB_RUSTC"),
            burn: env!("QUANTLAB_BURN"),
            cpu_features: cpu_features(),
            host: std::fs::read_to_string("/proc/sys/kernel/hostname")
                .map(|name| name.trim().to_owned())
                .unwrap_or_default(),
        }
    }
}

fn git_revision() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let revision = git(&["rev-parse", "--short=12", "HEAD"])?;
    // Results are written into the tree by the very runs that ask: they do not make the code dirty.
    let changed = git(&[
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ":!results",
        ":!README.md",
    ])?;
    Some(if changed.is_empty() {
        revision
    } else {
        format!("{revision}-dirty")
    })
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> String {
    let known = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
    ];
    let present: Vec<_> = known
        .iter()
        .filter(|(_, present)| *present)
        .map(|(name, _)| *name)
        .collect();
    present.join(" ")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> String {
    std::env::consts::ARCH.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_far_off_is_no_panic() {
        let [before, behind] = [
            UNIX_EPOCH - Duration::from_secs(5),
            UNIX_EPOCH + Duration::from_secs(1 << 40),
        ];
        assert_eq!(stamp(before), "1970-01-01T00:00:00Z");
        assert_eq!(stamp(behind), "9999-12-31T23:59:59Z");
        let day = UNIX_EPOCH + Duration::from_millis(86_400_999);
        assert_eq!(stamp(day), "1970-01-02T00:00:00Z");
    }
}
