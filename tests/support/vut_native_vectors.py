"""Writes tests/golden/vut_native_vectors.json: docs/vut-native.md once more, in other hands.

Shares nothing with the crate: HKDF, HMAC and SHA-256 are Python's hashlib and hmac, X25519, the AEADs and the header mask those
of the package `cryptography` (OpenSSL). Run by hand when the document changes:

    pip install cryptography && python3 tests/support/vut_native_vectors.py > tests/golden/vut_native_vectors.json
"""

import hashlib
import hmac
import json

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305


def lp(x):
    return len(x).to_bytes(2, "big") + x


def extract(salt, ikm):
    return hmac.new(salt, ikm, hashlib.sha256).digest()


def expand(prk, info, length):
    out, block, i = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([i]), hashlib.sha256).digest()
        out, i = out + block, i + 1
    return out[:length]


def n_datagram(k_hs, side):
    tlvs = side["tlvs"]
    head = b"\x18\x01" + side["public"] + side["random"] + side["id"] + bytes([side["mask"]])
    head += side["largest"].to_bytes(2, "big") + side["window"].to_bytes(8, "big") + side["idle"].to_bytes(2, "big") + tlvs
    return head + hmac.new(k_hs, head, hashlib.sha256).digest()


def mask(aead, hp, sample):
    if aead == "AES-128-GCM":
        return Cipher(algorithms.AES(hp), modes.ECB()).encryptor().update(sample)[:5]
    return Cipher(algorithms.ChaCha20(hp, sample), mode=None).encryptor().update(bytes(5))


def packet(aead, keys, phase, to, number, frames):
    header = bytes([0x04 | phase]) + to + (number & 0xFFFFFFFF).to_bytes(4, "big")
    nonce = bytes(a ^ b for a, b in zip(keys["iv"], number.to_bytes(12, "big")))
    cipher = AESGCM(keys["key"]) if aead == "AES-128-GCM" else ChaCha20Poly1305(keys["key"])
    datagram = bytearray(header + cipher.encrypt(nonce, frames, header))
    m = mask(aead, keys["hp"], bytes(datagram[13:29]))
    datagram[0] ^= m[0] & 0x01
    for i in range(4):
        datagram[9 + i] ^= m[1 + i]
    return bytes(datagram)


def keys_of(secret, length, hp):
    return {"key": expand(secret, b"key", length), "iv": expand(secret, b"iv", 12), "hp": hp}


def connection(name, lo, hi, context, sides):
    hs = extract(b"vut-n1 hs", lp(lo) + lp(hi) + lp(context))
    k_hs = {role: expand(hs, role.encode(), 32) for role in ("lo", "hi")}
    for side in sides.values():
        side["public"] = X25519PrivateKey.from_private_bytes(side["private"]).public_key().public_bytes_raw()
    n = {role: n_datagram(k_hs[role], sides[role]) for role in ("lo", "hi")}
    transcript = hashlib.sha256(b"vut-n1" + lp(n["lo"]) + lp(n["hi"])).digest()
    dh = X25519PrivateKey.from_private_bytes(sides["lo"]["private"]).exchange(
        X25519PublicKey.from_public_bytes(sides["hi"]["public"])
    )
    prk = extract(transcript, lp(lo) + lp(hi) + lp(dh))
    both = sides["lo"]["mask"] & sides["hi"]["mask"]
    aead, length = ("AES-128-GCM", 16) if both & 1 else ("ChaCha20-Poly1305", 32)
    s = {role: expand(prk, b"data " + role.encode(), 32) for role in ("lo", "hi")}
    exporter = expand(prk, b"exp", 32)
    packets, derived = [], {}
    for role, other in (("lo", "hi"), ("hi", "lo")):
        hp = expand(s[role], b"hp", length)
        secret, keys, phase = s[role], keys_of(s[role], length, hp), 0
        derived[role] = dict(keys, secret=secret, k_hs=k_hs[role])
        plan = [(0, 0), (1, 0), (2, 1), (2**31 - 10, 1), (2**32 - 20, 1), (2**32 - 1, 1), (2**32 + 3, 0)]
        for i, (number, wanted) in enumerate(plan):
            if wanted != phase:
                secret = expand(secret, b"ku", 32)
                keys, phase = keys_of(secret, length, hp), wanted
            frames = [b"\x01", b"", b"\x0c\x05hello", bytes(600)][i % 4]
            datagram = packet(aead, keys, phase, sides[other]["id"], number, frames)
            packets.append({"from": role, "number": str(number), "phase": phase, "frames": frames, "datagram": datagram})
        derived[role]["second_phase"] = keys_of(expand(s[role], b"ku", 32), length, hp)
    exports = [
        {"label": label, "context": ctx, "out": expand(exporter, lp(label) + lp(ctx), size)}
        for label, ctx, size in ((b"identity", b"", 32), (b"", b"identity", 32), (b"x", b"y" * 300, 100))
    ]
    return {
        "name": name, "lo": lo, "hi": hi, "context": context, "sides": sides, "n": n, "transcript": transcript, "dh": dh,
        "prk": prk, "aead": aead, "keys": derived, "exporter": exporter, "exports": exports, "packets": packets,
    }


