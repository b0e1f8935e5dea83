//! The program from a folder that has nothing to do with the project.

mod program;

use program::quantlab;

fn within(arguments: &[&str], home: &std::path::Path) -> (bool, String, String) {
    let output = quantlab(arguments[0])
        .current_dir(home)
        .args(&arguments[1..])
        .env("HOME", home)
        .env_remove("XDG_CACHE_HOME")
        .env_remove("QUANTLAB_DATA")
        .env_remove("QUANTLAB_CACHE")
        .env_remove("QUANTLAB_HOME")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn it_finds_its_experiments_networks_and_reference_and_writes_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (succeeded, listed, said) = within(&["sweep", "weight-bits", "--list"], here);
    assert!(succeeded, "{said}");
    assert!(
        listed.contains("9 runs, 0 done, 9 due; 9 are in the reference"),
        "{listed}"
    );
    assert_eq!(std::fs::read_dir(here).unwrap().count(), 0);

    let arguments = [
        "sweep",
        "weight-bits",
        "--set",
        "images=40",
        "--set",
        "weights.bits=[32, 4]",
    ];
    let (succeeded, _, said) = within(&arguments, here);
    assert!(succeeded, "{said}");
    assert!(here.join("results/weight-bits/table.md").is_file());
    assert!(!here.join("data").exists() && !here.join("experiments").exists());

    let (succeeded, _, said) = within(&["sweep", "no-such"], here);
    assert!(
        !succeeded && said.contains("cannot read the experiment no-such"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    let (_, _, said) = within(&["sweep", "wieght-bit"], here);
    assert!(
        said.contains("cannot read the experiment wieght-bit (did you mean weight-bits?)"),
        "{said}"
    );
}

#[test]
fn shells_get_every_command_and_option() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (succeeded, script, said) = within(&["completions", shell], folder.path());
        assert!(succeeded, "{said}");
        for word in ["sweep", "sensitivity", "throughput", "shard"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}
