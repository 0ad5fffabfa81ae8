//! The key schedule: from two secrets and two negotiations to the keys of each direction.
//!
//! ```text
//!   lp(lo) lp(hi) lp(context) ── Extract "vut-n1 hs" ── Expand role ──▶ k_hs[role]: the tag of a negotiation
//!
//!   T = SHA256("vut-n1" lp(N_lo) lp(N_hi))          dh = X25519(own private, peer's public)
//!   lp(lo) lp(hi) lp(dh) ── Extract T ─▶ PRK ─┬─ Expand "data lo" ─▶ s[lo] ─┬─ "key" "iv" "hp"
//!                                             ├─ Expand "data hi" ─▶ s[hi]  └─ "ku" ─▶ the secret of the next phase
//!                                             └─ Expand "exp" ─▶ exporter
//! ```
//!
//! T holds both ephemeral keys and both randoms, so the same secrets give other keys in every connection; dh makes a
//! recorded connection safe from who learns the secrets later; the secrets in the Extract make dh worthless to who does not
//! know them.
//!
//! # How far wiping goes
//!
//! Buffers of ours that hold secrets are overwritten when dropped, with [`std::hint::black_box`] behind it so that the
//! compiler keeps the write. What `ring` copies into its own key objects it does not wipe. Nothing here prints a secret.

use super::role::{Role, Secrets};
use ring::aead::{AES_128_GCM, CHACHA20_POLY1305, LessSafeKey, UnboundKey, quic};
use ring::hkdf::{HKDF_SHA256, KeyType, Okm, Prk, Salt};
use ring::{digest, hmac};
use std::fmt;

/// Overwrites octets that are not needed any more.
pub(super) fn wipe(octets: &mut [u8]) {
    octets.fill(0);
    std::hint::black_box(octets);
}

/// 32 octets that nothing prints and that are overwritten when dropped.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes the octets over.
    pub const fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    fn prk(&self) -> Prk {
        Prk::new_less_safe(HKDF_SHA256, &self.0)
    }

    fn expand(&self, info: &[u8]) -> Self {
        let mut out = Self([0; 32]);
        expand(&self.prk(), &[info], &mut out.0);
        out
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// This side's X25519 key pair of one connection. The private key is an argument: 32 octets from a good generator, used
/// for this connection only.
pub struct Ephemeral(x25519_dalek::StaticSecret);

impl Ephemeral {
    /// Takes the private key; it is clamped as RFC 7748 says.
    pub fn new(private: [u8; 32]) -> Self {
        Self(x25519_dalek::StaticSecret::from(private))
    }

    /// The public key, for the negotiation.
    pub fn public(&self) -> [u8; 32] {
        x25519_dalek::PublicKey::from(&self.0).to_bytes()
    }

    /// The shared secret with the owner of `peer`; none if it is all zero, which a public key of small order brings about.
    pub fn agree(&self, peer: [u8; 32]) -> Option<Secret> {
        let shared = self.0.diffie_hellman(&x25519_dalek::PublicKey::from(peer));
        shared.was_contributory().then(|| Secret(shared.to_bytes()))
    }
}

impl fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ephemeral(..)")
    }
}

/// The cipher of the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aead {
    /// AES-128-GCM, where both sides have it in hardware.
    Aes128Gcm,
    /// ChaCha20-Poly1305, for all others.
    ChaCha20Poly1305,
}

impl Aead {
    /// How many packets may fail to open, under all keys of a connection, before it must close: 2^52 and 2^36, the limits of
    /// RFC 9001 section 6.6.
    pub const fn failure_limit(self) -> u64 {
        match self {
            Self::Aes128Gcm => 1 << 52,
            Self::ChaCha20Poly1305 => 1 << 36,
        }
    }

    const fn cipher(self) -> &'static ring::aead::Algorithm {
        match self {
            Self::Aes128Gcm => &AES_128_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }

    const fn header(self) -> &'static quic::Algorithm {
        match self {
            Self::Aes128Gcm => &quic::AES_128,
            Self::ChaCha20Poly1305 => &quic::CHACHA20,
        }
    }
}

/// A context that a two-octet length cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the context is longer than {max} octets", max = Secrets::MAX)]
pub struct ContextTooLong;

/// The keys that authenticate negotiations, one per role, so that a reflected one is refused.
#[derive(Clone)]
pub struct HandshakeKeys {
    lo: hmac::Key,
    hi: hmac::Key,
}

