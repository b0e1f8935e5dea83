//! How a sweep stands: what is done, who works on what, what failed, how long it may take.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use indicatif::HumanDuration;
use results::{Holder, MISSED, Status, Store};

use crate::plan::PlannedRun;

/// A run that somebody works on.
#[derive(Clone, Debug, PartialEq)]
pub struct Working {
    /// Which.
    pub run_id: String,
    /// Its settings, for people.
    pub label: String,
    /// Who.
    pub holder: Holder,
    /// How long ago he was heard.
    pub heard: Duration,
}

impl Working {
    /// Whether he was heard lately enough to be at work.
    fn is_alive(&self) -> bool {
        self.holder.interval.is_zero() || self.heard < self.holder.interval * MISSED
    }
}

/// How a sweep stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Runs of the plan.
    pub planned: usize,
    /// Those that are finished.
    pub done: usize,
    /// Those that somebody works on.
    pub working: Vec<Working>,
    /// Id, settings and error of those that failed and nobody tries again at present.
    pub failed: Vec<[String; 3]>,
    /// Seconds that a finished run took, on average, float runs apart.
    pub seconds: Option<f64>,
}

/// How `runs` of an experiment stand in `store`.
///
/// # Errors
/// A damaged results folder.
pub fn standing(store: &Store, experiment: &str, runs: &[&PlannedRun]) -> Result<Standing> {
    let mut found = Standing {
        planned: runs.len(),
        ..Standing::default()
    };
    let holders = store.holders(experiment)?;
    let mut holders: HashMap<String, (Holder, Duration)> = holders
        .into_iter()
        .map(|(run_id, holder, heard)| (run_id, (holder, heard)))
        .collect();
    let known = store.runs(experiment)?;
    let mut times = Vec::new();
    for run in runs {
        let row = match known.contains(&run.run_id) {
            true => Some(store.read_row(experiment, &run.run_id)?),
            false => None,
        };
        let (run_id, label) = (run.run_id.clone(), run.label.clone());
        match row {
            Some(row) if row.status == Status::Ok => {
                found.done += 1;
                times.extend((!run.is_baseline()).then_some(row.seconds));
            }
            row => match (holders.remove(&run.run_id), row) {
                (Some((holder, heard)), _) => found.working.push(Working {
                    run_id,
                    label,
                    holder,
                    heard,
                }),
                (None, Some(row)) => {
                    let error = row.error.unwrap_or_default();
                    found.failed.push([run_id, label, error]);
                }
                (None, None) => {}
            },
        }
    }
    let sum: f64 = times.iter().sum();
    found.seconds = (!times.is_empty()).then(|| sum / times.len() as f64);
    Ok(found)
}

impl Standing {
    /// Runs that nobody works on and that are not finished; failed ones are tried again by the next sweep.
    pub fn due(&self) -> usize {
        self.planned - self.done - self.working.len() - self.failed.len()
    }

    /// In lines of at most `width` characters; `now` in seconds since 1970.
    pub fn text(&self, experiment: &str, now: u64, width: usize) -> String {
        let mut lines = vec![format!(
            "{experiment}: {} runs, {} done, {} at work, {} failed, {} due",
            self.planned,
            self.done,
            self.working.len(),
            self.failed.len(),
            self.due()
        )];
        if !self.working.is_empty() {
            lines.push(String::new());
            lines.push(format!(
                "{:<12}  {:>5}  {:<24}  settings",
                "run", "for", "by"
            ));
        }
        for own in &self.working {
            let since = Duration::from_secs(now.saturating_sub(own.holder.since));
            let mut by = format!("{}:{}", own.holder.host, own.holder.process);
            if !own.holder.job.is_empty() {
                by = format!("{by} ({})", own.holder.job);
            }
            let (run, since) = (&own.run_id, short(since));
            lines.push(format!("{run:<12}  {since:>5}  {by:<24}  {}", own.label));
            if !own.is_alive() {
                let silent = short(own.heard);
                lines.push(format!(
                    "{:<12}  not heard for {silent}: free for others",
                    ""
                ));
            }
        }
        if !self.failed.is_empty() {
            lines.push(String::new());
        }
        for [run_id, label, error] in &self.failed {
            lines.push(format!("{run_id}  failed  {label}"));
            lines.push(format!("{:<12}  {error}", ""));
        }
        let alive = self.working.iter().filter(|own| own.is_alive()).count();
        let left = self.due() as f64 + alive as f64 / 2.0;
        if let Some(seconds) = self.seconds.filter(|_| left > 0.0) {
            let hands = alive.max(1);
            let time = Duration::from_secs_f64(left * seconds / hands as f64);
            let each = HumanDuration(Duration::from_secs_f64(seconds));
            lines.push(String::new());
            lines.push(format!(
                "about {} left, {each} a run, {}",
                HumanDuration(time),
                match alive {
                    0 => "if one went on".to_owned(),
                    _ => format!("{alive} at work"),
                }
            ));
        }
        let mut text = String::new();
        for line in lines {
            text.extend(line.chars().take(width));
            text.push('\n');
        }
        text
    }
}

/// Seconds, minutes, hours or days, whichever says it with at most three digits.
fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_at_work_reads_well_in_80_columns() {
        let holder = |host: &str, job: &str| Holder {
            host: host.to_owned(),
            boot: String::new(),
            process: 4711,
            job: job.to_owned(),
            since: 1_000,
            interval: Duration::from_secs(10),
        };
        let working = |run_id: &str, host: &str, heard: u64| Working {
            run_id: run_id.to_owned(),
            label: "weights.bits=4 weights.granularity=channel calibration.method=percentile"
                .into(),
            holder: holder(host, "17_3"),
            heard: Duration::from_secs(heard),
        };
        let standing = Standing {
            planned: 61,
            done: 40,
            working: vec![
                working("0123456789ab", "node7", 4),
                working("ba9876543210", "node8", 600),
            ],
            failed: vec![[
                "111111111111".into(),
                "weights.bits=2".into(),
                "the loss is not finite".into(),
            ]],
            seconds: Some(30.0),
        };
        let text = standing.text("cifar10-activations", 1_190, 80);
        assert!(
            text.starts_with(
                "cifar10-activations: 61 runs, 40 done, 2 at work, 1 failed, 18 due\n"
            )
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        for part in [
            "0123456789ab  3 min  node7:4711 (17_3)         weights.bits=4",
            "not heard for 10 min: free for others",
            "111111111111  failed  weights.bits=2\n",
            "the loss is not finite",
            "about 9 minutes left, 30 seconds a run, 1 at work",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
