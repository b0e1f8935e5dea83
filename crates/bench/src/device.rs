//! The burn device by name. burn's own default depends on the compiled features and not on the hardware, so it is
//! never asked.

use anyhow::{Result, bail};
use burn::tensor::Device;

/// Opens `flex` (the CPU), or `cuda` or `vulkan` where built with that feature.
pub fn open(name: &str) -> Result<Device> {
    match name {
        "flex" => Ok(Device::flex()),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(0)),
        #[cfg(feature = "vulkan")]
        "vulkan" => Ok(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
        "cuda" | "vulkan" => {
            bail!("device = {name}: not in this build; build with --features {name}")
        }
        other => bail!("device = {other}: allowed are flex, cuda, vulkan"),
    }
}
