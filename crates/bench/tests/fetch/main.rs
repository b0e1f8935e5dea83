//! `fetch` as a user meets it: a process, a data folder, and a server that cuts, lies, forgets and dies.

#![cfg(unix)]

mod archives;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use server::{Behaviour, Server};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A data folder whose registry knows one model, `net`, and one test set, `pictures`.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        std::fs::write(place.path("models.toml"), "").unwrap();
        std::fs::write(
            place.path("datasets.toml"),
            "[private]\nformat = 'image-folder'\npath = 'p'\nlicence = 'none'\nsource = 'ask the owner'\n",
        )
        .unwrap();
        place
    }

    /// The registry's `net`; `rest` is more lines of its download.
    fn with_net(url: &str, sha256: &str, rest: &str) -> Self {
        let place = Self::new();
        let text = format!(
            "[net]\narch = 'resnet18'\ndataset = 'imagenet'\nfile = 'weights/net.pth'\nlicence = 'MIT'\n\
             source = 'here'\n[net.download]\nurl = '{url}'\nsha256 = '{sha256}'\n{rest}\n"
        );
        std::fs::write(place.path("models.toml"), text).unwrap();
        place
    }

    /// `net` is what the server serves, by size and whole checksum.
    fn serving(server: &Server, body: &[u8]) -> Self {
        let rest = format!("size = {}", body.len());
        Self::with_net(&server.url("file"), &sha256(body), &rest)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fetch"));
        command
            .args(arguments)
            .arg("--data")
            .arg(self.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says on stderr, in one exit status 1.
    #[track_caller]
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Names below a folder, sorted.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = self.path(folder).read_dir().unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Bytes that differ everywhere, so that a shifted or doubled piece is seen.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "waited in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_file_arrives_whole_and_a_second_call_asks_for_nothing() {
    let body = bytes(300_000);
    let server = Server::start(Behaviour::of(&body));
    let place = Place::serving(&server, &body);
    let said = place.succeeds(&["net"]);
    assert!(said.contains(&sha256(&body)), "{said}");
    assert_eq!(read(&place.path("weights/net.pth")), body);
    assert_eq!(place.names("weights"), ["net.pth"]);
    let said = place.succeeds(&["net"]);
    assert!(said.contains("is there and verified"), "{said}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn eight_digits_of_the_checksum_are_enough_and_the_size_may_be_unknown() {
    let body = bytes(9000);
    let server = Server::start(Behaviour::of(&body));
    let place = Place::with_net(&server.url("file"), &sha256(&body)[..8], "");
    assert!(place.succeeds(&["net"]).contains(&sha256(&body)));
    assert_eq!(read(&place.path("weights/net.pth")), body);
    let place = Place::with_net(&server.url("file"), &sha256(&body)[..7], "");
    assert!(place.fails(&["net"]).contains("8 to 64 hex digits"));
}

#[test]
fn a_cut_connection_is_resumed_with_the_same_bytes() {
    let body = bytes(300_000);
    for hides_length in [false, true] {
        let server = Server::start(Behaviour {
            cut: Some((100_000, 2)),
            hides_length,
            ..Behaviour::of(&body)
        });
        let place = Place::serving(&server, &body);
        place.succeeds(&["net"]);
        assert_eq!(read(&place.path("weights/net.pth")), body);
        let requests = server.requests();
        assert!(!requests[0].contains("\nrange:"), "{requests:?}");
        assert!(
            requests[1].contains("\nrange: bytes=100000-"),
            "{requests:?}"
        );
        assert!(
            requests[2].contains("\nrange: bytes=200000-"),
            "{requests:?}"
        );
    }
}

#[test]
fn the_next_call_goes_on_where_the_last_one_failed() {
    let body = bytes(300_000);
    let server = Server::start(Behaviour {
        cut: Some((100_000, 1)),
        etag: Some("\"one\"".to_owned()),
        ..Behaviour::of(&body)
    });
    let place = Place::serving(&server, &body);
    let said = place.fails(&["net", "--tries", "1"]);
    assert!(said.contains("what arrived is kept"), "{said}");
    assert_eq!(
        place.names("weights"),
        ["net.pth.part", "net.pth.part.source"]
    );
    place.succeeds(&["net"]);
    assert_eq!(read(&place.path("weights/net.pth")), body);
    assert!(server.requests()[1].contains("\nrange: bytes=100000-"));
    assert!(server.requests()[1].contains("\nif-range: \"one\""));
}

#[test]
fn a_file_that_changed_meanwhile_starts_over() {
    let (old, new) = (vec![7; 300_000], bytes(300_000));
    for etag in [Some("\"one\"".to_owned()), None] {
        let server = Server::start(Behaviour {
            cut: Some((100_000, 1)),
            etag: etag.clone(),
            ..Behaviour::of(&old)
        });
        let place = Place::serving(&server, &new);
        place.fails(&["net", "--tries", "1"]);
        server.change(|b| {
            b.body = new.clone();
            b.etag = etag.map(|_| "\"two\"".to_owned());
        });
        // With an ETag the server says so at once; without, the checksum does.
        place.succeeds(&["net"]);
        assert_eq!(read(&place.path("weights/net.pth")), new);
    }
}

#[test]
fn a_server_that_ignores_ranges_and_a_part_that_is_too_long_start_over() {
    let body = bytes(300_000);
    let server = Server::start(Behaviour {
        cut: Some((100_000, 1)),
        ignores_range: true,
        ..Behaviour::of(&body)
    });
    let place = Place::serving(&server, &body);
    place.succeeds(&["net"]);
    assert_eq!(read(&place.path("weights/net.pth")), body);

    for (have, size) in [(300_001, true), (400_000, false), (300_000, true)] {
        let server = Server::start(Behaviour::of(&body));
        let size = if size { "size = 300000" } else { "" };
        let place = Place::with_net(&server.url("file"), &sha256(&body), size);
        std::fs::create_dir(place.path("weights")).unwrap();
        std::fs::write(place.path("weights/net.pth.part"), vec![1; have]).unwrap();
        place.succeeds(&["net"]);
        assert_eq!(read(&place.path("weights/net.pth")), body, "{have} bytes");
        assert_eq!(place.names("weights"), ["net.pth"]);
    }
}

#[test]
fn errors_that_pass_are_tried_again_and_others_are_not() {
    let body = bytes(9000);
    let server = Server::start(Behaviour {
        status: Some((503, 1)),
        ..Behaviour::of(&body)
    });
    let place = Place::serving(&server, &body);
    place.succeeds(&["net"]);
    assert_eq!(server.requests().len(), 2);

    let server = Server::start(Behaviour {
        status: Some((404, 9)),
        ..Behaviour::of(&body)
    });
    let place = Place::serving(&server, &body);
    let said = place.fails(&["net"]);
    assert!(
        said.contains("404") && said.contains(&server.url("file")),
        "{said}"
    );
    assert_eq!(server.requests().len(), 1);
    assert_eq!(place.names("weights"), [""; 0]);
}

#[test]
fn wrong_bytes_are_named_by_both_checksums_and_removed() {
    let body = bytes(9000);
    let server = Server::start(Behaviour::of(&body));
    let wrong = "0".repeat(64);
    let place = Place::with_net(&server.url("file"), &wrong, "size = 9000");
    let said = place.fails(&["net"]);
    assert!(
        said.contains(&sha256(&body)) && said.contains(&wrong),
        "{said}"
    );
    assert_eq!(
        said.lines()
            .filter(|line| line.starts_with("error:"))
            .count(),
        1,
        "{said}"
    );
    assert_eq!(place.names("weights"), [""; 0]);
}

#[test]
fn never_more_bytes_than_stated_are_kept() {
    let body = bytes(500_000);
    for hides_length in [false, true] {
        let server = Server::start(Behaviour {
            hides_length,
            ..Behaviour::of(&body)
        });
        let place = Place::with_net(&server.url("file"), &sha256(&body), "size = 9000");
        let said = place.fails(&["net"]);
        assert!(said.contains("9000"), "{said}");
        assert_eq!(place.names("weights"), [""; 0]);
    }
}

#[test]
fn a_machine_without_network_is_told_what_to_do_at_once() {
    // A port that was just free: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{address}/net.pth");
    let place = Place::with_net(&url, "0123456789", "");
    let begun = Instant::now();
    let said = place.fails(&["net"]);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let target = place.path("weights/net.pth").display().to_string();
    for part in [
        "cannot reach",
        &url,
        "begins with 0123456789",
        "copy it to",
        &target,
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
}

#[test]
fn a_file_copied_to_its_place_is_verified_and_a_wrong_one_only_replaced_by_force() {
    let body = bytes(9000);
    let server = Server::start(Behaviour::of(&body));
    let place = Place::serving(&server, &body);
    std::fs::create_dir(place.path("weights")).unwrap();
    std::fs::write(place.path("weights/net.pth"), &body).unwrap();
    assert!(place.succeeds(&["net"]).contains("verified"));
    std::fs::write(place.path("weights/net.pth"), vec![1; 9000]).unwrap();
    assert!(place.fails(&["net"]).contains("--force"));
    assert_eq!(read(&place.path("weights/net.pth")), vec![1; 9000]);
    assert_eq!(server.requests().len(), 0);
    place.succeeds(&["net", "--force"]);
    assert_eq!(read(&place.path("weights/net.pth")), body);
}

#[test]
fn redirects_are_followed_so_far_and_no_further() {
    let body = bytes(9000);
    let server = Server::start(Behaviour::of(&body));
    server.change(|b| b.redirect = Some(server.url("file")));
    let rest = "size = 9000";
    let place = Place::with_net(&server.url("moved"), &sha256(&body), rest);
    place.succeeds(&["net"]);
    assert_eq!(read(&place.path("weights/net.pth")), body);

    server.change(|b| b.redirect = Some(server.url("moved")));
    let before = server.requests().len();
    let place = Place::with_net(&server.url("moved"), &sha256(&body), rest);
    assert!(place.fails(&["net"]).contains("redirects"));
    assert!(server.requests().len() < before + 8);

    for url in ["file:///etc/passwd", "ftp://127.0.0.1/net", "net.pth"] {
        let place = Place::with_net(url, &sha256(&body), rest);
        assert!(place.fails(&["net"]).contains("only http:// and https://"));
    }
}

/// Starts a download that takes seconds, and comes back when some of it is there.
fn slowly(place: &Place) -> Child {
    let child = place.command(&["net"]).spawn().unwrap();
    wait_for("the first bytes", || {
        let part = place.path("weights/net.pth.part");
        part.metadata().is_ok_and(|m| m.len() > 8192)
    });
    child
}

#[test]
fn a_kill_leaves_no_file_and_the_next_call_completes_it() {
    let body = bytes(400_000);
    for signal in ["-KILL", "-INT"] {
        let server = Server::start(Behaviour {
            pause: Duration::from_millis(50),
            ..Behaviour::of(&body)
        });
        let place = Place::serving(&server, &body);
        let child = slowly(&place);
        let kill = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert!(!place.path("weights/net.pth").exists());
        if signal == "-INT" {
            assert_eq!(output.status.code(), Some(130));
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(
                said.contains("the same command goes on from there"),
                "{said}"
            );
        }
        let have = place.path("weights/net.pth.part").metadata().unwrap().len();
        server.change(|b| b.pause = Duration::ZERO);
        place.succeeds(&["net"]);
        assert_eq!(read(&place.path("weights/net.pth")), body);
        assert_eq!(place.names("weights"), ["net.pth"]);
        let last = server.requests().pop().unwrap();
        assert!(last.contains(&format!("\nrange: bytes={have}-")), "{last}");
    }
}

#[test]
fn two_processes_fetch_a_file_once() {
    let body = bytes(100_000);
    let server = Server::start(Behaviour {
        pause: Duration::from_millis(20),
        ..Behaviour::of(&body)
    });
    let place = Place::serving(&server, &body);
    let first = slowly(&place);
    let second = place.run(&["net"]);
    assert!(first.wait_with_output().unwrap().status.success());
    assert!(second.status.success());
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("another process"), "{said}");
    assert_eq!(server.requests().len(), 1);
    assert_eq!(read(&place.path("weights/net.pth")), body);
    assert_eq!(place.names("weights"), ["net.pth"]);
}

#[test]
fn without_names_everything_is_listed_and_a_wrong_name_says_what_there_is() {
    let place = Place::with_net("http://127.0.0.1:1/net", "0123456789", "size = 4");
    let said = place.succeeds(&[]);
    let target = place.path("weights/net.pth").display().to_string();
    for part in ["net", "4 B", "absent", "MIT", &target] {
        assert!(said.contains(part), "{said}");
    }
    std::fs::create_dir(place.path("weights")).unwrap();
    std::fs::write(place.path("weights/net.pth"), b"1234").unwrap();
    assert!(place.succeeds(&["--list"]).contains("present"));
    let said = place.fails(&["nett"]);
    assert!(
        said.contains("no `nett`") && said.contains("there are net"),
        "{said}"
    );
    assert!(place.fails(&["private"]).contains("ask the owner"));
}

#[test]
fn a_registry_cannot_point_out_of_the_data_folder() {
    for file in ["../net.pth", "/tmp/net.pth", "a/../../net.pth", ""] {
        let rest = format!("file = '{file}'");
        let place = Place::with_net("http://127.0.0.1:1/net", "0123456789", &rest);
        assert!(
            place.fails(&["net"]).contains("not inside the data folder"),
            "{file}"
        );
    }
}

#[test]
fn the_shipped_registries_can_be_fetched_from() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
    let registry = bench::registry::Registry::open(&data).unwrap();
    let items = bench::fetch::items(&registry).unwrap();
    for name in ["cifar10", "resnet20-cifar10", "resnet18", "resnet152-v2"] {
        assert!(items.iter().any(|item| item.name == name), "{name}");
    }
    for item in &items {
        assert!(item.url.starts_with("https://"), "{}", item.url);
        let same = items
            .iter()
            .filter(|other| other.name == item.name || other.file == item.file);
        assert_eq!(same.count(), 1, "{}", item.name);
        // torchvision and akamaster put the first digits of the checksum into the file name.
        if item.members.is_empty() {
            let name = item.file.file_name().unwrap().to_str().unwrap();
            assert!(
                name.contains(&format!("-{}.", &item.sha256.digits()[..8])),
                "{name}"
            );
            assert!(item.url.ends_with(&format!("/{name}")), "{}", item.url);
        }
    }
}
