//! A sweep on a real Slurm cluster of one machine, made for the test out of the system's own packages and gone behind it.
//!
//! Where there is no Slurm the test says so and passes; with `QUANTLAB_REQUIRE_SLURM=1` it fails instead.

#![cfg(target_os = "linux")]

mod place;
mod program;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use place::Place;
use tempfile::TempDir;

/// 60 cells and the float run that they are compared with.
const EXPERIMENT: &str = "question = 'test'\nexpects = 'nothing: the weights are random'\n\
    [fixed]\nmodel.weights = 'model.safetensors'\ndataset = 'synthetic'\nimages = 96\n\
    [vary]\nweights.granularity = ['tensor', 'channel']\nweights.mapping = ['affine', 'symmetric']\n\
    weights.range = ['minmax', 'mse', 'percentile']\nweights.bits = [8, 6, 5, 4, 3]\n";
const CELLS: usize = 60;

/// Munge, slurmctld and slurmd with files, sockets and ports of their own.
struct Cluster {
    folder: TempDir,
    daemons: Vec<Child>,
}

impl Cluster {
    fn start() -> Option<Self> {
        let found = ["munged", "slurmctld", "slurmd", "sbatch", "scontrol"].map(|name| {
            let mut folders =
                std::env::split_paths("/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin");
            folders.any(|folder| folder.join(name).is_file())
        });
        let is_root = Command::new("id").arg("-u").output();
        let is_root = is_root.is_ok_and(|output| output.stdout == b"0\n");
        if !is_root || found.contains(&false) {
            assert!(
                std::env::var_os("QUANTLAB_REQUIRE_SLURM").is_none(),
                "QUANTLAB_REQUIRE_SLURM is set, but Slurm or the right to start it is missing"
            );
            eprintln!("skipped: no Slurm (munge, slurmctld, slurmd, slurm-client), or not root");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let host = host.trim().split('.').next().unwrap().to_owned();
        let ports: Vec<TcpListener> = (0..2)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let port = |n: usize| ports[n].local_addr().unwrap().port();
        let conf = format!(
            "ClusterName=one\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={}\nSlurmdPort={}\n\
             SlurmUser=root\nSlurmdUser=root\nAuthType=auth/munge\nAuthInfo=socket={}\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
             JobAcctGatherType=jobacct_gather/none\nSelectType=select/cons_tres\n\
             SelectTypeParameters=CR_CPU\nReturnToService=2\nMpiDefault=none\n\
             StateSaveLocation={}\nSlurmdSpoolDir={}\nSlurmctldPidFile={}\nSlurmdPidFile={}\n\
             SlurmctldLogFile={}\nSlurmdLogFile={}\nKillWait=2\n\
             NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\n\
             PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:2\n",
            port(0),
            port(1),
            at("munge.socket"),
            at("state"),
            at("spool"),
            at("slurmctld.pid"),
            at("slurmd.pid"),
            at("slurmctld.log"),
            at("slurmd.log"),
        );
        drop(ports);
        std::fs::write(folder.path().join("slurm.conf"), conf).unwrap();
        let mut key = vec![7_u8; 1024];
        // Not a secret: it lives as long as the test.
        key.extend_from_slice(folder.path().display().to_string().as_bytes());
        std::fs::write(folder.path().join("munge.key"), key).unwrap();
        use std::os::unix::fs::PermissionsExt;
        let own = std::fs::Permissions::from_mode(0o400);
        std::fs::set_permissions(folder.path().join("munge.key"), own).unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        for name in ["state", "spool"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let mut cluster = Self {
            daemons: Vec::new(),
            folder,
        };
        let at = |name: &str| cluster.folder.path().join(name).display().to_string();
        let conf = at("slurm.conf");
        let munge = [
            "--force".to_owned(),
            "--foreground".to_owned(),
            format!("--key-file={}", at("munge.key")),
            format!("--socket={}", at("munge.socket")),
            format!("--log-file={}", at("munged.log")),
            format!("--pid-file={}", at("munged.pid")),
            format!("--seed-file={}", at("munged.seed")),
        ];
        let socket = at("munge.socket");
        for (name, arguments) in [
            ("munged", &munge[..]),
            ("slurmctld", &["-D".into(), "-f".into(), conf.clone()]),
            ("slurmd", &["-D".into(), "-f".into(), conf.clone()]),
        ] {
            let child = Command::new(name)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            cluster.daemons.push(child.unwrap());
            if name == "munged" {
                within(10, "munge", || Path::new(&socket).exists());
            }
        }
        within(60, "an idle node", || {
            let said = cluster.run("sinfo", &["--noheader", "--format=%T"]);
            String::from_utf8_lossy(&said.stdout).contains("idle")
        });
        Some(cluster)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.command(program).args(arguments).output().unwrap()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", self.folder.path().join("slurm.conf"));
        command
    }

    /// Numbers of the jobs and tasks in a state, as Slurm names them.
    fn jobs(&self, state: &str) -> Vec<String> {
        let arguments = ["--noheader", "--array", "--format=%i", "--states", state];
        let said = self.run("squeue", &arguments);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        said.lines().map(|line| line.trim().to_owned()).collect()
    }

    fn logs(&self) -> String {
        let read = |name: &str| {
            let text = std::fs::read_to_string(self.folder.path().join(name));
            let text = text.unwrap_or_default();
            let from = text.len().saturating_sub(3_000);
            format!("{name}:\n{}\n", text.get(from..).unwrap_or(&text))
        };
        ["munged.log", "slurmctld.log", "slurmd.log"]
            .map(read)
            .concat()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.run("scancel", &["--user=root", "--signal=KILL"]);
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn within(seconds: u64, what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < Duration::from_secs(seconds),
            "no {what} in {seconds} s"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn tasks_that_are_killed_and_requeued_leave_what_one_machine_would_have_made() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let place = Place::new();
    std::fs::write(place.path("e.toml"), EXPERIMENT).unwrap();
    let whole = place.run("whole", &[]);
    assert!(whole.status.success(), "{}", place::stderr(&whole));

    let conf = cluster.folder.path().join("slurm.conf");
    let arguments = [
        "--slurm",
        "4",
        "--submit",
        "--threads",
        "1",
        "--heartbeat",
        "1",
    ];
    let output = place
        .command("shared", &arguments)
        .env("SLURM_CONF", &conf)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        place::stderr(&output),
        cluster.logs()
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("of 4 tasks for 60 runs"), "{said}");

    // One task after the other is put back into the queue, or killed as a crash would.
    let (mut requeued, mut killed) = (0, 0);
    within(120, "finished run", || place.finished_runs("shared") > 2);
    let start = Instant::now();
    for n in 0_usize.. {
        let due = CELLS + 1 - place.finished_runs("shared");
        if due < 20 || (requeued > 1 && killed > 1) {
            break;
        }
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "{}",
            cluster.logs()
        );
        std::thread::sleep(Duration::from_millis(400));
        let running = cluster.jobs("RUNNING");
        let Some(job) = running.get(n % running.len().max(1)) else {
            continue;
        };
        if n % 2 == 0 {
            let done = cluster.run("scontrol", &["requeue", job]);
            requeued += usize::from(done.status.success());
        } else {
            let done = cluster.run("scancel", &["--signal=KILL", "--batch", job]);
            killed += usize::from(done.status.success());
        }
        // Slurm lets a requeued job wait for two minutes.
        for job in cluster.jobs("PENDING") {
            cluster.run(
                "scontrol",
                &["update", &format!("JobId={job}"), "StartTime=now"],
            );
        }
    }
    assert!(
        requeued > 0 && killed > 0,
        "{requeued} requeued, {killed} killed"
    );
    let status = place.run("shared", &["--status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.starts_with("e: 61 runs, "), "{status}");

    let start = Instant::now();
    const UNDER_WAY: &str = "PENDING,RUNNING,COMPLETING";
    while !cluster.jobs(UNDER_WAY).is_empty() {
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "{:?}\n{}",
            cluster.jobs(UNDER_WAY),
            cluster.logs()
        );
        for job in cluster.jobs("PENDING") {
            cluster.run(
                "scontrol",
                &["update", &format!("JobId={job}"), "StartTime=now"],
            );
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let contents = |results: &str| {
        let mut all = place.contents(results);
        all.retain(|name, _| !name.starts_with("slurm/") && name != "index.html");
        all
    };
    let (whole, shared) = (contents("whole"), contents("shared"));
    assert_eq!(
        whole.keys().collect::<Vec<_>>(),
        shared.keys().collect::<Vec<_>>()
    );
    for (name, text) in &whole {
        assert!(shared[name] == *text, "{name} is another");
    }
}
