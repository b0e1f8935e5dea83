//! Two networks, or two sets, of one name are told apart wherever a run is shown: everybody's network is `ckpt.pth`, everybody's
//! images lie in `val`.
//!
//! What a thing *is* says its hash; what it is *called* is for people. Of one name,
//! - networks are the same if their hashes are;
//! - sets are the same if some of their runs have the same hash, or if both were given by the same path, or by no path. A set's
//!   hash is another for another number of images, another normalization or another size, which have columns of their own.
//!
//! Where a name stands for several things, each is called by the end of its path, as short as tells all of them apart
//! (`a/ckpt.pth`, `b/ckpt.pth`); what no path tells apart has the first digits of its hash behind its name. That is done to the
//! rows once, when they are read, so that tables, pictures and notes agree; run ids and files keep what was written.

use std::collections::{BTreeMap, BTreeSet};

use results::{Config, RunRow};

/// Gives the things that `rows` are about names of their own.
pub(crate) fn tell_apart(rows: &mut [RunRow]) {
    models(rows);
    sets(rows);
    calibrations(rows);
}

/// A name for each of several things of the same name: `(path, hash)` in, names out.
fn names(name: &str, things: &[(Option<&str>, &str)]) -> Vec<String> {
    let paths: Vec<Option<Vec<&str>>> = things
        .iter()
        .map(|(path, _)| path.map(|path| parts(path)))
        .collect();
    let longest = paths.iter().flatten().map(Vec::len).max().unwrap_or(1);
    let called = |length: usize| -> Vec<String> {
        let tail = |path: &Vec<&str>| path[path.len().saturating_sub(length)..].join("/");
        let called = paths.iter().map(|path| path.as_ref().map(tail));
        called
            .map(|tail| tail.unwrap_or_else(|| name.to_owned()))
            .collect()
    };
    let different =
        |names: &Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    if let Some(names) = (1..=longest).map(called).find(different) {
        return names;
    }
    let names = called(longest);
    let of_hash = |(called, (_, hash)): (&String, &(Option<&str>, &str))| match names
        .iter()
        .filter(|other| *other == called)
        .count()
    {
        1 => called.clone(),
        _ => with_hash(called, hash),
    };
    names.iter().zip(things).map(of_hash).collect()
}

/// What a path is made of, but for what says nothing.
fn parts(path: &str) -> Vec<&str> {
    path.split(['/', '\\'])
        .filter(|part| !["", "."].contains(part))
        .collect()
}

fn with_hash(name: &str, hash: &str) -> String {
    format!("{name} {}", hash.chars().take(8).collect::<String>())
}

fn models(rows: &mut [RunRow]) {
    // By name the networks, each with the first path by which it was given.
    let mut known: BTreeMap<String, BTreeMap<String, Option<String>>> = BTreeMap::new();
    for row in rows.iter() {
        let paths = known.entry(row.config.model().to_owned()).or_default();
        let path = paths.entry(row.weights_sha256.clone()).or_default();
        *path = smaller(path.take(), given(&row.weights_file));
    }
    for (name, networks) in known.iter().filter(|(_, networks)| networks.len() > 1) {
        let things: Vec<_> = networks
            .iter()
            .map(|(hash, path)| (path.as_deref(), hash.as_str()))
            .collect();
        let names = names(name, &things);
        for row in rows.iter_mut().filter(|row| row.config.model() == *name) {
            let at = things
                .iter()
                .position(|(_, hash)| *hash == row.weights_sha256);
            row.config.set("model_name", at.map(|at| &names[at]));
        }
    }
}

/// The path, if there is one.
fn given(path: &Option<String>) -> Option<String> {
    path.clone().filter(|path| !parts(path).is_empty())
}

fn smaller(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn sets(rows: &mut [RunRow]) {
    let all: BTreeSet<String> = rows
        .iter()
        .map(|row| row.config.text("dataset").to_owned())
        .collect();
    for name in all {
        let own: Vec<usize> = (0..rows.len())
            .filter(|row| rows[*row].config.text("dataset") == name)
            .collect();
        let groups = groups(rows, &own);
        let things: Vec<(Option<String>, &str)> = groups
            .iter()
            .map(|group| {
                let paths = group.iter().map(|row| given(&rows[*row].data_folder));
                let hash = group.first().map_or("", |row| &rows[*row].data_sha256);
                (paths.fold(None, smaller), hash)
            })
            .collect();
        let things: Vec<_> = things
            .iter()
            .map(|(path, hash)| (path.as_deref(), *hash))
            .collect();
        let names = match groups.len() {
            1 => vec![name.clone()],
            _ => names(&name, &things),
        };
        let mut called: Vec<(usize, String)> = Vec::new();
        for (group, name) in groups.iter().zip(&names) {
            for row in group {
                // Read in the same way, and yet other images or labels.
                let other = |other: &&usize| {
                    read_as(&rows[**other].config) == read_as(&rows[*row].config)
                        && rows[**other].data_sha256 != rows[*row].data_sha256
                };
                let ambiguous = group.iter().any(|known| other(&known));
                let name = match ambiguous {
                    true => with_hash(name, &rows[*row].data_sha256),
                    false => name.clone(),
                };
                called.push((*row, name));
            }
        }
        for (row, name) in called {
            rows[row].config.set("dataset", name);
        }
    }
}

/// Which of these rows, all of one name, are about one set.
fn groups(rows: &[RunRow], own: &[usize]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for &row in own {
        let same = |other: &usize| {
            let (a, b) = (&rows[row], &rows[*other]);
            let path = |row: &RunRow| given(&row.data_folder).map(|path| parts(&path).join("/"));
            a.data_sha256 == b.data_sha256 || path(a) == path(b)
        };
        let (with, mut others): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(same));
        let mut joined = with.concat();
        joined.push(row);
        others.push(joined);
        groups = others;
    }
    groups
}

