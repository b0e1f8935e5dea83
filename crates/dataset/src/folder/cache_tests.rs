//! What the cache of decoded images promises, seen from outside.

use super::tests::{describe, expected, image, open_counting, set, small};
use super::*;

fn cache_file(cache: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(cache)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "crops")
    });
    assert_eq!(files.len(), 1, "one cache file");
    files.remove(0)
}

#[test]
fn the_second_opening_decodes_nothing_and_gives_the_same() {
    let root = set();
    let cache = tempfile::tempdir().unwrap();
    let cached = FolderOptions {
        cache_dir: Some(cache.path().join("made/on/demand")),
        ..small()
    };
    let (first, decoded) = open_counting(root.path(), &cached).unwrap();
    assert_eq!(decoded, 3);
    let (second, decoded) = open_counting(root.path(), &cached).unwrap();
    assert_eq!(decoded, 0);
    assert_eq!(describe(&second), expected());
    let (uncached, _) = open_counting(root.path(), &small()).unwrap();
    assert_eq!(first.sha256(), second.sha256());
    assert_eq!(first.sha256(), uncached.sha256());
}

#[test]
fn labels_are_no_part_of_the_cache() {
    let root = set();
    let cache = tempfile::tempdir().unwrap();
    let list = cache.path().join("classes.txt");
    fs::write(&list, "cat\ndog\nape\n").unwrap();
    let cached = FolderOptions {
        cache_dir: Some(cache.path().into()),
        ..small()
    };
    open_counting(root.path(), &cached).unwrap();
    let (listed, decoded) = open_counting(
        root.path(),
        &FolderOptions {
            class_list: Some(list),
            ..cached
        },
    )
    .unwrap();
    assert_eq!(decoded, 0);
    assert_eq!(
        (0..3).map(|i| listed.label(i)).collect::<Vec<_>>(),
        [2, 0, 0]
    );
}

#[test]
fn a_damaged_cache_is_built_anew_whichever_part_is_hit() {
    let root = set();
    let cache = tempfile::tempdir().unwrap();
    let cached = FolderOptions {
        cache_dir: Some(cache.path().into()),
        ..small()
    };
    open_counting(root.path(), &cached).unwrap();
    let file = cache_file(cache.path());
    let whole = fs::read(&file).unwrap();
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 6] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.clear(),
        |bytes| bytes.push(0),
        |bytes| bytes[3] ^= 1,                   // header
        |bytes| bytes[4096 + 110] ^= 1,          // pixels of the second image
        |bytes| *bytes.last_mut().unwrap() ^= 1, // index
    ];
    for damage in damages {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        // Another file under the name, not other bytes in the file: an opened set keeps the old one.
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
        let (set, decoded) = open_counting(root.path(), &cached).unwrap();
        assert_eq!((describe(&set), decoded), (expected(), 3));
        assert_eq!(fs::read(&file).unwrap(), whole, "built with the same bytes");
    }
}

#[test]
fn a_changed_file_or_another_crop_is_another_cache_and_a_touched_file_changes_no_hash() {
    let root = set();
    let cache = tempfile::tempdir().unwrap();
    let cached = FolderOptions {
        cache_dir: Some(cache.path().into()),
        ..small()
    };
    let (first, _) = open_counting(root.path(), &cached).unwrap();
    let (other, decoded) = open_counting(
        root.path(),
        &FolderOptions {
            crop: 5,
            ..cached.clone()
        },
    )
    .unwrap();
    assert_eq!((other.height(), decoded), (5, 3));

    let touched = fs::File::options()
        .write(true)
        .open(root.path().join("cat/1.png"))
        .unwrap();
    touched
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    let (second, decoded) = open_counting(root.path(), &cached).unwrap();
    assert_eq!((second.sha256(), decoded), (first.sha256(), 3));

    image(root.path().join("cat/1.png"), [9, 9, 9]);
    let (third, decoded) = open_counting(root.path(), &cached).unwrap();
    assert_eq!((third.image(1)[0], decoded), (9, 3));
    assert_ne!(third.sha256(), first.sha256());
}

#[test]
fn what_a_killed_build_left_is_removed_and_never_read() {
    let root = set();
    let cache = tempfile::tempdir().unwrap();
    let left = cache.path().join("building-x.partial");
    fs::write(&left, b"half a file").unwrap();
    let cached = FolderOptions {
        cache_dir: Some(cache.path().into()),
        ..small()
    };
    let (set, _) = open_counting(root.path(), &cached).unwrap();
    assert_eq!(describe(&set), expected());
    assert!(!left.exists());
}

#[test]
fn several_at_once_build_it_once() {
    let root = set();
    let cache = tempfile::tempdir().unwrap();
    let cached = FolderOptions {
        cache_dir: Some(cache.path().into()),
        ..small()
    };
    let decoded: usize = std::thread::scope(|scope| {
        let open = || {
            let (set, decoded) = open_counting(root.path(), &cached).unwrap();
            assert_eq!(describe(&set), expected());
            decoded
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(decoded, 3);
    cache_file(cache.path());
}

#[cfg(unix)]
#[test]
fn a_dangling_link_is_unreadable_but_not_remembered() {
    let root = set();
    let cache = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("later", root.path().join("cat/link.png")).unwrap();
    let cached = FolderOptions {
        cache_dir: Some(cache.path().into()),
        ..small()
    };
    assert!(
        open_counting(root.path(), &cached)
            .unwrap_err()
            .to_string()
            .contains("cat/link.png")
    );
    let left = fs::read_dir(cache.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name() != ".lock");
    assert_eq!(left.count(), 0);
}
