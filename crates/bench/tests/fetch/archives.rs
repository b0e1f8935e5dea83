//! Archives: unpacked flat, all or nothing, nothing outside, no more than allowed.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::place::{Place, bytes, read, sha256};
use super::server::{Behaviour, Server};

struct Member<'a> {
    path: &'a str,
    kind: EntryType,
    data: Vec<u8>,
}

fn file(path: &str, data: Vec<u8>) -> Member<'_> {
    let kind = EntryType::Regular;
    Member { path, kind, data }
}

fn archive(members: &[Member]) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for member in members {
        let mut header = Header::new_gnu();
        // Past the checks of `set_path`, which would refuse what these tests are about.
        header.as_old_mut().name[..member.path.len()].copy_from_slice(member.path.as_bytes());
        header.set_entry_type(member.kind);
        header.set_size(member.data.len() as u64);
        header.set_mode(0o644);
        if member.kind == EntryType::Symlink {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        builder.append(&header, &member.data[..]).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn good() -> Vec<Member<'static>> {
    vec![
        Member {
            path: "pictures-bin/",
            kind: EntryType::Directory,
            data: Vec::new(),
        },
        file("pictures-bin/a.bin", bytes(50_000)),
        file("pictures-bin/readme.html", b"not wanted".to_vec()),
        file("pictures-bin/b.txt", b"cat\ndog\n".to_vec()),
    ]
}

/// A place whose registry knows `pictures`, the archive with these bytes.
fn place(server: &Server, body: &[u8]) -> Place {
    let place = Place::new();
    let text = format!(
        "[pictures]\nformat = 'cifar10'\npath = 'pictures'\nlicence = 'MIT'\nsource = 'here'\n\
         [pictures.download]\nurl = '{}'\nsha256 = '{}'\nsize = {}\nfile = 'pictures/p.tar.gz'\n\
         members = ['a.bin', 'b.txt']\nmembers_size = 60000\n",
        server.url("file"),
        sha256(body),
        body.len()
    );
    std::fs::write(place.path("datasets.toml"), text).unwrap();
    place
}

fn served(body: &[u8]) -> (Server, Place) {
    let server = Server::start(Behaviour::of(body));
    let place = place(&server, body);
    (server, place)
}

#[test]
fn an_archive_becomes_its_members_and_is_not_fetched_again() {
    let body = archive(&good());
    let (server, place) = served(&body);
    place.succeeds(&["pictures"]);
    assert_eq!(place.names("pictures"), ["SHA256SUMS", "a.bin", "b.txt"]);
    assert_eq!(read(&place.path("pictures/a.bin")), bytes(50_000));
    assert_eq!(read(&place.path("pictures/b.txt")), b"cat\ndog\n");
    let sums = String::from_utf8(read(&place.path("pictures/SHA256SUMS"))).unwrap();
    assert!(
        sums.contains(&format!("{}  a.bin\n", sha256(&bytes(50_000)))),
        "{sums}"
    );
    assert!(place.succeeds(&["pictures"]).contains("verified"));
    assert!(place.succeeds(&[]).contains("present"));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_damaged_member_is_noticed_and_a_missing_one_comes_back() {
    let body = archive(&good());
    let (server, place) = served(&body);
    place.succeeds(&["pictures"]);
    let member = place.path("pictures/a.bin");
    std::fs::write(&member, vec![0; 50_000]).unwrap();
    let said = place.fails(&["pictures"]);
    assert!(said.contains("a.bin") && said.contains("--force"), "{said}");
    assert_eq!(server.requests().len(), 1);
    place.succeeds(&["pictures", "--force"]);
    assert_eq!(read(&member), bytes(50_000));
    std::fs::remove_file(&member).unwrap();
    place.succeeds(&["pictures"]);
    assert_eq!(read(&member), bytes(50_000));
}

#[test]
fn an_archive_copied_to_its_place_is_unpacked_without_network_and_stays() {
    let body = archive(&good());
    let (server, place) = served(&body);
    drop(server);
    let said = place.fails(&["pictures"]);
    assert!(
        said.contains("p.tar.gz; `fetch pictures` then unpacks it"),
        "{said}"
    );
    std::fs::write(place.path("pictures/p.tar.gz"), &body).unwrap();
    place.succeeds(&["pictures"]);
    assert_eq!(read(&place.path("pictures/a.bin")), bytes(50_000));
    assert_eq!(read(&place.path("pictures/p.tar.gz")), body);
}

#[test]
fn members_that_somebody_put_there_are_not_overwritten_unasked() {
    let body = archive(&good());
    let (server, place) = served(&body);
    std::fs::create_dir(place.path("pictures")).unwrap();
    std::fs::write(place.path("pictures/a.bin"), b"mine").unwrap();
    assert!(place.fails(&["pictures"]).contains("--force"));
    assert_eq!(server.requests().len(), 0);
    std::fs::write(place.path("pictures/p.tar.gz"), &body).unwrap();
    assert!(place.fails(&["pictures"]).contains("--force"));
    assert_eq!(read(&place.path("pictures/a.bin")), b"mine");
    assert_eq!(place.names("pictures"), ["a.bin", "p.tar.gz"]);
    // The same bytes, from wherever, are as good as unpacked.
    std::fs::write(place.path("pictures/a.bin"), bytes(50_000)).unwrap();
    place.succeeds(&["pictures"]);
}

/// Nothing under a final name, and the reason is told.
#[track_caller]
fn refused(body: &[u8], reason: &str) {
    let (_server, place) = served(body);
    let said = place.fails(&["pictures"]);
    assert!(said.contains(reason), "{said}");
    assert_eq!(place.names("pictures"), ["p.tar.gz"]);
    assert_eq!(
        place.names(""),
        ["datasets.toml", "models.toml", "pictures"]
    );
}

#[test]
fn an_archive_that_reaches_outside_is_refused() {
    for path in [
        "../evil.bin",
        "pictures-bin/../../evil.bin",
        "/tmp/evil.bin",
        "../a.bin",
    ] {
        let mut members = good();
        members.push(file(path, b"evil".to_vec()));
        refused(&archive(&members), "leaves the folder");
    }
    for kind in [EntryType::Symlink, EntryType::Fifo, EntryType::Link] {
        let mut members = good();
        members[1].kind = kind;
        members[1].data.clear();
        refused(&archive(&members), "is no regular file");
    }
}

#[test]
fn an_archive_with_too_much_or_too_little_is_refused() {
    let mut large = good();
    large[1].data = bytes(60_001);
    refused(&archive(&large), "larger than the 60000 bytes");
    let mut twice = good();
    twice.push(file("b.txt", b"other".to_vec()));
    refused(&archive(&twice), "in it twice");
    refused(&archive(&good()[..2]), "holds no b.txt");
    // A bomb: 64 MiB of zeros in a member that nobody wants.
    let mut bomb = good();
    bomb.insert(1, file("zeros", vec![0; 64 << 20]));
    refused(&archive(&bomb), "cannot unpack");
}

#[test]
fn a_truncated_or_damaged_archive_leaves_nothing() {
    let body = archive(&good());
    for length in [0, 5, 1000, body.len() / 2, body.len() - 9, body.len() - 1] {
        refused(&body[..length], "cannot unpack");
    }
    let mut other = body.clone();
    let end = other.len();
    // gzip keeps the CRC of what comes out in its last 8 bytes.
    other[end - 8] ^= 1;
    refused(&other, "cannot unpack");
    let mut text = GzEncoder::new(Vec::new(), Compression::fast());
    text.write_all(&bytes(5000)).unwrap();
    refused(&text.finish().unwrap(), "cannot unpack");
}
