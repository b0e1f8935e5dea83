//! Data into HTML: the files of this folder with the JSON between them.

use serde::Serialize;

/// The looks of both pages.
const STYLE: &str = include_str!("page.css");

/// An experiment's page.
pub(super) fn page(title: &str, data: &impl Serialize) -> String {
    let script = [
        include_str!("common.js"),
        include_str!("plot.js"),
        include_str!("table.js"),
        include_str!("run.js"),
        include_str!("page.js"),
    ];
    filled(include_str!("page.html"), title, data, &script.concat())
}

/// The page of all experiments.
pub(super) fn index(title: &str, data: &impl Serialize) -> String {
    let script = [include_str!("common.js"), include_str!("index.js")];
    filled(include_str!("index.html"), title, data, &script.concat())
}

/// Puts each part in the place of its name. What is put in is not looked at again: it may hold such a name.
fn filled(shell: &str, title: &str, data: &impl Serialize, script: &str) -> String {
    let part = |name: &str| match name {
        "title" => Some(escaped(title)),
        "style" => Some(STYLE.to_owned()),
        "data" => Some(json(data)),
        "script" => Some(format!("\"use strict\";\n{script}")),
        _ => None,
    };
    let mut text = String::new();
    let mut rest = shell;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        text.push_str(before);
        text.push_str(&part(name).unwrap_or_default());
        rest = after;
    }
    text + rest
}

/// JSON that may stand in a `script` element: nothing in it opens or closes one.
fn json(data: &impl Serialize) -> String {
    // Keys are words and numbers finite, so this cannot fail.
    let text = serde_json::to_string(data).unwrap_or_default();
    // They occur in strings alone, where they may be written so.
    let text = text.replace('<', "\\u003c").replace('>', "\\u003e");
    text.replace('&', "\\u0026")
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

/// RFC 4648, with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let number = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let six = (number >> (18 - 6 * digit) & 63) as usize;
            text.push(match digit <= three.len() {
                true => char::from(DIGITS[six]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648, section 10.
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let encoded = texts.map(|text| base64(text.as_bytes()));
        let standard = [
            "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
        ];
        assert_eq!(encoded, standard);
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn no_text_leaves_its_place() {
        let bad = "</script><script>alert(1)</script> {{script}} <!-- & \u{2028}";
        let html = filled(
            "<title>{{title}}</title>\n<script>{{data}}</script>\n<script>{{script}}</script>",
            bad,
            &[bad],
            "run();",
        );
        assert_eq!(html.matches("<script>").count(), 2, "{html}");
        assert_eq!(html.matches("</script>").count(), 2, "{html}");
        assert_eq!(html.matches("run();").count(), 1, "{html}");
        assert!(!html.contains("<!--"));
        let data = html.split("<script>").nth(1).unwrap();
        let data = data.split("</script>").next().unwrap();
        let back: Vec<String> = serde_json::from_str(data).unwrap();
        assert_eq!(back, [bad]);
    }

    #[test]
    fn the_scripts_and_the_style_close_no_element() {
        for html in [page("t", &0), index("t", &0)] {
            assert_eq!(html.matches("</style").count(), 1);
            assert_eq!(html.matches("</script").count(), 2);
            assert!(!html.contains("{{"), "a part of the page is missing");
            for address in ["http:", "src=\"//", "@import", "url("] {
                // The name of SVG's elements is no address that anybody opens.
                let others = html.replace("http://www.w3.org/2000/svg", "");
                assert!(!others.contains(address), "{address}");
            }
        }
    }
}
