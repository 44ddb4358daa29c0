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

/// Classes of layers in files of the package `ultralytics`.
const ULTRALYTICS: [&str; 24] = [
    "torch.nn.modules.activation SiLU",
    "torch.nn.modules.batchnorm BatchNorm2d",
    "torch.nn.modules.container ModuleList",
    "torch.nn.modules.container Sequential",
    "torch.nn.modules.conv Conv2d",
    "torch.nn.modules.linear Identity",
    "torch.nn.modules.pooling MaxPool2d",
    "torch.nn.modules.upsampling Upsample",
    "ultralytics.nn.tasks DetectionModel",
    "ultralytics.nn.modules.conv Conv",
    "ultralytics.nn.modules.conv DWConv",
    "ultralytics.nn.modules.conv Concat",
    "ultralytics.nn.modules.block Bottleneck",
    "ultralytics.nn.modules.block C2",
    "ultralytics.nn.modules.block C2f",
    "ultralytics.nn.modules.block C3",
    "ultralytics.nn.modules.block C3k",
    "ultralytics.nn.modules.block C3k2",
    "ultralytics.nn.modules.block C2PSA",
    "ultralytics.nn.modules.block PSABlock",
    "ultralytics.nn.modules.block Attention",
    "ultralytics.nn.modules.block SPPF",
    "ultralytics.nn.modules.block DFL",
    "ultralytics.nn.modules.head Detect",
];

/// Checks opcodes, names and entries of the `.pt` file at `path`, a network of YOLOv5 or a state dict.
pub(super) fn assert_documented(path: &Path) {
    for global in layout(path) {
        let is_layer = LAYERS.iter().any(|module| global.starts_with(module));
        assert!(is_layer || NAMES.contains(&global.as_str()), "{global}");
        assert!(!global.contains("DetectionModel"), "releases before 6.2 do not have it");
    }
}

/// The same of a network for the package `ultralytics`.
pub(super) fn assert_documented_for_ultralytics(path: &Path) {
    for global in layout(path) {
        assert!(ULTRALYTICS.contains(&global.as_str()) || NAMES.contains(&global.as_str()), "{global}");
    }
}

/// The names in the pickle of the `.pt` file at `path`, whose opcodes and entries are checked.
fn layout(path: &Path) -> BTreeSet<String> {
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
    globals
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