impl HandshakeKeys {
    /// Derives both. `context` names what the connection is for; both sides must give the same, else neither takes the
    /// other's negotiation.
    ///
    /// # Errors
    ///
    /// [`ContextTooLong`].
    pub fn new(secrets: &Secrets, context: &[u8]) -> Result<Self, ContextTooLong> {
        if context.len() > Secrets::MAX {
            return Err(ContextTooLong);
        }
        let (lo, hi) = secrets.ordered();
        let mut input = Vec::with_capacity(lo.len() + hi.len() + context.len() + 6);
        for part in [lo, hi, context] {
            lp(&mut input, part);
        }
        let prk = Salt::new(HKDF_SHA256, b"vut-n1 hs").extract(&input);
        wipe(&mut input);
        let key = |role: Role| {
            let mut key = Secret([0; 32]);
            expand(&prk, &[role.label()], &mut key.0);
            hmac::Key::new(hmac::HMAC_SHA256, &key.0)
        };
        Ok(Self { lo: key(Role::Lo), hi: key(Role::Hi) })
    }

    /// The tag that `role` puts under `message`.
    pub(super) fn tag(&self, role: Role, message: &[u8]) -> [u8; 32] {
        let mut tag = [0; 32];
        tag.copy_from_slice(hmac::sign(self.key(role), message).as_ref());
        tag
    }

    /// True if `tag` is that of `role` under `message`. Takes the same time wherever they differ.
    pub(super) fn verify(&self, role: Role, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(self.key(role), message, tag).is_ok()
    }

    const fn key(&self, role: Role) -> &hmac::Key {
        match role {
            Role::Lo => &self.lo,
            Role::Hi => &self.hi,
        }
    }
}

impl fmt::Debug for HandshakeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandshakeKeys(..)")
    }
}

/// What both negotiations give: the secrets of both directions and the exporter.
#[derive(Clone, Debug)]
pub struct ConnectionKeys {
    lo: Secret,
    hi: Secret,
    exporter: Exporter,
    aead: Aead,
}

impl ConnectionKeys {
    /// Derives them. `own` and `peer` are the negotiations as they were on the wire, tags included, each at most 65,535
    /// octets; `dh` is what [`Ephemeral::agree`] gave.
    pub fn derive(secrets: &Secrets, own: &[u8], peer: &[u8], dh: &Secret, aead: Aead) -> Self {
        let (n_lo, n_hi) = secrets.role().ordered(own, peer);
        let mut transcript = Vec::with_capacity(6 + 4 + n_lo.len() + n_hi.len());
        transcript.extend_from_slice(b"vut-n1");
        lp(&mut transcript, n_lo);
        lp(&mut transcript, n_hi);
        let transcript = digest::digest(&digest::SHA256, &transcript);

        let (lo, hi) = secrets.ordered();
        let mut input = Vec::with_capacity(lo.len() + hi.len() + 38);
        for part in [lo, hi, &dh.0] {
            lp(&mut input, part);
        }
        let prk = Salt::new(HKDF_SHA256, transcript.as_ref()).extract(&input);
        wipe(&mut input);

        let secret = |label: &[&[u8]]| {
            let mut secret = Secret([0; 32]);
            expand(&prk, label, &mut secret.0);
            secret
        };
        Self {
            lo: secret(&[b"data ", Role::Lo.label()]),
            hi: secret(&[b"data ", Role::Hi.label()]),
            exporter: Exporter(secret(&[b"exp"])),
            aead,
        }
    }

    /// The cipher.
    pub const fn aead(&self) -> Aead {
        self.aead
    }

    /// For keys that a layer above binds to this connection.
    pub const fn exporter(&self) -> &Exporter {
        &self.exporter
    }

    /// The keys of what `role` sends.
    pub(super) fn direction(&self, role: Role) -> (HeaderKey, PacketKey) {
        let secret = match role {
            Role::Lo => &self.lo,
            Role::Hi => &self.hi,
        };
        (HeaderKey::new(self.aead, secret), PacketKey::new(self.aead, secret.clone()))
    }
}

/// Keys for the layer above, bound to this connection and to nothing else: the way to join an identity to it.
#[derive(Clone, Debug)]
pub struct Exporter(Secret);

/// More than HKDF gives at once, or a label or context that a two-octet length cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an export is at most {max} octets, its label and context at most 65535", max = Exporter::MAX)]
pub struct ExportTooLong;

impl Exporter {
    /// The most octets of one export: 255 outputs of SHA-256 (RFC 5869).
    pub const MAX: usize = 255 * 32;

    /// Fills `out` with Expand(exporter, lp(label) lp(context)). Both peers get the same octets for the same arguments.
    ///
    /// # Errors
    ///
    /// [`ExportTooLong`]; then `out` is unchanged.
    pub fn export(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), ExportTooLong> {
        if out.len() > Self::MAX || label.len() > Secrets::MAX || context.len() > Secrets::MAX {
            return Err(ExportTooLong);
        }
        let mut info = Vec::with_capacity(4 + label.len() + context.len());
        lp(&mut info, label);
        lp(&mut info, context);
        expand(&self.0.prk(), &[&info], out);
        Ok(())
    }
}

/// The key of the header mask of one direction. A key update does not change it (RFC 9001 section 6.6).
pub(super) struct HeaderKey(quic::HeaderProtectionKey);

impl HeaderKey {
    fn new(aead: Aead, secret: &Secret) -> Self {
        Self(okm(&secret.prk(), &[b"hp"], aead.header()).into())
    }

