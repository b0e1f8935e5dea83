//! `fetch` as a user meets it: a process, a data folder, and a server that cuts, lies, forgets and dies.

#![cfg(unix)]

mod archives;
mod place;
mod processes;
#[path = "../program/mod.rs"]
mod program;
mod server;

use std::path::Path;
use std::time::{Duration, Instant};

use place::{Place, bytes, read, sha256};
use server::{Behaviour, Server};

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
fn a_silent_server_is_left_after_the_timeout() {
    let body = bytes(9000);
    let server = Server::start(Behaviour {
        pause: Duration::from_secs(8),
        ..Behaviour::of(&body)
    });
    let place = Place::serving(&server, &body);
    let begun = Instant::now();
    let said = place.fails(&["net", "--timeout", "1", "--tries", "2"]);
    assert!(begun.elapsed() < Duration::from_secs(7));
    assert!(said.contains("after 2 tries"), "{said}");
    assert!(!place.path("weights/net.pth").exists());
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
    let items = bench::fetch::item::items(&registry).unwrap();
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
