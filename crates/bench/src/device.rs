//! Where a network runs, by name. burn's own default depends on the compiled features and not on the hardware, so it is
//! never asked.

#[cfg(any(feature = "cuda", feature = "vulkan"))]
use std::sync::LazyLock;

#[cfg(any(feature = "cuda", feature = "vulkan"))]
use anyhow::ensure;
use anyhow::{Result, bail};
#[cfg(feature = "burn")]
use burn::tensor::Device;
#[cfg(feature = "vulkan")]
use burn::tensor::DeviceKind;
#[cfg(any(feature = "cuda", feature = "vulkan"))]
use burn::tensor::DeviceType;

/// What a program without the feature `burn` says when it is asked to train or for a device of burn's.
pub const WITHOUT_BURN: &str = "this program was built without training and burn's devices; `cargo sweep-all` is `sweep` with \
     them, `cargo run --release --bin quantlab -- COMMAND` any other";

/// The CPU engine or one of burn's devices.
#[derive(Clone, Debug)]
pub enum Target {
    /// The `engine` crate: inference on the CPU.
    Engine,
    /// A burn device.
    #[cfg(feature = "burn")]
    Burn(Device),
}

impl Target {
    /// Opens `engine` or a burn device (see [`open_burn`]).
    pub fn open(name: &str) -> Result<Self> {
        match name {
            "engine" => Ok(Self::Engine),
            #[cfg(feature = "burn")]
            "flex" | "cuda" | "vulkan" => open_burn(name).map(Self::Burn),
            #[cfg(not(feature = "burn"))]
            "flex" | "cuda" | "vulkan" => bail!("device = {name}: {WITHOUT_BURN}"),
            other => bail!("device = {other}: allowed are engine, flex, cuda, vulkan"),
        }
    }

    /// Where to test a network that trains on `device`, called `name`: the engine is the faster CPU.
    #[cfg(feature = "burn")]
    pub fn beside(name: &str, device: &Device) -> Self {
        match name {
            "flex" => Self::Engine,
            _ => Self::Burn(device.clone()),
        }
    }
}

/// The device that gradients are computed on where networks run on `name`: the engine has none, and is a CPU.
#[cfg(feature = "burn")]
pub fn with_gradients(name: &str) -> &str {
    match name {
        "engine" => "flex",
        other => other,
    }
}

/// Opens a device that networks can be trained on: `flex` (the CPU), or `cuda` or `vulkan` where built with that
/// feature.
#[cfg(feature = "burn")]
pub fn open_burn(name: &str) -> Result<Device> {
    match name {
        "flex" => Ok(Device::flex()),
        #[cfg(feature = "cuda")]
        "cuda" => {
            static FOUND: LazyLock<bool> = LazyLock::new(|| is_there(DeviceType::Cuda));
            ensure!(*FOUND, "device = cuda: no NVIDIA driver or card was found");
            Ok(Device::cuda(0))
        }
        #[cfg(feature = "vulkan")]
        "vulkan" => {
            static FOUND: LazyLock<bool> = LazyLock::new(|| is_there(DeviceType::Vulkan));
            ensure!(
                *FOUND,
                "device = vulkan: no Vulkan driver with a device was found"
            );
            Ok(Device::vulkan(DeviceKind::DefaultDevice))
        }
        // Reached by those that the build is without.
        gpu if ["cuda", "vulkan"].contains(&gpu) => {
            bail!("device = {name}: not in this build; build with --features {name}")
        }
        "engine" => bail!("device = engine: it does not train; allowed are flex, cuda, vulkan"),
        other => bail!("device = {other}: allowed are flex, cuda, vulkan"),
    }
}

/// Whether this machine has a device of a kind. A build for it does not mean that, and burn opens a device no earlier than at its
/// first tensor, where one that is missing ends a thread of burn's and says nothing of why.
#[cfg(any(feature = "cuda", feature = "vulkan"))]
fn is_there(kind: DeviceType) -> bool {
    !Device::enumerate(kind).is_empty()
}

#[cfg(all(test, feature = "burn"))]
mod tests {
    use super::*;

    #[test]
    fn names_open_what_they_say_and_others_are_refused_with_those_allowed() {
        assert!(matches!(Target::open("engine"), Ok(Target::Engine)));
        assert!(matches!(Target::open("flex"), Ok(Target::Burn(_))));
        let error = Target::open("cpu").unwrap_err().to_string();
        assert!(
            error.contains("cpu") && error.contains("engine, flex"),
            "{error}"
        );
        assert!(
            open_burn("engine")
                .unwrap_err()
                .to_string()
                .contains("train")
        );
        let device = Device::flex();
        assert!(matches!(Target::beside("flex", &device), Target::Engine));
        assert!(matches!(Target::beside("cuda", &device), Target::Burn(_)));
    }
}
