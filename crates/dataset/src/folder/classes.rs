//! From class folders to labels.
//!
//! A model's output k means class k of the list it was trained with, however few classes a test folder holds. So:
//! - with a class list (one name a line, in index order), the label is the line;
//! - without, if any folder is named like a WordNet id (`n` and 8 digits), the list is ImageNet's 1000, in index order;
//! - otherwise folder names sorted by code point are numbered from 0, as torchvision's `ImageFolder` does, and a folder
//!   without images is an error, as there: a stray folder would shift every label after it.
//!
//! With a list, a folder that is not in it is an error, and empty or absent folders do no harm.
//!
//! ImageNet's list is `data/imagenet-wnids.txt`, from the Python package timm 1.0.31 (`timm/data/_info/imagenet_synsets.txt`,
//! Apache-2.0, Ross Wightman); it is the ids of ILSVRC2012 sorted, which is also torchvision's order.

use std::collections::HashMap;
use std::path::Path;

use crate::Error;

const IMAGENET: &str = include_str!("../../../../data/imagenet-wnids.txt");

/// The 1000 class ids of ILSVRC2012 in index order.
pub fn imagenet_wnids() -> impl Iterator<Item = &'static str> {
    IMAGENET.lines()
}

/// Names of all classes, and the label of each class folder.
#[derive(Debug)]
pub(crate) struct Classes {
    pub(crate) names: Vec<String>,
    pub(crate) labels: Vec<u16>,
}

/// Labels for class folders, given sorted, with the number of images in each.
///
/// # Errors
/// [`Error::ClassNotListed`], [`Error::EmptyClass`], [`Error::ClassList`] as the module's header says.
pub(crate) fn assign(
    root: &Path,
    folders: &[(String, usize)],
    list: Option<&Path>,
) -> Result<Classes, Error> {
    let (names, origin) = match list {
        Some(path) => (read(path)?, path.display().to_string()),
        None if folders.iter().any(|(name, _)| is_wnid(name)) => (
            imagenet_wnids().map(String::from).collect(),
            "the 1000 ImageNet classes".into(),
        ),
        None => {
            if let Some((name, _)) = folders.iter().find(|(_, images)| *images == 0) {
                return Err(Error::EmptyClass {
                    folder: root.join(name),
                });
            }
            (
                folders.iter().map(|(name, _)| name.clone()).collect(),
                root.display().to_string(),
            )
        }
    };
    if names.len() > usize::from(u16::MAX) + 1 {
        let detail = format!("{} classes, where labels have 16 bits", names.len());
        return Err(Error::ClassList {
            path: list.unwrap_or(root).into(),
            detail,
        });
    }
    let index: HashMap<&str, u16> = names.iter().map(String::as_str).zip(0..=u16::MAX).collect();
    let label = |(name, _): &(String, usize)| {
        index
            .get(name.as_str())
            .copied()
            .ok_or_else(|| Error::ClassNotListed {
                folder: root.join(name),
                list: origin.clone(),
                classes: names.len(),
            })
    };
    let labels = folders.iter().map(label).collect::<Result<_, _>>()?;
    Ok(Classes { names, labels })
}

/// Reads a class list. After a WordNet id the rest of a line is a description (`n01440764 tench, Tinca tinca`, as in
/// ImageNet's own files) and is passed over; so are empty lines.
fn read(path: &Path) -> Result<Vec<String>, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let mut line_of: HashMap<&str, usize> = HashMap::new();
    let mut names = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let first = line.split_whitespace().next().unwrap_or_default();
        let name = if is_wnid(first) { first } else { line };
        if name.is_empty() {
            continue;
        }
        if let Some(before) = line_of.insert(name, number + 1) {
            let detail = format!("line {} repeats `{name}` from line {before}", number + 1);
            return Err(Error::ClassList {
                path: path.into(),
                detail,
            });
        }
        names.push(name.to_string());
    }
    if names.is_empty() {
        return Err(Error::ClassList {
            path: path.into(),
            detail: "there is no class in it".into(),
        });
    }
    Ok(names)
}

fn is_wnid(name: &str) -> bool {
    name.len() == 9
        && name.starts_with('n')
        && name.bytes().skip(1).all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(names: &[&str]) -> Vec<(String, usize)> {
        names.iter().map(|name| (name.to_string(), 1)).collect()
    }

    fn labels(names: &[&str], list: Option<&Path>) -> Result<Vec<u16>, String> {
        assign(Path::new("set"), &folders(names), list)
            .map(|c| c.labels)
            .map_err(|e| e.to_string())
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_part_of_imagenet_gets_labels_over_all_thousand_classes() {
        assert_eq!(
            labels(&["n01440764", "n02102040", "n15075141"], None).unwrap(),
            [0, 217, 999]
        );
        let wnids = imagenet_wnids().collect::<Vec<_>>();
        assert_eq!(wnids.len(), 1000);
        assert!(wnids.is_sorted() && wnids.iter().all(|wnid| is_wnid(wnid)));
        assert_eq!(labels(&wnids, None).unwrap(), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn the_shipped_class_ids_are_those_of_the_reference() {
        let Some(data) = crate::testing::data(&["imagenet/wnids.txt"]) else {
            return;
        };
        let reference = std::fs::read_to_string(data.join("imagenet/wnids.txt")).unwrap();
        assert!(reference.split_whitespace().eq(imagenet_wnids()));
    }

    #[test]
    fn other_folders_are_numbered_in_sorted_order() {
        assert_eq!(labels(&["Zebra", "ape", "cat"], None).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn a_list_gives_the_line_and_allows_absent_and_empty_classes() {
        let list = file("dog\r\nhouse cat\n\nn01440764 tench, Tinca tinca\nape\n");
        assert_eq!(
            labels(&["ape", "house cat", "n01440764"], Some(list.path())).unwrap(),
            [3, 1, 2]
        );
        let empty = [("ape".to_string(), 0)];
        assert_eq!(
            assign(Path::new("set"), &empty, Some(list.path()))
                .unwrap()
                .labels,
            [3]
        );
    }

    #[test]
    fn a_folder_that_is_not_in_the_list_is_an_error_that_names_it() {
        let error = labels(&["n00000001", "n01440764"], None).unwrap_err();
        assert!(
            error.contains("n00000001") && error.contains("1000"),
            "{error}"
        );
        let error = labels(&[".cache", "n01440764"], None).unwrap_err();
        assert!(error.contains(".cache"), "{error}");
        let list = file("a\nb\n");
        let error = labels(&["a", "c"], Some(list.path())).unwrap_err();
        assert!(
            error.contains("set/c") || error.contains("set\\c"),
            "{error}"
        );
    }

    #[test]
    fn an_empty_folder_among_sorted_ones_is_an_error() {
        let error =
            assign(Path::new("set"), &[("a".into(), 1), ("b".into(), 0)], None).unwrap_err();
        assert!(
            matches!(&error, Error::EmptyClass { folder } if folder.ends_with("b")),
            "{error}"
        );
    }

    #[test]
    fn lists_with_repeated_or_no_names_are_errors() {
        let list = file("a\nb\na\n");
        assert!(
            labels(&["a"], Some(list.path()))
                .unwrap_err()
                .contains("line 3 repeats `a` from line 1")
        );
        let list = file("\n \n");
        assert!(
            labels(&["a"], Some(list.path()))
                .unwrap_err()
                .contains("no class")
        );
        assert!(
            labels(&["a"], Some(Path::new("/no/such/list")))
                .unwrap_err()
                .contains("/no/such/list")
        );
    }
}
