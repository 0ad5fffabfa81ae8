//! What each connection needs new: random octets of the system, and whether the machine has AES.

use crate::proto::vut::Fresh;
use ring::rand::{SecureRandom, SystemRandom};
use std::io;

/// Random octets from the system's generator.
///
/// # Errors
///
/// The system has none.
pub(super) fn fresh() -> io::Result<Fresh> {
    let mut octets = [0; Fresh::LEN];
    SystemRandom::new().fill(&mut octets).map_err(|_| io::Error::other("the system has no random octets"))?;
    let fresh = Fresh::new(octets);
    octets.fill(0);
    std::hint::black_box(&mut octets);
    Ok(fresh)
}

/// True if this machine has AES in hardware: the native profile then offers AES-128-GCM.
pub(super) fn has_fast_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let has = std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let has = std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    let has = false;
    has
}