    /// The mask for a packet whose ciphertext starts with `sample`, exactly 16 octets; for another length a mask of zeros.
    pub(super) fn mask(&self, sample: &[u8]) -> [u8; 5] {
        self.0.new_mask(sample).unwrap_or_default()
    }
}

impl fmt::Debug for HeaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderKey(..)")
    }
}

/// The keys of one direction in one phase.
pub(super) struct PacketKey {
    secret: Secret,
    key: LessSafeKey,
    iv: [u8; 12],
    aead: Aead,
}

impl PacketKey {
    fn new(aead: Aead, secret: Secret) -> Self {
        let prk = secret.prk();
        let key = LessSafeKey::new(UnboundKey::from(okm(&prk, &[b"key"], aead.cipher())));
        let mut iv = [0; 12];
        expand(&prk, &[b"iv"], &mut iv);
        Self { secret, key, iv, aead }
    }

    /// The key of the next phase.
    pub(super) fn next(&self) -> Self {
        Self::new(self.aead, self.secret.expand(b"ku"))
    }

    pub(super) const fn aead(&self) -> Aead {
        self.aead
    }

    pub(super) const fn key(&self) -> &LessSafeKey {
        &self.key
    }

    /// The nonce of a packet: iv xor number, the number in the last eight octets. Numbers are never reused under a key,
    /// so neither are nonces.
    pub(super) fn nonce(&self, number: u64) -> ring::aead::Nonce {
        let mut nonce = self.iv;
        for (octet, of_number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *octet ^= of_number;
        }
        ring::aead::Nonce::assume_unique_for_key(nonce)
    }
}

impl fmt::Debug for PacketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketKey").field("aead", &self.aead).finish_non_exhaustive()
    }
}

/// `lp(x)`: length in two octets, then x. Callers keep x within 65,535 octets.
fn lp(to: &mut Vec<u8>, octets: &[u8]) {
    debug_assert!(octets.len() <= Secrets::MAX, "lp of {} octets", octets.len());
    let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(octets);
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn okm<'a, L: KeyType>(prk: &'a Prk, info: &'a [&'a [u8]], length: L) -> Okm<'a, L> {
    prk.expand(info, length).expect("callers ask for at most 255 x 32 octets")
}

fn expand(prk: &Prk, info: &[&[u8]], out: &mut [u8]) {
    okm(prk, info, Length(out.len())).fill(out).expect("as long as was asked for");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(own: u8, peer: u8, n: &[u8]) -> ConnectionKeys {
        let secrets = Secrets::new(&[own; 16], &[peer; 16]).expect("safe");
        ConnectionKeys::derive(&secrets, n, b"peer", &Secret([9; 32]), Aead::ChaCha20Poly1305)
    }

    fn exported(keys: &ConnectionKeys, label: &[u8], context: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        keys.exporter().export(label, context, &mut out).expect("short");
        out
    }

    #[test]
    fn an_all_zero_shared_secret_is_refused() {
        let own = Ephemeral::new([7; 32]);
        // 0 and 1 are points of small order (RFC 7748 section 6.1)
        let mut one = [0; 32];
        one[0] = 1;
        assert!(own.agree([0; 32]).is_none());
        assert!(own.agree(one).is_none());
        assert!(own.agree(Ephemeral::new([8; 32]).public()).is_some());
    }

    #[test]
    fn both_sides_agree() {
        let (a, b) = (Ephemeral::new([1; 32]), Ephemeral::new([2; 32]));
        let (ab, ba) = (a.agree(b.public()).expect("dh"), b.agree(a.public()).expect("dh"));
        assert_eq!(ab.0, ba.0);
    }

    #[test]
    fn an_export_depends_on_label_context_and_transcript() {
        let keys_1 = keys(1, 2, b"n");
        let all = [
            exported(&keys_1, b"a", b""),
            exported(&keys_1, b"", b"a"),
            exported(&keys_1, b"a", b"b"),
            exported(&keys_1, b"ab", b""),
            exported(&keys(1, 2, b"m"), b"a", b""),
            exported(&keys(1, 3, b"n"), b"a", b""),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|other| one != other), "{i}");
        }
        assert_eq!(keys_1.exporter().export(b"", b"", &mut [0; Exporter::MAX + 1]), Err(ExportTooLong));
    }

    #[test]
    fn debug_shows_no_secret() {
        let keys = keys(1, 2, b"n");
        let (header, packet) = keys.direction(Role::Lo);
        let shown = format!("{keys:?} {header:?} {packet:?} {:?}", Ephemeral::new([5; 32]));
        assert_eq!(
            shown,
            "ConnectionKeys { lo: Secret(..), hi: Secret(..), exporter: Exporter(Secret(..)), aead: ChaCha20Poly1305 } \
             HeaderKey(..) PacketKey { aead: ChaCha20Poly1305, .. } Ephemeral(..)"
        );
    }
}