def varint(n):
    for bits, size, prefix in ((6, 1, 0), (14, 2, 1), (30, 4, 2), (62, 8, 3)):
        if n < 1 << bits:
            return (n | prefix << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(n)


def ack(ranges, delay, ecn=None):
    (low, high), rest = ranges[0], ranges[1:]
    out = bytes([3 if ecn else 2]) + varint(high) + varint(delay) + varint(len(rest)) + varint(high - low)
    for low_next, high_next in rest:
        out += varint(low - high_next - 2) + varint(high_next - low_next)
        low = low_next
    return out + b"".join(varint(n) for n in ecn or ())


def frames():
    big = 2**62 - 1
    yield "PAD 3", bytes(3)
    yield "PING", b"\x01"
    yield "ACK 0-0 delay 0", ack([(0, 0)], 0)
    yield "ACK 70-100 64-66 1-2 delay 25000", ack([(70, 100), (64, 66), (1, 2)], 25000)
    yield f"ACK {2**40}-{2**40 + 70000} 3-3 delay 16384", ack([(2**40, 2**40 + 70000), (3, 3)], 16384)
    yield "ACK 5-5 delay 1 ecn 63 64 16384", ack([(5, 5)], 1, (63, 64, 16384))
    for name, kind in (("WINDOW", 4), ("FIN", 7), ("ABORT", 8), ("DONE", 10)):
        for n in (0, 63, 64, 16383, 16384, 2**30 - 1, 2**30, big):
            yield f"{name} {n}", bytes([kind]) + varint(n)
    yield "CHALLENGE 0102030405060708", b"\x05" + bytes(range(1, 9))
    yield "RESPONSE 0102030405060708", b"\x06" + bytes(range(1, 9))
    yield "STOP", b"\x09"
    yield "STREAM 0 68656c6c6f", b"\x0d" + varint(0) + varint(5) + b"hello"
    yield f"STREAM {2**33} ff", b"\x0d" + varint(2**33) + varint(1) + b"\xff"


def malformed():
    yield "Empty", b""
    yield "Cut", b"\x04"
    yield "Cut", b"\x05" + bytes(7)
    yield "Cut", b"\x0d\x00\x05hell"
    yield "Cut", ack([(70, 100), (64, 66)], 0)[:-1]
    yield "Range", b"\x02\x05\x00\x00\x06"
    yield "Range", b"\x02\x05\x00\x01\x00\x04\x00"
    yield "NoData", b"\x0c\x05"
    yield "NoData", b"\x0d\x05\x00\x01"
    yield "Position", b"\x0d" + varint(2**62 - 2) + b"\x02xx"
    yield "Type(11)", b"\x0b"
    yield "Reserved(32)", b"\x01\x20"
    yield "Reserved(63)", b"\x3f"
    yield "Type(64)", b"\x40"


def side(seed, mask_bits, tlvs, largest, window, idle):
    return {
        "private": hashlib.sha256(b"private" + seed).digest(), "random": hashlib.sha256(b"random" + seed).digest()[:16],
        "id": hashlib.sha256(b"id" + seed).digest()[:8], "mask": mask_bits, "largest": largest, "window": window,
        "idle": idle, "tlvs": tlvs,
    }


def plain(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, int) and value >= 2**53 else value


PADDING = b"\x00" + (402).to_bytes(2, "big") + bytes(402)
OUT = {
    "meta": "written by tests/support/vut_native_vectors.py; octets in hex, integers of 2^53 and more as strings",
    "connections": [
        connection("aes", bytes(range(32)), bytes(range(100, 132)), b"", {
            "lo": side(b"1", 3, PADDING, 1452, 65536, 60), "hi": side(b"2", 3, PADDING, 9000, 2**40, 0)}),
        connection("chacha", b"A" * 16, b"A" * 16 + b"B", b"context of the application", {
            "lo": side(b"3", 3, PADDING, 508, 0, 1), "hi": side(b"4", 2, PADDING, 65527, 2**62 - 1, 65535)}),
    ],
    "frames": [{"frame": name, "hex": octets} for name, octets in frames()],
    "malformed": [{"error": name, "hex": octets} for name, octets in malformed()],
}
print(json.dumps(plain(OUT), indent=1))
