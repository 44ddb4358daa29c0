//! Text made safe for HTML, and the small pieces that several sections share.

/// Text for element content and for quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Not allowed in HTML, not even as a reference.
            '\0' => safe.push('\u{fffd}'),
            _ => safe.push(letter),
        }
    }
    safe
}

/// A share as a percentage with one decimal, a dash where there is none.
pub(crate) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", share * 100.0) } else { "–".to_owned() }
}

/// A number with some decimals, in exponent form where it is huge, a dash where it is not one.
pub(crate) fn decimal(value: f64, decimals: usize) -> String {
    match value {
        _ if !value.is_finite() => "–".to_owned(),
        _ if value.abs() >= 1e5 => format!("{value:.2e}"),
        _ => format!("{value:.decimals$}"),
    }
}

/// The class that colours a change, and the word that says the same.
pub(crate) fn judgement(better: Option<bool>) -> (&'static str, &'static str) {
    match better {
        Some(true) => ("better", "better"),
        Some(false) => ("worse", "worse"),
        None => ("same", ""),
    }
}

/// The class with the colour of a stage. The style sheet has five; more stages than that share them.
pub(crate) fn colour_class(stage: usize) -> String {
    format!("c{}", stage % 5)
}

/// The classes with the colour and the dashes of a stage.
pub(crate) fn line_class(stage: usize) -> String {
    format!("c{0} d{0}", stage % 5)
}

/// A section: heading, explanation and legend beside its figure on wide screens, above it on narrow ones.
/// `intro` and `body` are HTML.
pub(crate) fn section(id: &str, title: &str, intro: &str, body: &str) -> String {
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n\
         <div class=\"intro\"><h2 id=\"{id}-title\">{}</h2>\n\
         {intro}</div>\n<div class=\"body\">{body}</div>\n</section>\n",
        escape(title)
    )
}

/// A table of numbers that scrolls where it is too wide; `heads` and `body` are its cells and rows as HTML, `label` says
/// what it is.
pub(crate) fn number_table(label: &str, heads: &str, body: &str) -> String {
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\">\
         <table class=\"numbers\"><thead><tr>{heads}</tr></thead><tbody>\n{body}</tbody></table></div>\n"
    )
}

/// What a section shows when there is nothing to show.
pub(crate) fn nothing(why: &str) -> String {
    format!("<p class=\"empty\">{}</p>", escape(why))
}

/// A legend: the classes of each line and its name.
pub(crate) fn legend<'a>(entries: impl IntoIterator<Item = (String, &'a str)>) -> String {
    let items: String = entries
        .into_iter()
        .map(|(class, name)| {
            format!(
                "<li><svg class=\"key\" viewBox=\"0 0 32 8\" aria-hidden=\"true\">\
                 <path class=\"line {class}\" d=\"M1 4H31\"/></svg>{}</li>\n",
                escape(name)
            )
        })
        .collect();
    format!("<ul class=\"legend\">\n{items}</ul>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_ends_text_or_an_attribute() {
        assert_eq!(escape(r#"<a b="c">&'"#), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;");
        assert_eq!(escape("größer\0"), "größer\u{fffd}");
    }

    #[test]
    fn numbers_that_are_none_become_dashes() {
        assert_eq!(percent(f64::NAN), "–");
        assert_eq!(percent(0.6996), "70.0 %");
        assert_eq!(decimal(f64::INFINITY, 3), "–");
        assert_eq!(decimal(0.04567, 4), "0.0457");
        assert_eq!(decimal(1.5e300, 4), "1.50e300");
    }
}
