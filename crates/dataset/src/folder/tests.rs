//! Folders as a whole: labels, pixels, refusals; and the reference crops, where the data folder is given.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Writes a PNG of one colour.
pub(super) fn image(path: PathBuf, rgb: [u8; 3]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), 12, 10);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&rgb.repeat(120)).unwrap();
}

/// Two classes, three images.
pub(super) fn set() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    image(root.path().join("cat/1.png"), [1, 2, 3]);
    image(root.path().join("cat/2.JPEG"), [4, 5, 6]);
    image(root.path().join("ape/deep/3.png"), [7, 8, 9]);
    root
}

pub(super) fn small() -> FolderOptions {
    FolderOptions {
        resize: 8,
        crop: 6,
        ..FolderOptions::default()
    }
}

/// Opens and counts the images that were decoded: the progress calls but for the last.
pub(super) fn open_counting(
    root: &Path,
    options: &FolderOptions,
) -> Result<(Dataset, usize), Error> {
    let calls = AtomicUsize::new(0);
    let set = open(root, options, &|_, _| {
        calls.fetch_add(1, Ordering::Relaxed);
    })?;
    Ok((set, calls.into_inner() - 1))
}

pub(super) fn describe(set: &Dataset) -> Vec<(String, u16, [u8; 3])> {
    (0..set.len())
        .map(|i| {
            (
                set.id(i),
                set.label(i),
                [set.image(i)[0], set.image(i)[1], set.image(i)[2]],
            )
        })
        .collect()
}

pub(super) fn expected() -> Vec<(String, u16, [u8; 3])> {
    vec![
        ("ape/deep/3.png".into(), 0, [7, 8, 9]),
        ("cat/1.png".into(), 1, [1, 2, 3]),
        ("cat/2.JPEG".into(), 1, [4, 5, 6]),
    ]
}

#[test]
fn images_come_with_labels_names_and_pixels_by_content_not_by_name() {
    let root = set();
    let (set, decoded) = open_counting(root.path(), &small()).unwrap();
    assert_eq!(describe(&set), expected());
    assert_eq!((set.height(), set.width(), decoded), (6, 6, 3));
    assert_eq!(set.classes(), ["ape", "cat"]);
}

