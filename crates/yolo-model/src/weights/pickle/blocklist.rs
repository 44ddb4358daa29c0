//! Which classes and functions a weights file has no business naming.
//!
//! Nothing a pickle names is ever called here, so this protects the *other* program that would be given the
//! file: a checkpoint that asks for `os.system` is an attack, and the user should hear of it.

use super::value::Class;

/// Modules of which nothing belongs in a checkpoint.
const MODULES: [&str; 43] = [
    "_posixsubprocess",
    "_thread",
    "asyncio",
    "bdb",
    "cProfile",
    "code",
    "codeop",
    "commands",
    "cPickle",
    "ctypes",
    "ensurepip",
    "ftplib",
    "http",
    "imp",
    "importlib",
    "marshal",
    "multiprocessing",
    "nt",
    "ntpath",
    "os",
    "pdb",
    "pickle",
    "_pickle",
    "pip",
    "pkgutil",
    "platform",
    "popen2",
    "posix",
    "posixpath",
    "profile",
    "pty",
    "pydoc",
    "requests",
    "runpy",
    "shutil",
    "smtplib",
    "socket",
    "ssl",
    "subprocess",
    "sys",
    "timeit",
    "urllib",
    "webbrowser",
];

/// Single functions that run code or touch files, of modules that are otherwise harmless.
const FUNCTIONS: [(&str, &str); 8] = [
    ("_io", "FileIO"),
    ("_io", "open"),
    ("io", "FileIO"),
    ("io", "open"),
    ("io", "open_code"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("types", "FunctionType"),
];

/// The built-ins that only make values.
const HARMLESS_BUILTINS: [&str; 20] = [
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "Ellipsis",
    "float",
    "frozenset",
    "int",
    "list",
    "long",
    "NotImplemented",
    "object",
    "range",
    "set",
    "slice",
    "str",
    "tuple",
    "unicode",
    "xrange",
];

/// Whether `class` could run code when it is called.
pub(super) fn is_dangerous(class: &Class) -> bool {
    let package = class.module.split('.').next().unwrap_or_default();
    if matches!(package, "builtins" | "__builtin__" | "__builtins__") {
        return !HARMLESS_BUILTINS.contains(&class.name.as_str());
    }
    // A dotted name walks through attributes, so `torch` + `os.system` reaches `os` as well.
    let reaches = class.name.split('.').rev().skip(1).any(|part| MODULES.contains(&part) || is_private(part));
    reaches || MODULES.contains(&package) || FUNCTIONS.iter().any(|(module, name)| class.is(module, name))
}

fn is_private(part: &str) -> bool {
    part.starts_with("__")
}
