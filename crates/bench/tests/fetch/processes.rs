//! Kills, Ctrl-C, and two processes at once.

use std::process::{Child, Command};
use std::time::Duration;

use super::place::{Place, bytes, read, wait_for};
use super::server::{Behaviour, Server};

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
