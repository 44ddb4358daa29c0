//! Commands in the text of documents.

/// What is typed behind a prompt in console blocks, with the number of its line.
pub(crate) fn of_text(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut console = false;
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        if line.starts_with("```") {
            console = line.trim_end() == "```console";
        }
        let Some(typed) = line.strip_prefix("$ ").filter(|_| console) else { continue };
        let mut typed = typed.to_owned();
        // A command goes on behind a backslash.
        while let Some(start) = typed.trim_end().strip_suffix('\\') {
            let next = lines.next().map_or("", |(line, _)| line);
            typed = format!("{start} {}", next.trim_start_matches('>').trim());
        }
        found.push((number, typed));
    }
    found
}

/// The part of `typed` that starts the program, as `yolo-cli …`; none for other programs.
pub(crate) fn of_program(typed: &str) -> Option<String> {
    let starts = ["yolo-cli ", "target/release/yolo-cli ", "cargo run --release -p yolo-cli -- "];
    let rest = starts.iter().find_map(|start| typed.strip_prefix(start))?;
    Some(format!("yolo-cli {rest}"))
}
