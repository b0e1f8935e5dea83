//! Chromium by chromedriver: the few commands of WebDriver (W3C, sections 8 to 15) that a test of a page needs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// As the protocol writes keys.
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";
pub const DOWN: &str = "\u{e015}";
pub const RIGHT: &str = "\u{e014}";

/// How an element is called in an answer.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window.
pub struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    /// What it keeps; new and empty.
    _profile: TempDir,
}

/// chromedriver and Chromium, if both are there. Otherwise it says so on stderr.
///
/// # Panics
/// One is missing under `QUANTLAB_REQUIRE_CHROMIUM=1`.
pub fn find() -> Option<[PathBuf; 2]> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = |names: &[&str]| {
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let mut all = names
            .iter()
            .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        all.find(|file| file.is_file())
    };
    let driver = program(&["chromedriver"]);
    let browser = program(&["chromium", "chromium-browser", "google-chrome"]);
    if let (Some(driver), Some(browser)) = (driver, browser) {
        return Some([driver, browser]);
    }
    let missing = "there is no chromium with its chromedriver";
    let required = std::env::var("QUANTLAB_REQUIRE_CHROMIUM").is_ok_and(|value| value == "1");
    assert!(
        !required,
        "{missing}; QUANTLAB_REQUIRE_CHROMIUM is set, so they must be there"
    );
    eprintln!("skipped: {missing}");
    None
}

impl Browser {
    /// A window of this width and height in pixels.
    pub fn open([driver, browser]: &[PathBuf; 2], width: u32, height: u32) -> Browser {
        let profile = TempDir::new().unwrap();
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("successfully on port ")?;
                port.trim_end_matches('.').parse::<u16>().ok()
            })
            .expect("chromedriver says its port");
        let agent = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let mut browser_arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ]
        .map(String::from)
        .to_vec();
        browser_arguments.push(format!("--user-data-dir={}", profile.path().display()));
        browser_arguments.push(format!("--window-size={width},{height}"));
        let mut opened = Browser {
            driver,
            agent: agent.into(),
            session: format!("http://127.0.0.1:{port}/session"),
            _profile: profile,
        };
        let mut chromium = json!({ "args": browser_arguments, "binary": browser });
        if width < 500 {
            // No window is so narrow; a telephone is.
            let metrics = json!({ "width": width, "height": height, "pixelRatio": 1.0 });
            chromium["mobileEmulation"] = json!({ "deviceMetrics": metrics });
        }
        let capabilities = json!({
            "goog:chromeOptions": chromium,
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let answer = opened.send("", Some(&wanted));
        let id = answer["sessionId"].as_str().expect("a session").to_owned();
        opened.session = format!("{}/{id}", opened.session);
        opened
    }

    fn send(&self, command: &str, body: Option<&Value>) -> Value {
        let address = format!("{}{command}", self.session);
        let mut answer = match body {
            Some(body) => self.agent.post(&address).send(&body.to_string()),
            None => self.agent.get(&address).call(),
        }
        .unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        assert!(answer["value"]["error"].is_null(), "{command}: {text}");
        answer["value"].take()
    }

    /// Opens a file, with what stands behind its name in the address.
    pub fn go(&self, file: &Path, fragment: &str) {
        let url = format!("file://{}{fragment}", file.display());
        self.send("/url", Some(&json!({ "url": url })));
    }

    /// What a script returns.
    pub fn script(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.send("/execute/sync", Some(&body))
    }

    /// The text that a script returns.
    pub fn text(&self, script: &str) -> String {
        let value = self.script(script);
        let text = value.as_str().map(str::to_owned);
        text.unwrap_or_else(|| panic!("{script}: {value}"))
    }

    /// The number that a script returns.
    pub fn number(&self, script: &str) -> i64 {
        let value = self.script(script);
        let number = value.as_f64().map(|number| number.round() as i64);
        number.unwrap_or_else(|| panic!("{script}: {value}"))
    }

    /// Waits until a script returns true.
    pub fn wait(&self, script: &str) {
        let begin = Instant::now();
        while self.script(&format!("return {script}")) != Value::Bool(true) {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "it never came: {script}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The first element of an XPath.
    fn element(&self, path: &str) -> String {
        let body = json!({ "using": "xpath", "value": path });
        let found = self.send("/element", Some(&body));
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// A click with the mouse, where the element is.
    pub fn click(&self, path: &str) {
        let id = self.element(path);
        self.send(&format!("/element/{id}/click"), Some(&json!({})));
    }

    /// Types into whatever has the focus.
    pub fn press(&self, keys: &str) {
        let key = |key: char| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        };
        let actions: Vec<Value> = keys.chars().flat_map(key).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.send("/actions", Some(&json!({ "actions": [keyboard] })));
    }

    /// What stands on the console that a page should not give cause for.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.send("/se/log", Some(&json!({ "type": "browser" })));
        let lines = log.as_array().cloned().unwrap_or_default();
        lines.iter().map(Value::to_string).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser is the driver's child and goes with its session.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
