//! One request, and what its answer says about the bytes that follow.

use std::io::Read;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

use crate::{Options, part::Origin};

/// The longest a server may ask us to wait.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Why a request brought no bytes.
pub(crate) enum Refusal {
    /// Worth asking again, after so long if the server says.
    Again(String, Option<Duration>),
    /// The server will not send the file.
    Final(String),
}

/// An answer that can be used.
pub(crate) enum Answer {
    /// The whole file follows.
    Whole(Content),
    /// The rest of the file follows, from this byte on if the server says.
    Rest(Option<u64>, Content),
    /// The range asked for is not in the file, which has this many bytes if the server says so.
    OutOfRange(Option<u64>),
}

/// Bytes to come.
pub(crate) struct Content {
    pub(crate) origin: Origin,
    /// Whether the server marks the end, so that a cut connection is noticed.
    pub(crate) has_end: bool,
    pub(crate) body: Box<dyn Read>,
}

/// An agent with the timeouts of `options`.
pub(crate) fn agent(options: &Options) -> Agent {
    let limits = &options.limits;
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("yolo-fetch/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(limits.connect))
        .timeout_resolve(Some(limits.connect))
        .timeout_per_read(Some(limits.read))
        .timeout_per_write(Some(limits.read));
    if !options.proxy_from_env {
        config = config.proxy(None);
    }
    config.build().into()
}

/// Asks `url` for the bytes from `offset` on, provided the file is still `version`.
pub(crate) fn get(agent: &Agent, url: &str, offset: u64, version: Option<&str>) -> Result<Answer, Refusal> {
    let mut request = agent.get(url).header("Accept-Encoding", "identity");
    if offset > 0 {
        request = request.header("Range", format!("bytes={offset}-"));
        if let Some(version) = version {
            request = request.header("If-Range", version);
        }
    }
    // A redirect must not lead from a checked connection to an open one.
    let request = request.config().https_only(url.starts_with("https://")).build();
    let response = request.call().map_err(refusal)?;
    let shown = without_password(url);
    answer(response, &shown)
}

fn answer(response: Response<Body>, url: &str) -> Result<Answer, Refusal> {
    let status = response.status();
    let headers = response.headers();
    if header(headers, "content-encoding").is_some_and(|encoding| encoding != "identity") {
        return Err(Refusal::Final("it sends the file compressed".to_owned()));
    }
    let range = header(headers, "content-range").map(content_range);
    match status {
        StatusCode::OK => {
            let total = header(headers, "content-length").and_then(|length| length.parse().ok());
            Ok(Answer::Whole(content(response, url, total)))
        }
        StatusCode::PARTIAL_CONTENT => {
            let (start, total) = range.unwrap_or_default();
            Ok(Answer::Rest(start, content(response, url, total)))
        }
        StatusCode::RANGE_NOT_SATISFIABLE => Ok(Answer::OutOfRange(range.and_then(|(_, total)| total))),
        _ => Err(status_refusal(status, headers)),
    }
}

fn status_refusal(status: StatusCode, headers: &HeaderMap) -> Refusal {
    let reason = format!("it answers {status}");
    let passes = status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if !passes {
        return Refusal::Final(reason);
    }
    let seconds = header(headers, "retry-after").and_then(|seconds| seconds.parse().ok());
    Refusal::Again(reason, seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER)))
}

fn content(response: Response<Body>, url: &str, total: Option<u64>) -> Content {
    let headers = response.headers();
    let strong = header(headers, "etag").filter(|etag| !etag.starts_with("W/"));
    let etag = strong.or_else(|| header(headers, "last-modified")).map(str::to_owned);
    let has_end = ["content-length", "transfer-encoding"].iter().any(|name| headers.contains_key(*name));
    let origin = Origin { url: url.to_owned(), etag, total };
    Content { origin, has_end, body: Box::new(response.into_body().into_reader()) }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// First byte and size of the whole file in `bytes 5-9/10` or `bytes */10`.
fn content_range(value: &str) -> (Option<u64>, Option<u64>) {
    let Some((range, total)) = value.strip_prefix("bytes ").and_then(|value| value.split_once('/')) else {
        return (None, None);
    };
    let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
    (start, total.trim().parse().ok())
}

fn refusal(error: ureq::Error) -> Refusal {
    use ureq::Error as E;
    let reason = reason(&error);
    match error {
        E::BadUri(_)
        | E::Http(_)
        | E::TooManyRedirects
        | E::RedirectFailed
        | E::RequireHttpsOnly(_)
        | E::InvalidProxyUrl => Refusal::Final(reason),
        _ => Refusal::Again(reason, None),
    }
}

/// What a failed request or read means, for people.
fn reason(error: &ureq::Error) -> String {
    use ureq::Error as E;
    match error {
        E::Timeout(ureq::Timeout::PerRead) => "no answer within the time limit".to_owned(),
        E::Timeout(_) => "no connection within the time limit".to_owned(),
        E::HostNotFound => "the host is not known (is there a network?)".to_owned(),
        E::RequireHttpsOnly(_) => "it redirects from https to http".to_owned(),
        E::TooManyRedirects => "it redirects in circles".to_owned(),
        other => one_line(&other.to_string()),
    }
}

/// What a failed read of a body means, for people.
pub(crate) fn read_reason(error: std::io::Error) -> String {
    match ureq::Error::from(error) {
        ureq::Error::Timeout(_) => "no more bytes within the time limit".to_owned(),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the connection was cut".to_owned()
        }
        other => reason(&other),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `url` without the name and password that it may carry.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host = rest.split('/').next().unwrap_or_default();
    let Some((secret, _)) = host.rsplit_once('@') else { return url.to_owned() };
    format!("{scheme}://{}", &rest[secret.len() + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/10"), (Some(5), Some(10)));
        assert_eq!(content_range("bytes 5-9/*"), (Some(5), None));
        assert_eq!(content_range("bytes */10"), (None, Some(10)));
        for bad in ["", "bytes", "items 5-9/10", "bytes a-b/c", "bytes -5/10"] {
            assert_eq!(content_range(bad).0, None, "{bad}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(without_password("https://me:s@cret@host/a@b"), "https://host/a@b");
        assert_eq!(without_password("https://host/a@b"), "https://host/a@b");
        assert_eq!(without_password("nonsense"), "nonsense");
    }
}
