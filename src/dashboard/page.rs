//! The files of the page. They are in the program: the page needs nothing from elsewhere.

use crate::platform::http::Whole;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};

/// Path, type, whether it is packed with gzip, content.
type File = (&'static str, &'static str, bool, &'static [u8]);

const FILES: &[File] = &[
    ("/", "text/html; charset=utf-8", false, include_bytes!("page/index.html")),
    ("/app.js", "text/javascript; charset=utf-8", false, include_bytes!("page/app.js")),
    ("/app.css", "text/css; charset=utf-8", false, include_bytes!("page/app.css")),
    // uPlot 1.6.32, MIT licence (page/uplot/LICENSE).
    ("/uplot.js", "text/javascript; charset=utf-8", true, include_bytes!("page/uplot/uplot.js.gz")),
    ("/uplot.css", "text/css; charset=utf-8", true, include_bytes!("page/uplot/uplot.css.gz")),
    ("/openapi.json", "application/json", false, include_bytes!("page/openapi.json")),
];

/// What a browser allows the page: its own files, and to ask its own agent.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The file of a path.
pub fn file(path: &str) -> Option<Whole> {
    let (_, kind, is_packed, content) = FILES.iter().find(|(known, ..)| *known == path)?;
    let mut response = Response::new(Full::new(Bytes::from_static(content)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if *is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Some(response)
}

/// The headers that protect a browser, on every answer.
pub const PROTECTION: [(HeaderName, HeaderValue); 3] = [
    (HeaderName::from_static("content-security-policy"), HeaderValue::from_static(POLICY)),
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_page_is_small_whole_and_has_nothing_that_its_policy_forbids() {
        let all: usize = FILES.iter().map(|(.., content)| content.len()).sum();
        assert!(all < 100 << 10, "{all}");
        for (path, _, is_packed, content) in FILES {
            let mut text = String::new();
            if *is_packed {
                flate2::read::GzDecoder::new(*content).read_to_string(&mut text).unwrap();
            } else {
                text = String::from_utf8(content.to_vec()).unwrap();
            }
            assert!(text.len() > 500, "{path}");
            for wrong in ["innerHTML", "https://cdn", "onclick=", "<style", "javascript:"] {
                assert!(*is_packed || !text.contains(wrong), "{path}: {wrong}");
            }
        }
        assert!(file("/../Cargo.toml").is_none() && file("/index.html").is_none());
    }
}
