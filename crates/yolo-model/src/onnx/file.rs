//! The file around the graph, written in one pass and moved into place.

use std::io::Write;
use std::path::Path;

use yolo_files::AtomicFile;

use super::error::OnnxError;
use super::graph::{Elements, Graph, Tensor};
use super::wire::Message;

/// The longest message that protobuf's readers accept.
const MAX_BYTES: u64 = i32::MAX as u64;

/// Refuses what no reader could read.
pub(super) fn check_size(bytes: u64) -> Result<(), OnnxError> {
    if bytes > MAX_BYTES { Err(OnnxError::TooLarge { bytes, limit: MAX_BYTES }) } else { Ok(()) }
}

/// Writes the model and gives its size. What was at `path` stays until the file is complete.
pub(super) fn write(
    path: &Path,
    graph: &Graph<'_>,
    metadata: &[(&str, String)],
    opset: u32,
) -> Result<u64, OnnxError> {
    let parts = Parts::of(graph, metadata, opset);
    let bytes = parts.bytes();
    check_size(bytes)?;
    let unwritable = |source| OnnxError::Write { path: path.to_owned(), source };
    parts.write_atomically(path).map_err(unwritable)?;
    Ok(bytes)
}

/// A model in the order of its bytes.
struct Parts<'a> {
    /// The model up to its graph, and the graph up to its tensors.
    start: Message,
    /// Each tensor up to its data, and the data.
    tensors: Vec<(Message, &'a Elements<'a>)>,
    /// The model behind its graph.
    end: Message,
}

impl<'a> Parts<'a> {
    fn of(graph: &'a Graph<'_>, metadata: &[(&str, String)], opset: u32) -> Self {
        let outputs: Vec<Message> = graph.outputs.iter().map(|output| output.message()).collect();
        let inside = Message::default()
            .messages(1, &graph.nodes)
            .text(2, "yolov5")
            .message(11, &graph.input.message())
            .messages(12, &outputs);
        let tensors: Vec<(Message, &Elements<'_>)> = graph.tensors.iter().map(tensor_parts).collect();
        let graph_bytes = inside.bytes().len() as u64 + tensors.iter().map(tensor_bytes).sum::<u64>();
        let start = Message::default()
            .int(1, ir_version(opset))
            .text(2, "yolo-prune")
            .text(3, env!("CARGO_PKG_VERSION"))
            .open(7, graph_bytes)
            .append(&inside);
        let end = metadata.iter().fold(
            Message::default().message(8, &Message::default().int(2, i64::from(opset))),
            |end, (key, value)| end.message(14, &Message::default().text(1, key).text(2, value)),
        );
        Self { start, tensors, end }
    }

    fn bytes(&self) -> u64 {
        let around = self.start.bytes().len() + self.end.bytes().len();
        around as u64 + self.tensors.iter().map(tensor_bytes).sum::<u64>()
    }

    fn write_atomically(&self, path: &Path) -> std::io::Result<()> {
        if path.is_dir() {
            return Err(std::io::Error::other("it is a folder"));
        }
        let mut file = AtomicFile::create(path)?;
        self.write_to(&mut file)?;
        file.commit()
    }

    fn write_to(&self, writer: &mut impl Write) -> std::io::Result<()> {
        writer.write_all(self.start.bytes())?;
        for (header, elements) in &self.tensors {
            writer.write_all(header.bytes())?;
            match elements {
                Elements::F16(values) => {
                    values.iter().try_for_each(|value| writer.write_all(&value.to_le_bytes()))?;
                }
                Elements::F32(values) => {
                    values.iter().try_for_each(|value| writer.write_all(&value.to_le_bytes()))?;
                }
                Elements::I64(values) => {
                    values.iter().try_for_each(|value| writer.write_all(&value.to_le_bytes()))?;
                }
            }
        }
        writer.write_all(self.end.bytes())
    }
}

/// A tensor as an entry of the graph, up to its data.
fn tensor_parts<'a>(tensor: &'a Tensor<'_>) -> (Message, &'a Elements<'a>) {
    let header = tensor.header();
    let length = header.bytes().len() as u64 + tensor.elements.bytes();
    (Message::default().open(5, length).append(&header), &tensor.elements)
}

fn tensor_bytes((header, elements): &(Message, &Elements<'_>)) -> u64 {
    header.bytes().len() as u64 + elements.bytes()
}

/// The version of the file format that came with an opset: readers that know the one know the other.
fn ir_version(opset: u32) -> i64 {
    match opset {
        ..15 => 7,
        15..19 => 8,
        _ => 9,
    }
}
