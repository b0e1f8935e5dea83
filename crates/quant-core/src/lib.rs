//! quant-core
