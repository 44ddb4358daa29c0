//! What a name, a pattern, a list or an address stands for: images and videos, in order.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use yolo_data::dataset::list::IMAGE_EXTENSIONS;

/// File name extensions taken as videos.
const VIDEO_EXTENSIONS: [&str; 12] =
    ["asf", "avi", "gif", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ts", "webm", "wmv"];

/// File name extensions of lists of sources.
const LISTS: [&str; 2] = ["txt", "streams"];

type Result<T> = std::result::Result<T, SourceError>;

/// Why there is nothing to look at. Every message is one line; the cause of a file system is its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// An empty name.
    #[error("no source; name an image, a video, a folder, a list or a stream")]
    Empty,
    /// YOLOv5's way to capture the screen.
    #[error(
        "{source_name}: the screen is not captured; record it with ffmpeg (ffmpeg -f x11grab -i :0.0 clip.mp4) and name the \
         video, or stream it and name the stream"
    )]
    Screen {
        /// What was named.
        source_name: String,
    },
    /// The number of a webcam on a system where cameras have none.
    #[error("{number}: webcams by number are for Linux and macOS; name a stream or a file")]
    Webcam {
        /// The number.
        number: String,
    },
    /// An address that nothing here reads.
    #[error("{url}: {scheme}:// is not a stream that can be read; use rtsp, rtmp, http, tcp or udp")]
    Scheme {
        /// The address.
        url: String,
        /// What is before its colon.
        scheme: String,
    },
    /// An image on a server that is not one of the web.
    #[error("{name}: images are downloaded by http and https only")]
    ImageScheme {
        /// The address, without a password.
        name: String,
    },
    /// A link that leads nowhere.
    #[error("{}: a link to {}, which is not there", link.display(), target.display())]
    Link {
        /// The link.
        link: PathBuf,
        /// What it names.
        target: PathBuf,
    },
    /// No such file or folder.
    #[error("{}: no such file or folder", path.display())]
    Missing {
        /// What was named.
        path: PathBuf,
    },
    /// A file of another kind.
    #[error("{}: not an image or a video by its name ({})", path.display(), extensions())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// A folder that may not be read.
    #[error("{}: the folder cannot be read", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder without images and videos.
    #[error("{}: no image or video in this folder ({})", path.display(), extensions())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Not a pattern.
    #[error("{pattern}: not a pattern of file names")]
    Pattern {
        /// What was named.
        pattern: String,
        /// What is wrong with it.
        source: glob::PatternError,
    },
    /// A pattern that nothing matches.
    #[error("{pattern}: no image or video matches ({})", extensions())]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// A list that may not be read, or is not a text.
    #[error("{}: cannot be read as text, one path per line", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A list of nothing that is there.
    #[error("{}: no line of it names an image or a video that is there", path.display())]
    EmptyList {
        /// The list.
        path: PathBuf,
    },
}

/// What was passed over, since there are others.
#[derive(Debug)]
pub struct LeftOut<'a> {
    /// The list and its line, from 1, if it was named there.
    pub place: Option<(&'a Path, usize)>,
    /// Why.
    pub error: SourceError,
}

/// One thing to look at.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// An image file.
    Image(PathBuf),
    /// The URL of an image, which is downloaded when it is its turn.
    Url(ImageUrl),
    /// A video, a webcam or a stream.
    Video(Input),
}

/// An image on a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageUrl {
    /// What is downloaded.
    pub url: String,
    /// What messages call it: the URL without a password.
    pub name: String,
    /// The name of the file on the server.
    pub file: String,
}

/// What ffmpeg reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// What messages call it.
    pub name: String,
    /// What files made from it are called, without extension.
    pub stem: String,
    /// ffmpeg's arguments that open it, up to and with `-i`.
    pub args: Vec<OsString>,
    /// Whether it continues while we compute; only the latest picture counts then.
    pub is_live: bool,
}

