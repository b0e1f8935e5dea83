//! What tests do where data is missing, held against the file that all crates include.

#[path = "../../../testing/data.rs"]
mod testing;

use std::ffi::OsStr;

use testing::{data, look};

#[test]
fn want_of_data_is_a_skip_and_under_require_data_a_failure() {
    let absent = [None, Some("")];
    for folder in absent.map(|folder| folder.map(OsStr::new)) {
        for required in [None, Some(""), Some("0")] {
            assert_eq!(look(folder, required.map(OsStr::new), &[]), Ok(None));
        }
        let error = look(folder, Some(OsStr::new("1")), &[]).unwrap_err();
        assert_eq!(error, "QUANTLAB_DATA is not set");
    }
    let own = Some(OsStr::new("data"));
    assert_eq!(look(own, None, &["no/such.bin"]), Ok(None));
    let error = look(own, Some(OsStr::new("1")), &["models.toml", "no/such.bin"]).unwrap_err();
    assert!(error.ends_with("has no no/such.bin"), "{error}");
}

#[test]
fn a_relative_data_folder_is_meant_from_the_repositorys_root() {
    // A crate's tests run in the crate's folder, which has no data/.
    assert!(!std::path::Path::new("data").exists());
    let found = look(Some(OsStr::new("data")), None, &["models.toml"]);
    assert!(found.unwrap().unwrap().join("models.toml").is_file());
    // And the one that this run was given, if any.
    if std::env::var_os("QUANTLAB_DATA").is_some_and(|folder| !folder.is_empty()) {
        assert!(data(&[]).is_some());
    }
    let absolute = std::env::temp_dir();
    let found = look(Some(absolute.as_os_str()), None, &[]);
    assert_eq!(found, Ok(Some(absolute)));
}
