//! The forms that a network is written in.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use quantize::{Form, Packing, QuantizedNet};
use results::write_whole;

/// How quantization stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// ONNX with QuantizeLinear and DequantizeLinear, which runtimes fuse into integers; activations of 1 to 8 bits.
    Qdq,
    /// The same of operator set 21: activations of up to 16 bits, packed weights of up to 4.
    Qdq21,
    /// ONNX with Quant nodes of QONNX, for FINN and hls4ml; any number of bits.
    Qonnx,
    /// Integers, scales and zero points under compressed-tensors' names, and FILE.json that describes them.
    Safetensors,
    /// The same with weights of up to 8 bits packed in words of 32.
    Packed,
    /// ONNX with rounded weights as plain float32.
    Float,
}

/// What is in the file.
enum Content {
    Onnx(Form),
    Integers(Packing),
}

impl Way {
    fn content(self) -> Content {
        match self {
            Self::Qdq => Content::Onnx(Form::Qdq),
            Self::Qdq21 => Content::Onnx(Form::Qdq21),
            Self::Qonnx => Content::Onnx(Form::Qonnx),
            Self::Float => Content::Onnx(Form::Float),
            Self::Safetensors => Content::Integers(Packing::Plain),
            Self::Packed => Content::Integers(Packing::Words),
        }
    }

    /// Fails for what ONNX Runtime does not read.
    ///
    /// # Errors
    /// It does not.
    pub fn check_peers(self) -> Result<()> {
        match self {
            Self::Qdq | Self::Qdq21 | Self::Float => Ok(()),
            Self::Qonnx | Self::Safetensors | Self::Packed => {
                bail!("--peers runs ONNX Runtime, which reads --form qdq, qdq21 and float")
            }
        }
    }

    /// Writes `net` to `path`, whole or not at all, with `metadata`; the bytes of the file.
    ///
    /// # Errors
    /// What the form does not have, by name; a folder that cannot be written.
    pub fn write(
        self,
        net: &QuantizedNet,
        metadata: &BTreeMap<String, String>,
        path: &Path,
    ) -> Result<Vec<u8>> {
        let write = |path: &Path, bytes: &[u8]| {
            write_whole(path, bytes).with_context(|| format!("cannot write {}", path.display()))
        };
        let file = match self.content() {
            Content::Onnx(form) => quantize::to_onnx(net, form, metadata)?,
            Content::Integers(packing) => {
                let made = quantize::to_integers(net, packing, metadata)?;
                let mut beside = path.as_os_str().to_owned();
                beside.push(".json");
                write(Path::new(&beside), made.description.as_bytes())?;
                made.tensors
            }
        };
        write(path, &file)?;
        Ok(file)
    }
}
