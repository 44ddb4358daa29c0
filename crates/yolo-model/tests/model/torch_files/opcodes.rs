//! What a file asks of its reader: opcodes and names in the pickle, and the layout of the archive.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

/// The opcodes that every reader of PyTorch's files takes, `weights_only` included.
const OPCODES: &[u8] = b"\x80}](X)KMJ\x8aG\x88\x89N\x85\x86\x87teucR\x81bQqrhj.";

/// Names beside the classes of layers.
const NAMES: [&str; 8] = [
    "collections OrderedDict",
    "__builtin__ set",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch HalfStorage",
    "torch FloatStorage",
    "torch LongStorage",
    "torch.nn.utils.prune Identity",
];

/// Modules of Python whose classes are layers.
const LAYERS: [&str; 4] = ["models.common ", "models.yolo ", "models.experimental ", "torch.nn.modules."];

/// Checks opcodes, names and entries of the `.pt` file at `path`.
pub(super) fn assert_documented(path: &Path) {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let n_storages = names.iter().filter(|name| name.starts_with("archive/data/")).count();
    let storages = (0..n_storages).map(|key| format!("archive/data/{key}"));
    let expected =
        ["archive/data.pkl".to_owned(), "archive/byteorder".to_owned()].into_iter().chain(storages);
    assert!(expected.chain(["archive/version".to_owned()]).eq(names.iter().cloned()), "{names:?}");
    for index in 0..archive.len() {
        let entry = archive.by_index(index).unwrap();
        assert_eq!(entry.data_start().unwrap() % 64, 0, "{:?}", entry.name());
        assert_eq!(entry.compression(), zip::CompressionMethod::Stored);
    }
    let mut pickle = Vec::new();
    archive.by_name("archive/data.pkl").unwrap().read_to_end(&mut pickle).unwrap();
    let (opcodes, globals) = scan(&pickle);
    let unknown: Vec<u8> = opcodes.into_iter().filter(|opcode| !OPCODES.contains(opcode)).collect();
    assert!(unknown.is_empty(), "opcodes {unknown:02x?}");
    for global in globals {
        let is_layer = LAYERS.iter().any(|module| global.starts_with(module));
        assert!(is_layer || NAMES.contains(&global.as_str()), "{global}");
        assert!(!global.contains("DetectionModel"), "releases before 6.2 do not have it");
    }
}

/// Opcodes and names of a pickle, without running it.
fn scan(pickle: &[u8]) -> (BTreeSet<u8>, BTreeSet<String>) {
    let (mut opcodes, mut globals) = (BTreeSet::new(), BTreeSet::new());
    let mut position = 0;
    while position < pickle.len() {
        let opcode = pickle[position];
        position += 1;
        opcodes.insert(opcode);
        let rest = &pickle[position..];
        position += match opcode {
            0x80 | b'K' | b'q' | b'h' => 1,
            b'M' => 2,
            b'J' | b'r' | b'j' => 4,
            b'G' => 8,
            0x8a => 1 + usize::from(rest[0]),
            b'X' => 4 + u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize,
            b'c' => {
                let text =
                    std::str::from_utf8(rest.split_inclusive(|byte| *byte == b'\n').next().unwrap()).unwrap();
                let name = rest[text.len()..].split(|byte| *byte == b'\n').next().unwrap();
                let name = std::str::from_utf8(name).unwrap();
                globals.insert(format!("{} {name}", text.trim_end()));
                text.len() + name.len() + 1
            }
            _ => 0,
        };
    }
    assert_eq!(pickle.last(), Some(&b'.'));
    (opcodes, globals)
}
