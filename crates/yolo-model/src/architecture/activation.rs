//! Activations, and how PyTorch and yamls spell them.

use serde::{Deserialize, Serialize};

/// The activation behind a convolution or batch normalisation. Every one of them maps 0 to 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// `x · σ(x)`, YOLOv5's default.
    #[default]
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// `x` above zero, `slope · x` below.
    LeakyRelu {
        /// The slope below zero.
        slope: f32,
    },
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x · min(max(x + 3, 0), 6) / 6`.
    Hardswish,
    /// `x · tanh(ln(1 + eˣ))`.
    Mish,
    /// `x` above zero, `alpha · (eˣ − 1)` below.
    Elu {
        /// The limit far below zero, negated.
        alpha: f32,
    },
    /// `x · Φ(x)` with the normal distribution's Φ.
    Gelu,
    /// None.
    Identity,
}

/// What to write in a yaml, for messages.
pub(super) const SPELLINGS: &str = "nn.SiLU(), nn.Hardswish(), nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1), nn.Mish(), \
                                    nn.ELU(), nn.GELU() or nn.Identity()";

impl Activation {
    /// Whether it is [`Activation::Silu`].
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it is [`Activation::Identity`].
    pub fn is_identity(&self) -> bool {
        *self == Self::Identity
    }

    /// PyTorch's class of that name; `number` looks up one of its numbers. `None` for a class that is not known.
    ///
    /// The names are those of `torch.nn` and of YOLOv5's own `utils.activations`.
    pub(super) fn of_class(name: &str, number: impl Fn(&str) -> Option<f64>) -> Option<Self> {
        let number = |name: &str, default: f64| number(name).unwrap_or(default) as f32;
        Some(match name {
            "SiLU" | "Swish" | "MemoryEfficientSwish" => Self::Silu,
            "ReLU" => Self::Relu,
            "LeakyReLU" => Self::LeakyRelu { slope: number("negative_slope", 0.01) },
            "ReLU6" => Self::Relu6,
            "Hardswish" => Self::Hardswish,
            "Mish" | "MemoryEfficientMish" => Self::Mish,
            "ELU" => Self::Elu { alpha: number("alpha", 1.0) },
            "GELU" => Self::Gelu,
            "Identity" => Self::Identity,
            _ => return None,
        })
    }

    /// What Python makes of `nn.LeakyReLU(0.1, inplace=True)` or `torch.nn.SiLU()`; `None` for anything else. Nothing is
    /// evaluated.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let compact = compact.strip_prefix("torch.").unwrap_or(&compact);
        let (name, arguments) = compact.strip_prefix("nn.").unwrap_or(compact).split_once('(')?;
        let mut numbers: Vec<(&str, f64)> = Vec::new();
        for argument in arguments.strip_suffix(')')?.split(',').filter(|argument| !argument.is_empty()) {
            // The first argument of those that have a number is that number.
            let (key, value) = argument.split_once('=').unwrap_or(match name {
                "LeakyReLU" => ("negative_slope", argument),
                "ELU" => ("alpha", argument),
                _ => ("inplace", argument),
            });
            match (key, value) {
                ("inplace", "True" | "False") => {}
                ("negative_slope" | "alpha", value) => {
                    numbers.push((key, value.parse().ok().filter(|number: &f64| number.is_finite())?));
                }
                ("approximate", "'none'" | "\"none\"") => {}
                _ => return None,
            }
        }
        Self::of_class(name, |wanted| {
            numbers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_spellings_are_read_and_nothing_else() {
        let cases = [
            ("nn.SiLU()", Some(Activation::Silu)),
            ("torch.nn.SiLU(inplace=True)", Some(Activation::Silu)),
            ("nn.ReLU(True)", Some(Activation::Relu)),
            ("nn.LeakyReLU()", Some(Activation::LeakyRelu { slope: 0.01 })),
            ("nn.LeakyReLU(0.1)", Some(Activation::LeakyRelu { slope: 0.1 })),
            ("nn.LeakyReLU(negative_slope = 0.2, inplace=True)", Some(Activation::LeakyRelu { slope: 0.2 })),
            ("nn.ELU(alpha=0.5)", Some(Activation::Elu { alpha: 0.5 })),
            ("nn.ELU()", Some(Activation::Elu { alpha: 1.0 })),
            ("nn.ReLU6()", Some(Activation::Relu6)),
            ("nn.Hardswish()", Some(Activation::Hardswish)),
            ("nn.Mish()", Some(Activation::Mish)),
            ("nn.GELU()", Some(Activation::Gelu)),
            ("nn.GELU(approximate='tanh')", None),
            ("nn.Identity()", Some(Activation::Identity)),
            ("nn.PReLU()", None),
            ("nn.LeakyReLU(x)", None),
            ("nn.LeakyReLU(inf)", None),
            ("SiLU", None),
            ("__import__('os')", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Activation::parse(text), expected, "{text}");
        }
    }
}