/// What decides the hash of a set beside the set, its labels apart.
fn read_as(config: &Config) -> ([&str; 5], bool) {
    let columns = [
        "images",
        "input_normalization",
        "input_resize",
        "input_size",
        "labels_offset",
    ];
    // Networks for images of another size have another usual crop.
    let is_small = config.text("model_arch").starts_with("cifar");
    (columns.map(|column| config.text(column)), is_small)
}

fn calibrations(rows: &mut [RunRow]) {
    let key = |row: &RunRow| {
        let columns = ["calibration_dataset", "calibration_images", "seed"];
        let columns = columns.map(|column| row.config.text(column).to_owned());
        (!columns[0].is_empty()).then(|| (columns, row.data_sha256.clone()))
    };
    let mut known: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for row in rows.iter() {
        if let (Some(key), Some(hash)) = (key(row), &row.calibration_sha256) {
            known.entry(key).or_default().insert(hash.clone());
        }
    }
    for row in rows.iter_mut() {
        if let Some(key) = key(row)
            && known.get(&key).is_some_and(|hashes| hashes.len() > 1)
            && let Some(hash) = &row.calibration_sha256
        {
            row.config
                .set("calibration_dataset", with_hash(&key.0[0], hash));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(weights: &str, file: &str, data: &str, folder: Option<&str>) -> RunRow {
        let config = Config::default()
            .with("model_name", "ckpt")
            .with("dataset", "val")
            .with("images", 10);
        RunRow {
            weights_file: Some(file.into()),
            data_folder: folder.map(String::from),
            ..RunRow::new("e", config, weights, data, None)
        }
    }

    fn called(mut rows: Vec<RunRow>) -> Vec<(String, String)> {
        tell_apart(&mut rows);
        rows.iter()
            .map(|row| {
                let set = row.config.text("dataset");
                (row.config.model().to_owned(), set.to_owned())
            })
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(a, b)| (a.to_string(), b.to_string()))
            .collect()
    }

    #[test]
    fn one_network_on_one_set_keeps_its_name() {
        let rows = vec![
            row("w1", "a/ckpt.pth", "d1", None),
            row("w1", "/x/a/ckpt.pth", "d1", None),
        ];
        assert_eq!(called(rows), pairs(&[("ckpt", "val"), ("ckpt", "val")]));
    }

    #[test]
    fn networks_of_one_name_are_called_by_the_end_of_their_paths() {
        let files = |paths: [&str; 3]| {
            let rows = paths.iter().zip(["w1", "w2", "w3"]);
            let rows = rows
                .map(|(path, hash)| row(hash, path, "d1", None))
                .collect();
            called(rows)
                .into_iter()
                .map(|(model, _)| model)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            files(["/x/a/ckpt.pth", "./b/ckpt.pth", "ckpt.pth"]),
            ["a/ckpt.pth", "b/ckpt.pth", "ckpt.pth"]
        );
        assert_eq!(
            files(["p/a/ckpt.pth", "q/a/ckpt.pth", "q/b/ckpt.th"]),
            ["p/a/ckpt.pth", "q/a/ckpt.pth", "q/b/ckpt.th"]
        );
        // A file that was overwritten: the path says nothing, the hash does.
        let same = files(["a/ckpt.pth", "a/ckpt.pth", "b/ckpt.pth"]);
        assert_eq!(same, ["a/ckpt.pth w1", "a/ckpt.pth w2", "b/ckpt.pth"]);
    }

    #[test]
    fn sets_of_one_name_are_told_apart_by_path_or_hash_and_not_by_how_they_were_read() {
        let two = vec![
            row("w", "f", "d1", Some("/x/a/val/")),
            row("w", "f", "d2", Some("b/val")),
            row("w", "f", "d1", Some("elsewhere/val")),
        ];
        let (a, b) = (("ckpt", "a/val"), ("ckpt", "b/val"));
        let found = called(two);
        assert_eq!(found[0].1, found[2].1);
        assert_eq!(found[..2], pairs(&[a, b]));
        // More images, or another normalization, of one folder or one entry.
        for folder in [None, Some("val")] {
            let mut more = row("w", "f", "d2", folder);
            more.config.set("images", 20);
            let mut half = row("w", "f", "d3", folder);
            half.config.set("input_normalization", "half");
            let rows = vec![row("w", "f", "d1", folder), more, half];
            assert!(called(rows).iter().all(|(_, set)| set == "val"));
        }
        // Other labels in the same folder; rows of before paths were written.
        for folder in [None, Some("val")] {
            let rows = vec![row("w", "f", "d1", folder), row("w", "f", "d2", folder)];
            let names: Vec<String> = called(rows).into_iter().map(|(_, set)| set).collect();
            assert_eq!(names, ["val d1", "val d2"]);
        }
    }

    #[test]
    fn calibration_sets_of_one_name_have_their_hash() {
        let calibrated = |hash: &str, seed| {
            let mut row = row("w", "f", "d", None);
            row.config.set("calibration_dataset", "some");
            row.config.set("seed", seed);
            row.calibration_sha256 = Some(hash.into());
            row
        };
        let names = |mut rows: Vec<RunRow>| {
            tell_apart(&mut rows);
            let names = rows
                .iter()
                .map(|row| row.config.text("calibration_dataset"));
            names.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            names(vec![calibrated("c1", 0), calibrated("c2", 0)]),
            ["some c1", "some c2"]
        );
        assert_eq!(
            names(vec![calibrated("c1", 0), calibrated("c2", 1)]),
            ["some", "some"]
        );
    }
}
