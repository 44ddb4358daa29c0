//! Commands in the text of documents.

use std::path::Path;

/// README and the documents, from the root of the workspace.
pub(crate) fn documents() -> Vec<String> {
    let folder = std::fs::read_dir(root().join("docs")).unwrap();
    let files = folder.map(|file| format!("docs/{}", file.unwrap().file_name().display()));
    let mut files: Vec<String> =
        files.filter(|file| file.ends_with(".md")).chain(["README.md".to_owned()]).collect();
    files.sort();
    files
}

/// The commands of a document, each with its file and line.
pub(crate) fn of_document(file: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let commands = of_text(&text).into_iter();
    commands.map(|(line, typed)| (format!("{file}:{line}"), of_program(&typed).unwrap_or(typed))).collect()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

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
        // A command continues after a backslash.
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
