//! The pages of experiments: what a sweep and `page` write, what they refuse, and that the page does in a browser what it is for.

mod browser;
#[path = "../program/mod.rs"]
mod program;
#[path = "../shipped/mod.rs"]
mod shipped;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use browser::{Browser, DOWN, ENTER, ESCAPE, RIGHT};
use program::quantlab;
use serde_json::Value;
use tempfile::TempDir;

/// A question that would end the page's script, if it were not text.
const QUESTION: &str = "What of </script><script>document.title='taken'</script> & <b>bold</b>?";

/// An experiment of five runs on shipped images.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(TempDir::new().unwrap());
        let text = format!(
            "question = \"{QUESTION}\"\nexpects = 'Few bits lose.'\nfound = 'They `did`.'\n\
             [fixed]\nmodel.name = 'resnet20-synthetic'\nimages = 200\nmethod = 'linear'\n\
             [vary]\nweights.bits = [8, 2]\nbn = ['kept', 'folded']\n\
             [[check]]\nwhere = {{ weights.bits = 8, bn = 'kept' }}\nexpected = 180\ntolerance = 20\n\
             [[check]]\nwhere = {{ weights.bits = 2, bn = 'kept' }}\nexpected = 0\n\
             [[check]]\nwhere = {{ weights.bits = 5 }}\nexpected = 1\n"
        );
        fs::write(place.path("clicked.toml"), text).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, command: &str, arguments: &[&str]) -> Output {
        quantlab(command)
            .current_dir(self.0.path())
            .arg("--data")
            .arg(shipped::data())
            .args(["--results", "results", "--cache", "cache"])
            .args(arguments)
            .output()
            .unwrap()
    }

    fn sweep(&self, arguments: &[&str]) -> Output {
        self.program("sweep", arguments)
    }

    fn page(&self, arguments: &[&str]) -> Output {
        let mut all = vec!["--files", "."];
        all.extend(arguments);
        self.program("page", &all)
    }

    /// The page, and that of all experiments.
    fn pages(&self) -> [PathBuf; 2] {
        ["results/clicked/index.html", "results/index.html"].map(|name| self.path(name))
    }

    fn runs(&self) -> Vec<String> {
        let store = results::Store::existing(self.path("results")).unwrap();
        store.runs("clicked").unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON in a page.
fn data(page: &Path) -> Value {
    let html = fs::read_to_string(page).unwrap();
    let (_, rest) = html.split_once("id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn a_sweep_leaves_a_page_and_the_same_runs_give_the_same_bytes() {
    let place = Place::new();
    let output = place.sweep(&["clicked.toml", "--no-page"]);
    assert!(stderr(&output).contains("runs made"), "{}", stderr(&output));
    let pages = place.pages();
    assert!(pages.iter().all(|page| !page.exists()));
    place.sweep(&["clicked.toml"]);
    let read = || pages.each_ref().map(|page| fs::read(page).unwrap());
    let before = read();
    let output = place.page(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(before == read(), "another page of the same runs");
    pages.iter().for_each(|page| fs::remove_file(page).unwrap());
    place.page(&["clicked"]);
    assert!(before == read(), "another page where there was none");

    let page = data(&pages[0]);
    assert_eq!(page["about"]["question"], QUESTION);
    let checks = page["about"]["checks"].as_array().unwrap();
    let holds: Vec<_> = checks.iter().map(|check| check["holds"].clone()).collect();
    assert_eq!(holds, [true, false]);
    assert_eq!(page["about"]["unanswered"], 1);
    // Every count of the panel is that of the predictions.
    let runs = page["runs"].as_array().unwrap();
    assert_eq!(runs.len(), place.runs().len());
    for run in runs {
        let matrix = run["confusion"]["matrix"].as_array().unwrap();
        let count = |at: &dyn Fn(usize) -> bool| -> u64 {
            let own = matrix.iter().enumerate().filter(|(i, _)| at(*i));
            own.map(|(_, images)| images.as_u64().unwrap()).sum()
        };
        let rows = results::Store::existing(place.path("results")).unwrap();
        let stored = rows.read("clicked", run["id"].as_str().unwrap()).unwrap();
        let hits = stored.predictions.iter().filter(|p| p.label == p.top1);
        assert_eq!(count(&|i| i / 10 == i % 10), hits.count() as u64);
        assert_eq!(count(&|_| true), 200);
        let flips = stored.metrics.iter().find(|row| row.metric == "flips");
        if let (Some(flips), Some(float)) = (flips, run.get("float")) {
            assert_eq!(run["flips"]["total"], flips.value as u64, "{float}");
        }
    }
    assert!(!page["pictures"].as_array().unwrap().is_empty());
}

#[test]
fn what_there_is_no_page_of_is_refused_in_one_line() {
    let place = Place::new();
    let refused = |arguments: &[&str], said: &str| {
        let output = place.page(arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("error: ") && text.contains(said), "{text}");
    };
    refused(&[], "sweep");
    place.sweep(&["clicked.toml", "--no-page"]);
    refused(&["other"], "no runs in results/other");
    refused(&["../clicked"], "../clicked");
    let run = place.path("results/clicked").join(&place.runs()[0]);
    for file in ["manifest.csv", "predictions.csv", "metrics.csv"] {
        let whole = fs::read_to_string(run.join(file)).unwrap();
        // In the middle of its last row.
        let end = whole.trim_end().rfind('\n').unwrap() + 3;
        fs::write(run.join(file), &whole[..end]).unwrap();
        refused(&[], file);
        fs::write(run.join(file), whole).unwrap();
    }
    // Without the images it is a page without pictures, and says so.
    let output = place.page(&["--no-pictures"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let page = data(&place.pages()[0]);
    assert_eq!(page["pictures"].as_array().unwrap().len(), 0);
    assert!(
        page["sets"][0]["missing"]
            .as_str()
            .unwrap()
            .contains("--no-pictures")
    );
}

#[test]
fn a_person_sorts_filters_toggles_and_opens_runs() {
    let Some(programs) = browser::find() else {
        return;
    };
    let place = Place::new();
    place.sweep(&["clicked.toml"]);
    let [page, all] = place.pages();
    let browser = Browser::open(&programs, 1200, 900);
    browser.go(&page, "");

    // What an experiment says is text.
    assert_eq!(
        browser.text("return document.getElementById('question').textContent"),
        QUESTION
    );
    assert!(
        browser
            .text("return document.title")
            .starts_with("clicked: ")
    );
    assert_eq!(browser.number("return document.scripts.length"), 2);
    assert!(
        browser
            .text("return document.getElementById('answer').innerText")
            .contains("1 of 2 counts")
    );

    // Sorted by hits, the most first, then the fewest.
    let n = place.runs().len() as i64;
    let rows = "document.querySelectorAll('.runs tbody tr').length";
    assert_eq!(browser.number(&format!("return {rows}")), n);
    let hits = "return [...document.querySelectorAll('.runs thead th')].findIndex((head) => head.textContent === 'top-1 hits')";
    let column = browser.number(hits);
    let shown = || -> Vec<i64> {
        let script = format!(
            "return [...document.querySelectorAll('.runs tbody tr')].map((row) => Number(row.children[{column}].textContent))"
        );
        let cells = browser.script(&script);
        let cells = cells.as_array().unwrap().iter();
        cells.map(|cell| cell.as_i64().unwrap()).collect()
    };
    browser.click("//th/button[.='top-1 hits']");
    let down = shown();
    assert!(down.is_sorted_by(|a, b| a >= b) && down.first() > down.last());
    browser.click("//th/button[.='top-1 hits']");
    assert!(shown().is_sorted());

    // Filtered by an axis, in table, picture and address.
    let marks = "document.querySelectorAll('#plot .frames .mark').length";
    let before = browser.number(&format!("return {marks}"));
    browser.click("//fieldset[legend[starts-with(.,'bits')]]/button[.='2']");
    assert_eq!(browser.number(&format!("return {rows}")), 2);
    assert_eq!(
        browser.text("return document.getElementById('count').textContent"),
        format!("2 of {n} runs")
    );
    assert!(browser.number(&format!("return {marks}")) < before);
    let address = browser.text("return location.hash");
    assert!(
        address.contains("f.bits=2") && address.contains("sort="),
        "{address}"
    );
    browser.click("//button[@id='reset']");
    assert_eq!(browser.number(&format!("return {rows}")), n);
    // And by words.
    browser.script("document.getElementById('query').focus()");
    browser.press("folded");
    assert!((1..n).contains(&browser.number(&format!("return {rows}"))));
    browser.click("//button[@id='reset']");

    // A series off and on again.
    let series = "(//ul[@class='legend']//button)[1]";
    browser.click(series);
    assert!(browser.number(&format!("return {marks}")) < before);
    browser.click(series);
    assert_eq!(browser.number(&format!("return {marks}")), before);

    // Light and dark.
    let paper = "return getComputedStyle(document.body).backgroundColor";
    let light = browser.text(paper);
    browser.click("//button[@id='theme']");
    assert_ne!(browser.text(paper), light);

    // A run opens by the keyboard, has an address, and gives the focus back.
    browser.script("document.querySelector('.runs tbody a').focus()");
    browser.press(DOWN);
    let second = browser.text("return document.activeElement.textContent");
    assert_eq!(
        second,
        browser.text("return document.querySelectorAll('.runs tbody a')[1].textContent")
    );
    browser.press(ENTER);
    browser.wait("document.getElementById('run').open");
    let address = browser.text("return location.hash");
    assert!(address.contains(&format!("run={second}")), "{address}");
    browser.press(RIGHT);
    assert!(!browser.text("return location.hash").contains(&second));
    browser.press(ESCAPE);
    browser.wait("!document.getElementById('run').open");
    assert!(!browser.text("return location.hash").contains("run="));
    let third = browser.text("return document.activeElement.textContent");
    assert_eq!(
        third,
        browser.text("return document.querySelectorAll('.runs tbody a')[2].textContent")
    );
    // By a click on its row, too.
    browser.click(&format!("//tr[th/a[.='{third}']]/td[2]"));
    browser.wait("document.getElementById('run').open");
    browser.click("//button[@id='close']");
    browser.wait("!document.getElementById('run').open");

    // By its address, with all that is said of it, and pictures that are pictures.
    let flipped = data(&page)["runs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|run| run["flips"]["total"].as_u64() > Some(24))
        .map(|run| run["id"].as_str().unwrap().to_owned())
        .unwrap();
    browser.go(&page, &format!("#run={flipped}"));
    browser.wait("document.getElementById('run').open");
    let panel = browser.text("return document.getElementById('run').innerText");
    let parts = [
        "Settings",
        "Provenance",
        "Layers",
        "Confusion",
        "Images that flip",
        "Manifest",
    ];
    for part in parts {
        assert!(panel.contains(part), "{part}: {panel}");
    }
    browser.script(
        "document.querySelectorAll('.tile img').forEach((img) => { img.loading = 'eager'; })",
    );
    browser.wait("[...document.querySelectorAll('.tile img')].length === 24");
    browser.wait(
        "[...document.querySelectorAll('.tile img')].every((img) => img.naturalWidth === 32)",
    );

    // All experiments, searched by a word and by a run.
    browser.go(&all, "");
    browser.press("nothing-of-that");
    assert_eq!(
        browser.text("return document.getElementById('count').textContent"),
        "0 of 1 experiments"
    );
    browser
        .script("const query = document.getElementById('query'); query.value = ''; query.focus()");
    browser.press(&flipped);
    browser.click("//ul[@id='list']//p/a");
    browser.wait("document.getElementById('run') && document.getElementById('run').open");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn at_the_width_of_a_telephone_nothing_is_cut_off() {
    let Some(programs) = browser::find() else {
        return;
    };
    let place = Place::new();
    place.sweep(&["clicked.toml"]);
    let [page, all] = place.pages();
    let browser = Browser::open(&programs, 400, 800);
    let run = &place.runs()[0];
    for (file, fragment) in [(&page, ""), (&page, &*format!("#run={run}")), (&all, "")] {
        browser.go(file, fragment);
        let wide = browser.number("return document.documentElement.scrollWidth");
        assert!(wide <= 400, "{wide} pixels of {}{fragment}", file.display());
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
