//! Which classes and functions a weights file has no business naming.
//!
//! Nothing a pickle names is ever called here, so this protects the *other* program that would be given the
//! file: a checkpoint that asks for `os.system` is an attack, and the user should hear of it.

use super::value::Class;

/// Modules of which nothing belongs in a checkpoint.
#[rustfmt::skip] // One name per line would fill the screen.
const MODULES: [&str; 44] = [
    "_posixsubprocess", "_thread", "asyncio", "bdb", "builtins", "cProfile", "code", "codeop", "commands", "cPickle",
    "ctypes", "ensurepip", "ftplib", "http", "imp", "importlib", "marshal", "multiprocessing", "nt",
    "ntpath", "os", "pdb", "pickle", "_pickle", "pip", "pkgutil", "platform", "popen2", "posix",
    "posixpath", "profile", "pty", "pydoc", "requests", "runpy", "shutil", "smtplib", "socket", "ssl",
    "subprocess", "sys", "timeit", "urllib", "webbrowser",
];

/// Single functions that run code or touch files, of modules that are otherwise harmless.
const FUNCTIONS: [(&str, &str); 13] = [
    ("_io", "FileIO"),
    ("_io", "open"),
    ("_operator", "attrgetter"),
    ("_operator", "methodcaller"),
    ("io", "FileIO"),
    ("io", "open"),
    ("io", "open_code"),
    ("operator", "attrgetter"),
    ("operator", "methodcaller"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("torch.serialization", "load"),
    ("types", "FunctionType"),
];

/// The built-ins that only make values.
#[rustfmt::skip] // One name per line would fill the screen.
const HARMLESS_BUILTINS: [&str; 20] = [
    "bool", "bytearray", "bytes", "complex", "dict", "Ellipsis", "float", "frozenset", "int", "list",
    "long", "NotImplemented", "object", "range", "set", "slice", "str", "tuple", "unicode", "xrange",
];

/// Whether `class` could run code when it is called.
pub(super) fn is_dangerous(class: &Class) -> bool {
    let package = class.module.split('.').next().unwrap_or_default();
    if matches!(package, "builtins" | "__builtin__" | "__builtins__") {
        return !HARMLESS_BUILTINS.contains(&class.name.as_str());
    }
    // A name may be an imported module (`torch` + `os`) or walk through attributes (`torch` + `os.system`).
    let reaches_module = class.name.split('.').any(|part| MODULES.contains(&part));
    let walks_private = class.name.split('.').rev().skip(1).any(|part| part.starts_with("__"));
    let is_function = FUNCTIONS.iter().any(|(module, name)| class.is(module, name));
    reaches_module || walks_private || is_function || MODULES.contains(&package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(module: &str, name: &str) -> Class {
        Class { module: module.into(), name: name.into() }
    }

    #[test]
    fn what_checkpoints_hold_is_harmless() {
        let harmless = [
            ("__builtin__", "set"),
            ("builtins", "dict"),
            ("collections", "OrderedDict"),
            ("models.yolo", "Detect"),
            ("numpy.core.multiarray", "scalar"),
            ("pathlib", "PosixPath"),
            ("argparse", "Namespace"),
            ("copyreg", "__newobj__"),
            ("my_layers", "Outer.Inner"),
        ];
        for (module, name) in harmless {
            assert!(!is_dangerous(&class(module, name)), "{module} {name}");
        }
    }

    #[test]
    fn submodules_and_attribute_walks_are_seen() {
        let dangerous = [
            ("os.path", "join"),
            ("torch", "os.system"),
            ("a", "f.__globals__.get"),
            ("builtins", "getattr"),
        ];
        for (module, name) in dangerous {
            assert!(is_dangerous(&class(module, name)), "{module} {name}");
        }
    }
}
