//! Who takes turns with ours.

use anyhow::{Result, bail};
use clap::ValueEnum;

/// A program that takes turns with ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Peer {
    /// ONNX Runtime in single precision.
    Onnxruntime,
    /// OpenVINO in single precision.
    OpenvinoF32,
    /// OpenVINO in the precision that it chooses: bf16 where the processor has units for it.
    OpenvinoDefault,
    /// OpenVINO with a network that NNCF made INT8.
    OpenvinoInt8,
}

impl Peer {
    pub(super) const ALL: [Self; 4] =
        [Self::Onnxruntime, Self::OpenvinoF32, Self::OpenvinoDefault, Self::OpenvinoInt8];

    /// Its name as it is typed.
    fn name(self) -> &'static str {
        match self {
            Self::Onnxruntime => "onnxruntime",
            Self::OpenvinoF32 => "openvino-f32",
            Self::OpenvinoDefault => "openvino-default",
            Self::OpenvinoInt8 => "openvino-int8",
        }
    }

    /// The Python modules that it needs.
    pub(super) fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Onnxruntime => &["numpy", "onnxruntime"],
            Self::OpenvinoF32 | Self::OpenvinoDefault => &["numpy", "openvino"],
            Self::OpenvinoInt8 => &["numpy", "openvino", "nncf", "PIL"],
        }
    }
}

/// The peers that were `named`, or, if none was, all without an obstacle, with a line for each of the others.
///
/// `obstacle` is what keeps a peer from running, with the fix.
///
/// # Errors
///
/// A named peer cannot run, or none can.
pub(super) fn choose(
    named: &[Peer],
    obstacle: impl Fn(Peer) -> Option<String>,
) -> Result<(Vec<Peer>, Vec<String>)> {
    let (mut chosen, mut skipped) = (Vec::new(), Vec::new());
    for peer in if named.is_empty() { &Peer::ALL[..] } else { named } {
        match obstacle(*peer) {
            None => chosen.push(*peer),
            Some(obstacle) if named.is_empty() => skipped.push(format!("{}: {obstacle}", peer.name())),
            Some(obstacle) => bail!("{}: {obstacle}", peer.name()),
        }
    }
    match skipped.first() {
        Some(first) if chosen.is_empty() => bail!("no peer can run; {first}"),
        _ => Ok((chosen, skipped)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_peers_that_nobody_named_are_skipped() {
        let no_openvino = |peer: Peer| (peer != Peer::Onnxruntime).then(|| "it is not there".to_owned());
        let (chosen, skipped) = choose(&[], no_openvino).expect("a peer");
        assert_eq!(chosen, [Peer::Onnxruntime]);
        let names = ["openvino-f32", "openvino-default", "openvino-int8"];
        assert_eq!(skipped, names.map(|name| format!("{name}: it is not there")));

        let error = choose(&[Peer::Onnxruntime, Peer::OpenvinoInt8], no_openvino).expect_err("an error");
        assert_eq!(error.to_string(), "openvino-int8: it is not there");
        let error = choose(&[], |_| Some("broken".to_owned())).expect_err("an error");
        assert_eq!(error.to_string(), "no peer can run; onnxruntime: broken");
    }

    #[test]
    fn names_are_what_is_typed() {
        for peer in Peer::ALL {
            let value = peer.to_possible_value().expect("a value");
            assert_eq!(value.get_name(), peer.name());
        }
    }
}