#[test]
fn unreadable_images_are_an_error_with_a_list_or_are_skipped_and_named() {
    let root = set();
    let cache = tempfile::tempdir().unwrap();
    fs::write(root.path().join("cat/0.jpg"), b"").unwrap();
    for i in 0..7 {
        fs::write(
            root.path().join(format!("cat/bad{i}.png")),
            b"\x89PNG\r\n\x1a\nrest",
        )
        .unwrap();
    }
    for cache_dir in [None, Some(cache.path().to_path_buf())] {
        let strict = FolderOptions {
            cache_dir,
            ..small()
        };
        let error = open_counting(root.path(), &strict).unwrap_err().to_string();
        for part in [
            "8 of 11",
            "cat/0.jpg (the file is empty)",
            "cat/bad3.png",
            "and 3 more",
            "--skip-unreadable",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let cached = strict.cache_dir.is_some();
        let lenient = FolderOptions {
            skip_unreadable: true,
            ..strict
        };
        let (set, decoded) = open_counting(root.path(), &lenient).unwrap();
        assert_eq!(
            decoded,
            if cached { 0 } else { 11 },
            "failures are remembered as well"
        );
        assert_eq!(describe(&set), expected());
        assert_eq!(set.unreadable().len(), 8);
        assert_eq!(
            set.unreadable()[0],
            ("cat/0.jpg".into(), "the file is empty".into())
        );
    }
}

#[test]
fn folders_without_images_or_with_nothing_readable_are_errors() {
    let root = tempfile::tempdir().unwrap();
    let refused = |options: &FolderOptions| open_counting(root.path(), options).unwrap_err();
    assert!(matches!(refused(&small()), Error::NoImages { .. }));
    image(root.path().join("loose.png"), [1; 3]);
    assert!(matches!(refused(&small()), Error::NoImages { .. }));
    fs::create_dir(root.path().join("a")).unwrap();
    assert!(matches!(refused(&small()), Error::NoImages { .. }));
    fs::write(root.path().join("a/1.png"), b"x").unwrap();
    let lenient = FolderOptions {
        skip_unreadable: true,
        ..small()
    };
    assert!(matches!(
        refused(&lenient),
        Error::Unreadable {
            count: 1,
            total: 1,
            ..
        }
    ));
    fs::create_dir(root.path().join("b")).unwrap();
    assert!(matches!(refused(&small()), Error::EmptyClass { .. }));
    fs::create_dir(root.path().join("n01440764")).unwrap();
    assert!(matches!(refused(&small()), Error::ClassNotListed { .. }));
    let absent = root.path().join("absent");
    assert!(matches!(
        open_counting(&absent, &small()).unwrap_err(),
        Error::Io { .. }
    ));
}

#[test]
fn sizes_out_of_range_are_errors() {
    let root = set();
    for (resize, crop) in [(0, 6), (8, 0), (8, 10_000), (usize::MAX, 6)] {
        let error = open_counting(
            root.path(),
            &FolderOptions {
                resize,
                crop,
                ..small()
            },
        )
        .unwrap_err();
        assert!(matches!(error, Error::Geometry { .. }), "{error}");
    }
}

fn data() -> Option<PathBuf> {
    crate::testing::data(&["imagenet/val", "imagenet/odd"])
}

#[test]
fn crops_are_those_of_the_reference_to_the_last_bit() {
    let crops = "../golden/imagenet-resnet18/crops";
    let Some(data) = crate::testing::data(&["imagenet", crops]) else {
        return;
    };
    let crops = data.join(crops);
    let mut compared = 0;
    for entry in fs::read_dir(crops).unwrap() {
        let reference = entry.unwrap().path();
        let name = reference.file_stem().unwrap().to_str().unwrap().to_string();
        let file = ["samples", "odd"].map(|folder| data.join("imagenet").join(folder).join(&name));
        let file = file.iter().find(|file| file.exists()).unwrap();
        let found = crop(
            file,
            Geometry {
                resize: 256,
                crop: 224,
            },
        )
        .map_err(|failure| failure.reason)
        .unwrap();
        let reference = fs::read(reference).unwrap(); // .npy: a header, then [224, 224, 3]
        let reference = &reference[reference.len() - found.len()..];
        let differing = found.iter().zip(reference).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{name}: values that are not Pillow's");
        compared += 1;
    }
    assert_eq!(compared, 22);
}

#[test]
fn truncated_and_empty_files_of_the_reference_are_refused() {
    let Some(data) = data() else { return };
    let reason = |name: &str| {
        let crop = crop(
            &data.join("imagenet/odd").join(name),
            Geometry {
                resize: 256,
                crop: 224,
            },
        );
        crop.err().map(|failure| failure.reason).unwrap()
    };
    assert!(reason("truncated.JPEG").contains("truncated"));
    assert!(reason("empty.JPEG").contains("empty"));
}

#[test]
fn the_validation_images_open_with_labels_over_all_thousand_classes() {
    let Some(data) = data() else { return };
    let cache = tempfile::tempdir().unwrap();
    let options = FolderOptions {
        cache_dir: Some(cache.path().into()),
        ..FolderOptions::default()
    };
    let (set, decoded) = open_counting(&data.join("imagenet/val"), &options).unwrap();
    assert_eq!((set.len(), decoded, set.classes().len()), (134, 134, 1000));
    for i in 0..set.len() {
        assert_eq!(
            set.classes()[usize::from(set.label(i))],
            set.id(i).split('/').next().unwrap()
        );
    }
    let listed = FolderOptions {
        class_list: Some(data.join("imagenet/wnids.txt")),
        ..options
    };
    let (again, decoded) = open_counting(&data.join("imagenet/val"), &listed).unwrap();
    assert_eq!((again.sha256(), decoded), (set.sha256(), 0));
}

#[test]
fn a_flat_folder_is_enough_where_labels_are_not_used() {
    let root = tempfile::tempdir().unwrap();
    image(root.path().join("b.png"), [4, 5, 6]);
    image(root.path().join("a.png"), [1, 2, 3]);
    let refused = open_counting(root.path(), &small())
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("2 images lie in no class folder"),
        "{refused}"
    );
    let flat = open_unlabelled(root.path(), &small(), &|_, _| {}).unwrap();
    let expected = [
        ("a.png".into(), 0, [1, 2, 3]),
        ("b.png".into(), 0, [4, 5, 6]),
    ];
    assert_eq!(describe(&flat), expected);
    // A stray folder is one more place for images, an empty one is none.
    image(root.path().join("more/c.png"), [7, 8, 9]);
    fs::create_dir(root.path().join("empty")).unwrap();
    let more = open_unlabelled(root.path(), &small(), &|_, _| {}).unwrap();
    assert_eq!(more.len(), 3);
    let none = tempfile::tempdir().unwrap();
    assert!(matches!(
        open_unlabelled(none.path(), &small(), &|_, _| {}),
        Err(Error::NoImages { .. })
    ));
}

#[test]
fn class_folders_without_need_of_labels_are_the_same_set_and_bad_ones_no_error() {
    let root = set();
    let labelled = open_counting(root.path(), &small()).unwrap().0;
    let same = open_unlabelled(root.path(), &small(), &|_, _| {}).unwrap();
    assert_eq!(same.sha256(), labelled.sha256());
    // With a folder that is no class of ImageNet, labels cannot be told.
    image(root.path().join("n00000001/4.png"), [1, 1, 1]);
    assert!(open_counting(root.path(), &small()).is_err());
    let all = open_unlabelled(root.path(), &small(), &|_, _| {}).unwrap();
    assert_eq!((all.len(), all.classes().len()), (4, 1));
}

#[test]
fn how_labels_were_told_is_said_unless_a_list_says_it() {
    let root = set();
    let rule = |options: &FolderOptions| {
        let set = open_counting(root.path(), options).unwrap().0;
        set.classes_from().map(str::to_owned)
    };
    assert!(rule(&small()).unwrap().contains("2 folders"));
    let list = root.path().join("classes.txt");
    fs::write(&list, "cat\nape\n").unwrap();
    let listed = FolderOptions {
        class_list: Some(list),
        ..small()
    };
    assert_eq!(rule(&listed), None);
}
