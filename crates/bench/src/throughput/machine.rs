//! What a measurement was made on and with.

use std::time::SystemTime;

use crate::environment::Environment;

use super::settings::Settings;

/// The facts that a number about speed is worth nothing without.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// The processor's name; its architecture where the system does not tell.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Git revision of the working directory, `-dirty` behind it where files differ; empty without git.
    pub revision: String,
    /// The day, UTC, `YYYY-MM-DD`.
    pub date: String,
    /// The command that measures the same.
    pub command: String,
    /// Most memory that this process has had so far, in bytes, peers not included; `None` where the system does not
    /// tell.
    pub peak_memory: Option<u64>,
}

impl Machine {
    /// Asks the system; memory is that of this moment.
    pub fn detect(settings: &Settings) -> Self {
        let now = crate::environment::stamp(SystemTime::now());
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            processor: field(&processors, "model name")
                .unwrap_or(std::env::consts::ARCH)
                .to_owned(),
            cores: crate::cli::threads(None),
            revision: Environment::detect().git_revision,
            date: now.chars().take(10).collect(),
            command: settings.command(),
            peak_memory: field(&status, "VmHWM").and_then(kilobytes),
        }
    }
}

/// The value of the first line `key : value`, as Linux writes its facts.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
        .filter(|value| !value.is_empty())
}

fn kilobytes(text: &str) -> Option<u64> {
    let number: u64 = text.strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_as_linux_writes_them_and_absent_where_it_does_not() {
        let status = "Name:\tx\nVmPeak:\t  300 kB\nVmHWM:\t  123 kB\n";
        assert_eq!(field(status, "VmHWM").and_then(kilobytes), Some(123 * 1024));
        assert_eq!(field("", "VmHWM").and_then(kilobytes), None);
        assert_eq!(kilobytes("12 MB"), None);
        let processors = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: other\n";
        assert_eq!(field(processors, "model name"), Some("Some CPU @ 2 GHz"));
        assert_eq!(field("model name :\n", "model name"), None);
    }
}