/// Everything that `source` means: images first, then videos. `left_out` is told what is passed over.
///
/// # Errors
/// Nothing that can be looked at.
pub fn find(source: &str, left_out: &mut dyn FnMut(LeftOut<'_>)) -> Result<Vec<Source>> {
    let mut found = if Path::new(source).is_dir() {
        in_folder(Path::new(source), left_out)?
    } else if is_file_with(source, &LISTS) {
        in_list(Path::new(source), left_out)?
    } else if source.contains(['*', '?', '[']) && !source.contains("://") && !Path::new(source).exists() {
        matching(source, left_out)?
    } else {
        vec![single(source)?]
    };
    // Stable, so names stay in order.
    found.sort_by_key(|source| matches!(source, Source::Video(_)));
    Ok(found)
}

/// A file, a webcam or a stream.
fn single(source: &str) -> Result<Source> {
    if source.split_whitespace().next() == Some("screen") && !Path::new(source).exists() {
        return Err(SourceError::Screen { source_name: source.to_owned() });
    }
    if !source.is_empty() && source.bytes().all(|byte| byte.is_ascii_digit()) && !Path::new(source).exists() {
        return webcam(source);
    }
    if source.trim().is_empty() {
        return Err(SourceError::Empty);
    }
    if let Some((scheme, rest)) = source.split_once("://") {
        return stream(source, scheme, rest);
    }
    let path = Path::new(source);
    if let Some(error) = dangling(path) {
        return Err(error);
    }
    if !path.exists() {
        return Err(SourceError::Missing { path: path.to_owned() });
    }
    classified(path).ok_or_else(|| SourceError::Kind { path: path.to_owned() })
}

fn webcam(number: &str) -> Result<Source> {
    let args = if cfg!(target_os = "linux") {
        ["-f".to_owned(), "v4l2".to_owned(), "-i".to_owned(), format!("/dev/video{number}")]
    } else if cfg!(target_os = "macos") {
        ["-f".to_owned(), "avfoundation".to_owned(), "-i".to_owned(), number.to_owned()]
    } else {
        return Err(SourceError::Webcam { number: number.to_owned() });
    };
    let (name, stem) = (format!("webcam {number}"), format!("webcam{number}"));
    Ok(Source::Video(Input { name, stem, args: args.map(OsString::from).to_vec(), is_live: true }))
}

fn stream(url: &str, scheme: &str, rest: &str) -> Result<Source> {
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let file = Path::new(path);
    if !["http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "tcp", "udp"].contains(&scheme) {
        return Err(SourceError::Scheme { url: url.to_owned(), scheme: scheme.to_owned() });
    }
    let letters = |c: char| if c.is_alphanumeric() || c == '-' || c == '.' { c } else { '_' };
    let name = format!("{scheme}://{}", without_password(rest));
    if has_extension(file, &IMAGE_EXTENSIONS) {
        if !scheme.starts_with("http") {
            return Err(SourceError::ImageScheme { name });
        }
        let file = file.file_name().unwrap_or_default().to_string_lossy().chars().map(letters).collect();
        return Ok(Source::Url(ImageUrl { url: url.to_owned(), name, file }));
    }
    let is_file = scheme.starts_with("http") && has_extension(file, &VIDEO_EXTENSIONS);
    let stem = match file.file_stem().and_then(|stem| stem.to_str()) {
        Some(stem) if is_file => stem.chars().map(letters).collect(),
        _ => without_password(path).chars().map(letters).collect::<String>().trim_matches('_').to_owned(),
    };
    let args = ["-i", url].map(OsString::from).to_vec();
    Ok(Source::Video(Input { name, stem, args, is_live: !is_file }))
}

/// `user:password@host/path` without what nobody else should read.
fn without_password(rest: &str) -> &str {
    let host_end = rest.find('/').unwrap_or(rest.len());
    rest[..host_end].rfind('@').map_or(rest, |at| &rest[at + 1..])
}

fn in_folder(folder: &Path, left_out: &mut dyn FnMut(LeftOut<'_>)) -> Result<Vec<Source>> {
    let unreadable = |source| SourceError::Folder { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let found = files_among(&paths, left_out);
    if found.is_empty() {
        return Err(SourceError::EmptyFolder { path: folder.to_owned() });
    }
    Ok(found)
}

fn matching(pattern: &str, left_out: &mut dyn FnMut(LeftOut<'_>)) -> Result<Vec<Source>> {
    let wanted = glob::Pattern::new(pattern)
        .map_err(|source| SourceError::Pattern { pattern: pattern.to_owned(), source })?;
    let as_the_shell = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    // Our own walk: that of `glob` stops at names that are not UTF-8.
    let is_special = |part: &&str| part.contains(['*', '?', '[']);
    let parts: Vec<&str> = pattern.split('/').collect();
    let fixed = parts.iter().position(is_special).unwrap_or(parts.len());
    let folder = parts[..fixed].join("/") + if fixed > 0 { "/" } else { "" };
    let depth = if parts.contains(&"**") { usize::MAX } else { parts.len() - fixed };
    let start = if folder.is_empty() { "." } else { &folder };
    let walk = walkdir::WalkDir::new(start).min_depth(1).max_depth(depth).follow_links(true);
    // Folders on the way that may not be read are passed over, as the shell does.
    let found = walk.into_iter().filter_map(|entry| match entry {
        Ok(entry) => Some(entry.into_path()),
        // A link that leads nowhere is named later.
        Err(error) => error.path().filter(|path| dangling(path).is_some()).map(Path::to_owned),
    });
    let as_written = |path: PathBuf| match path.strip_prefix(".") {
        Ok(inside) if folder.is_empty() => inside.to_owned(),
        _ => path,
    };
    let found = found.map(as_written);
    let mut paths: Vec<PathBuf> =
        found.filter(|path| wanted.matches_with(&path.to_string_lossy(), as_the_shell)).collect();
    paths.sort();
    let found = files_among(&paths, left_out);
    if found.is_empty() {
        return Err(SourceError::NoMatch { pattern: pattern.to_owned() });
    }
    Ok(found)
}

/// The images and videos among paths in order. A link that leads nowhere is named and left out, if it would be one.
fn files_among(paths: &[PathBuf], left_out: &mut dyn FnMut(LeftOut<'_>)) -> Vec<Source> {
    let mut source = |path: &PathBuf| {
        let source = classified(path)?;
        if let Some(error) = dangling(path) {
            left_out(LeftOut { place: None, error });
        }
        path.is_file().then_some(source)
    };
    paths.iter().filter_map(&mut source).collect()
}

/// What is wrong with a link that leads nowhere.
fn dangling(path: &Path) -> Option<SourceError> {
    let target = std::fs::read_link(path).ok().filter(|_| !path.exists())?;
    Some(SourceError::Link { link: path.to_owned(), target })
}

/// A file or stream per line. Paths are relative to the list's folder or to the current one.
fn in_list(list: &Path, left_out: &mut dyn FnMut(LeftOut<'_>)) -> Result<Vec<Source>> {
    let text = std::fs::read_to_string(list)
        .map_err(|source| SourceError::List { path: list.to_owned(), source })?;
    let mut found = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let beside = list.parent().unwrap_or(Path::new("")).join(line);
        let line = if beside.is_file() { beside.to_string_lossy().into_owned() } else { line.to_owned() };
        match single(&line) {
            Ok(source) => found.push(source),
            Err(error) => left_out(LeftOut { place: Some((list, number + 1)), error }),
        }
    }
    if found.is_empty() {
        return Err(SourceError::EmptyList { path: list.to_owned() });
    }
    Ok(found)
}

/// What a file is by its extension.
fn classified(path: &Path) -> Option<Source> {
    if has_extension(path, &IMAGE_EXTENSIONS) {
        return Some(Source::Image(path.to_owned()));
    }
    if !has_extension(path, &VIDEO_EXTENSIONS) {
        return None;
    }
    // With the scheme, a name with a colon in it is not a stream and one with a dash is not a flag.
    let mut file = OsString::from("file:");
    file.push(path);
    Some(Source::Video(Input {
        name: path.display().to_string(),
        stem: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        args: vec!["-i".into(), file],
        is_live: false,
    }))
}

fn is_file_with(source: &str, extensions: &[&str]) -> bool {
    Path::new(source).is_file() && has_extension(Path::new(source), extensions)
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
    extension.is_some_and(|extension| extensions.contains(&extension.as_str()))
}

fn extensions() -> String {
    format!("{}; {}", IMAGE_EXTENSIONS.join(", "), VIDEO_EXTENSIONS.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn find(source: &str) -> Result<Vec<Source>> {
        super::find(source, &mut |_| {})
    }

    fn names(source: &str, folder: &Path) -> Vec<String> {
        let found = find(source).unwrap();
        let prefix = format!("{}/", folder.display());
        let name = |source: &Source| match source {
            Source::Image(path) => path.display().to_string(),
            Source::Url(image) => image.name.clone(),
            Source::Video(input) => input.name.clone(),
        };
        found.iter().map(|source| name(source).trim_start_matches(&prefix).to_owned()).collect()
    }

    fn folder() -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for name in ["b.jpg", "a.mp4", "c.PNG", "notes.md", ".hidden.jpg", "x/deep.jpg", "list.txt"] {
            let path = temp.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        temp
    }

    #[test]
    fn folders_give_their_images_and_then_their_videos() {
        let temp = folder();
        let at = |name: &str| temp.path().join(name).display().to_string();
        assert_eq!(names(&at(""), temp.path()), ["b.jpg", "c.PNG", "a.mp4"]);
        assert_eq!(names(&at("*.??g"), temp.path()), ["b.jpg"]);
        assert_eq!(names(&at("**/*.jpg"), temp.path()), ["b.jpg", "x/deep.jpg"]);
        assert_eq!(names(&at("?/*.jpg"), temp.path()), ["x/deep.jpg"]);
        assert_eq!(names(&at("[a-x]/d*"), temp.path()), ["x/deep.jpg"]);
        assert!(find(&at("*.bmp")).unwrap_err().to_string().contains("matches"));
        assert!(find(&at("notes.md")).unwrap_err().to_string().contains("not an image"));
        assert!(find(&at("none.jpg")).unwrap_err().to_string().contains("no such file"));
    }

    #[test]
    #[cfg(unix)]
    fn names_that_are_not_utf_8_are_no_obstacle() {
        use std::os::unix::ffi::OsStrExt;
        let temp = folder();
        std::fs::write(temp.path().join(std::ffi::OsStr::from_bytes(b"b\xff.jpg")), b"x").unwrap();
        let at = |name: &str| temp.path().join(name).display().to_string();
        assert_eq!(names(&at("*.jpg"), temp.path()), ["b.jpg", "b\u{fffd}.jpg"]);
        assert_eq!(names(&at("b.*"), temp.path()), ["b.jpg"]);
    }

    #[test]
    #[cfg(unix)]
    fn links_that_lead_nowhere_are_named_and_left_out() {
        let temp = folder();
        let link = temp.path().join("z.jpg");
        std::os::unix::fs::symlink("gone.jpg", &link).unwrap();
        let at = |name: &str| temp.path().join(name).display().to_string();
        assert_eq!(names(&at(""), temp.path()), ["b.jpg", "c.PNG", "a.mp4"]);
        assert_eq!(names(&at("*.jpg"), temp.path()), ["b.jpg"]);
        let mut left_out = Vec::new();
        super::find(&at(""), &mut |left| left_out.push(left.error.to_string())).unwrap();
        assert_eq!(left_out, [format!("{}: a link to gone.jpg, which is not there", at("z.jpg"))]);
        let error = find(&at("z.jpg")).unwrap_err().to_string();
        assert!(error.ends_with("z.jpg: a link to gone.jpg, which is not there"), "{error}");
    }

    #[test]
    fn lists_name_files_beside_them_and_streams() {
        let temp = folder();
        let list = temp.path().join("list.txt");
        std::fs::write(&list, "\u{feff}# two\nx/deep.jpg\n\nnone.jpg\nrtsp://camera/1\n").unwrap();
        assert_eq!(names(list.to_str().unwrap(), temp.path()), ["x/deep.jpg", "rtsp://camera/1"]);
        let mut left_out = Vec::new();
        super::find(list.to_str().unwrap(), &mut |left| left_out.push((left.place.unwrap().1, left.error)))
            .unwrap();
        assert!(
            matches!(left_out.as_slice(), [(4, SourceError::Missing { path })] if path == Path::new("none.jpg"))
        );
        let streams = temp.path().join("list.streams");
        std::fs::write(&streams, "rtsp://camera/1\nhttp://host/b.jpg\n").unwrap();
        // Images come first.
        assert_eq!(names(streams.to_str().unwrap(), temp.path()), ["http://host/b.jpg", "rtsp://camera/1"]);
        std::fs::write(&list, "none.jpg\n").unwrap();
        assert!(find(list.to_str().unwrap()).unwrap_err().to_string().contains("no line"));
    }

    #[test]
    fn streams_are_live_and_files_on_servers_are_not() {
        let input = |source: &str| match find(source).unwrap().remove(0) {
            Source::Video(input) => (input.name, input.stem, input.is_live),
            _ => panic!("{source}"),
        };
        let camera = input("rtsp://me:secret@10.0.0.1:554/live/1");
        assert_eq!(camera, ("rtsp://10.0.0.1:554/live/1".to_owned(), "10.0.0.1_554_live_1".to_owned(), true));
        let file = input("https://host/a/clip.mp4?key=1");
        assert_eq!((file.1.as_str(), file.2), ("clip", false));
        let image = match find("https://me:secret@host/a/b%20c.jpg?key=1").unwrap().remove(0) {
            Source::Url(image) => (image.name, image.file),
            _ => panic!("not an image"),
        };
        assert_eq!(image, ("https://host/a/b%20c.jpg?key=1".to_owned(), "b_20c.jpg".to_owned()));
        assert!(find("rtsp://host/a.jpg").unwrap_err().to_string().contains("http"));
        assert!(find("file:///etc/passwd").is_err());
        assert!(find("screen 0 100 100 512 256").unwrap_err().to_string().contains("ffmpeg"));
        if cfg!(target_os = "linux") {
            assert_eq!(input("0"), ("webcam 0".to_owned(), "webcam0".to_owned(), true));
        }
    }
}
