//! Which task of a job array this process is, by what schedulers put into its environment.

/// The variables of one scheduler.
struct Scheduler {
    name: &'static str,
    /// The task's number; absent, empty or no number outside of an array.
    index: &'static str,
    /// The number of the first task: a variable, or what it always is.
    first: First,
    /// How many there are.
    count: Count,
    /// What names the job for people.
    job: &'static [&'static str],
}

enum First {
    In(&'static str),
    Is(i64),
}

enum Count {
    In(&'static str),
    /// The number of the last task.
    Last(&'static str),
    Unsaid,
}

/// In the order in which they are asked: a Slurm allocation may run HyperQueue, and a Kubernetes pod may run anything.
const SCHEDULERS: [Scheduler; 8] = [
    Scheduler {
        name: "HyperQueue",
        index: "HQ_TASK_ID",
        first: First::Is(0),
        count: Count::Unsaid,
        job: &["HQ_JOB_ID", "HQ_TASK_ID"],
    },
    Scheduler {
        name: "Slurm",
        index: "SLURM_ARRAY_TASK_ID",
        first: First::In("SLURM_ARRAY_TASK_MIN"),
        count: Count::Last("SLURM_ARRAY_TASK_MAX"),
        job: &["SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"],
    },
    Scheduler {
        name: "PBS",
        index: "PBS_ARRAY_INDEX",
        first: First::Is(0),
        count: Count::Unsaid,
        job: &["PBS_JOBID"],
    },
    Scheduler {
        name: "Torque",
        index: "PBS_ARRAYID",
        first: First::Is(0),
        count: Count::Unsaid,
        job: &["PBS_JOBID"],
    },
    Scheduler {
        name: "Grid Engine",
        index: "SGE_TASK_ID",
        first: First::In("SGE_TASK_FIRST"),
        count: Count::Last("SGE_TASK_LAST"),
        job: &["JOB_ID", "SGE_TASK_ID"],
    },
    Scheduler {
        name: "LSF",
        // 0 outside of an array.
        index: "LSB_JOBINDEX",
        first: First::Is(1),
        count: Count::Last("LSB_JOBINDEX_END"),
        job: &["LSB_JOBID", "LSB_JOBINDEX"],
    },
    Scheduler {
        name: "AWS Batch",
        index: "AWS_BATCH_JOB_ARRAY_INDEX",
        first: First::Is(0),
        count: Count::In("AWS_BATCH_JOB_ARRAY_SIZE"),
        job: &["AWS_BATCH_JOB_ID"],
    },
    Scheduler {
        name: "Kubernetes",
        index: "JOB_COMPLETION_INDEX",
        first: First::Is(0),
        count: Count::Unsaid,
        job: &["HOSTNAME"],
    },
];

/// A task of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Whose array it is.
    pub scheduler: &'static str,
    /// Its place, from 0.
    pub place: usize,
    /// How many tasks there are, where that is told.
    pub count: Option<usize>,
}

impl Task {
    /// Where in a list of `length` it begins: tasks are spread over the list, so that few ask for the same run.
    pub fn begins(&self, length: usize) -> usize {
        if length == 0 {
            return 0;
        }
        match self.count.filter(|&count| count > 0) {
            Some(count) => (self.place % count) * length / count,
            // Any step that leaves out no place: a prime that is longer than plans are.
            None => (self.place % length).wrapping_mul(1_000_003) % length,
        }
    }
}

/// Which task this process is by `variable`, the environment; none where no scheduler says so.
pub fn task(variable: &dyn Fn(&str) -> Option<String>) -> Option<Task> {
    let number = |name: &str| variable(name)?.trim().parse::<i64>().ok();
    SCHEDULERS.iter().find_map(|scheduler| {
        let index = number(scheduler.index)?;
        let first = match scheduler.first {
            First::In(name) => number(name).unwrap_or(index.min(1)),
            First::Is(first) => first,
        };
        let place = usize::try_from(index - first).ok()?;
        let count = match scheduler.count {
            Count::In(name) => number(name),
            Count::Last(name) => number(name).map(|last| last - first + 1),
            Count::Unsaid => None,
        };
        Some(Task {
            scheduler: scheduler.name,
            place,
            count: count.and_then(|count| usize::try_from(count).ok()),
        })
    })
}

/// What the scheduler calls this job, for people; empty without one.
pub fn job(variable: &dyn Fn(&str) -> Option<String>) -> String {
    let own = |scheduler: &&Scheduler| {
        let index = variable(scheduler.index);
        index.is_some_and(|index| index.trim().parse::<i64>().is_ok())
    };
    let words = match SCHEDULERS.iter().find(own) {
        Some(scheduler) => scheduler.job,
        None => &["SLURM_JOB_ID"],
    };
    let words: Vec<String> = words.iter().filter_map(|name| variable(name)).collect();
    words.join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(pairs: &[(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn every_scheduler_s_tasks_count_from_zero() {
        for (pairs, scheduler, place, count, name) in [
            (
                &[
                    ("SLURM_ARRAY_TASK_ID", "5"),
                    ("SLURM_ARRAY_TASK_MIN", "1"),
                    ("SLURM_ARRAY_TASK_MAX", "6"),
                    ("SLURM_ARRAY_TASK_COUNT", "6"),
                    ("SLURM_ARRAY_JOB_ID", "17"),
                ][..],
                "Slurm",
                4,
                Some(6),
                "17_5",
            ),
            (
                &[("PBS_ARRAY_INDEX", "3"), ("PBS_JOBID", "9[3].host")],
                "PBS",
                3,
                None,
                "9[3].host",
            ),
            (
                &[
                    ("SGE_TASK_ID", "2"),
                    ("SGE_TASK_FIRST", "1"),
                    ("SGE_TASK_LAST", "4"),
                    ("JOB_ID", "8"),
                ],
                "Grid Engine",
                1,
                Some(4),
                "8_2",
            ),
            (
                &[
                    ("LSB_JOBINDEX", "1"),
                    ("LSB_JOBINDEX_END", "3"),
                    ("LSB_JOBID", "4"),
                ],
                "LSF",
                0,
                Some(3),
                "4_1",
            ),
            (
                &[
                    ("HQ_TASK_ID", "0"),
                    ("HQ_JOB_ID", "2"),
                    ("SLURM_JOB_ID", "1"),
                ],
                "HyperQueue",
                0,
                None,
                "2_0",
            ),
            (
                &[
                    ("AWS_BATCH_JOB_ARRAY_INDEX", "1"),
                    ("AWS_BATCH_JOB_ARRAY_SIZE", "2"),
                    ("AWS_BATCH_JOB_ID", "a:1"),
                ],
                "AWS Batch",
                1,
                Some(2),
                "a:1",
            ),
            (
                &[("JOB_COMPLETION_INDEX", "7"), ("HOSTNAME", "pod-7")],
                "Kubernetes",
                7,
                None,
                "pod-7",
            ),
        ] {
            let found = task(&within(pairs)).unwrap();
            let expected = Task {
                scheduler,
                place,
                count,
            };
            assert_eq!(found, expected);
            assert_eq!(job(&within(pairs)), name);
        }
    }

    #[test]
    fn a_job_that_is_no_array_has_no_task() {
        assert_eq!(task(&within(&[])), None);
        assert_eq!(task(&within(&[("SGE_TASK_ID", "undefined")])), None);
        assert_eq!(task(&within(&[("LSB_JOBINDEX", "0")])), None);
        assert_eq!(job(&within(&[("SLURM_JOB_ID", "3")])), "3");
        assert_eq!(job(&within(&[])), "");
    }

    #[test]
    fn tasks_begin_at_places_of_their_own() {
        for count in [Some(6), None] {
            let begins = (0..6).map(|place| {
                let task = Task {
                    scheduler: "Slurm",
                    place,
                    count,
                };
                task.begins(60)
            });
            let different: std::collections::BTreeSet<usize> = begins.collect();
            assert_eq!(different.len(), 6, "{count:?}");
            assert!(different.iter().all(|&place| place < 60));
        }
        let more = Task {
            scheduler: "Slurm",
            place: 9,
            count: Some(10),
        };
        assert!(more.begins(3) < 3);
        assert_eq!(more.begins(0), 0);
    }
}
