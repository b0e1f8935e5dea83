//! Images from files and folders.

use std::fs;
use std::path::{Component, Path};

use dataset::cifar::{self, Kind};
use dataset::{FolderOptions, decode, folder};

use super::{Verdict, file};
use crate::mutate::parts;

/// CIFAR's binary version: of CIFAR-100 where the input begins with an odd byte.
pub fn cifar_binary(place: &Path, input: &[u8]) -> Verdict {
    let (kind, name) = match input.first().is_some_and(|byte| byte % 2 == 1) {
        true => (Kind::Hundred, "test.bin"),
        false => (Kind::Ten, "test_batch.bin"),
    };
    file(place, name, input.get(1..).unwrap_or_default());
    Verdict::of(cifar::open_test(kind, place))
}

/// Its Python version, a pickle.
pub fn cifar_python(place: &Path, input: &[u8]) -> Verdict {
    file(place, "test_batch", input);
    Verdict::of(cifar::open_test(Kind::Ten, place))
}

/// One image file.
pub fn image(_: &Path, input: &[u8]) -> Verdict {
    Verdict::of(decode::decode(input))
}

/// A tree of small files, made anew: a name that ends in `@` is a link to what the file says, `classes.txt` the list of classes, and the
/// first byte of what `outputs` holds is how many outputs the network has.
pub fn folder(place: &Path, input: &[u8]) -> Verdict {
    let (root, list) = (place.join("set"), place.join("classes.txt"));
    let _ = fs::remove_dir_all(&root);
    let _ = fs::remove_file(&list);
    fs::create_dir_all(&root).expect("the scratch folder can be written");
    let mut options = FolderOptions {
        resize: 8,
        crop: 8,
        ..FolderOptions::default()
    };
    for (name, bytes) in parts(input).iter().take(24) {
        match name.as_str() {
            "classes.txt" => {
                fs::write(&list, bytes).expect("the scratch folder can be written");
                options.class_list = Some(list.clone());
            }
            "outputs" => options.outputs = bytes.first().map(|&n| n.into()),
            "skip" => options.skip_unreadable = true,
            _ => put(&root, name, bytes),
        }
    }
    let unlabelled = folder::open_unlabelled(&root, &options, &|_, _| {});
    match folder::open(&root, &options, &|_, _| {}) {
        Err(error) => Verdict::Refused(error.to_string()),
        Ok(_) => Verdict::of(unlabelled),
    }
}

/// A file or a link below `root`; names that lead elsewhere, or that the system refuses, make none.
fn put(root: &Path, name: &str, bytes: &[u8]) {
    let inside = |path: &Path| {
        path.components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
    };
    if !inside(Path::new(name)) || name.len() > 200 || name.contains('\0') {
        return;
    }
    let path = root.join(name.trim_end_matches('@'));
    if let Some(above) = path.parent() {
        let _ = fs::create_dir_all(above);
    }
    match name.ends_with('@') {
        #[cfg(unix)]
        true => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            // Within the tree, or to nowhere.
            let target = match inside(Path::new(&text)) {
                true => root.join(text),
                false => root.to_path_buf(),
            };
            let _ = std::os::unix::fs::symlink(target, path);
        }
        _ => drop(fs::write(path, bytes)),
    }
}
