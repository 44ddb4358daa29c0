//! Patterns that name convolutions.

use serde::{Deserialize, Serialize};

/// A pattern over names of convolutions (`model.9.cv1`, `model.24.m.0`).
///
/// `*` stands for any characters. A pattern without `*` means the convolution of that name and everything below
/// it: `model.24` is the whole head, but not `model.2`.
///
/// Files keep the text as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern; every text is one. The ending of a tensor's name (`.conv.weight`, `.weight`) is ignored.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The pattern, without the ending that is ignored.
    pub fn as_str(&self) -> &str {
        let text = self.0.strip_suffix(".weight").unwrap_or(&self.0);
        text.strip_suffix(".conv").unwrap_or(text)
    }

    /// Whether it means the convolution called `name`.
    pub fn matches(&self, name: &str) -> bool {
        let pattern = self.as_str();
        if pattern.contains('*') {
            return wildcard(pattern, name);
        }
        name.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// Whether `name` is the parts of `pattern` between its stars, in order, first and last anchored.
fn wildcard(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_subtrees_and_wildcards() {
        let cases = [
            ("model.24", "model.24.m.0", true),
            ("model.2", "model.24.m.0", false),
            ("model.2", "model.2.cv1", true),
            ("model.0", "model.0", true),
            ("model.0.conv.weight", "model.0", true),
            ("model.24.m.1.weight", "model.24.m.1", true),
            ("*.m.*.cv2", "model.2.m.0.cv2", true),
            ("*.m.*.cv2", "model.2.m.0.cv1", false),
            ("*", "anything", true),
            ("model.*1", "model.1", true),
            ("a*a", "a", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} on {name}");
        }
    }
}
