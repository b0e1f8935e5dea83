//! What a run was made with and on: revision, compiler, burn, processor, host.

use std::process::Command;

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
