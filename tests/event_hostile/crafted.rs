//! Payloads made on purpose, by somebody who holds the keys.

use std::io::Write as _;

use chacha20poly1305::aead::{Aead, KeyInit, Payload as Message};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use graven_event::facts::Ref;
use graven_event::payload::{MAX_GROUP_BYTES, OpenError, Payload, SecretKey, group_hash, root};
use graven_event::{Event, Group, Party, PayloadId};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};

use zstd_safe::CCtx;

use super::{LOG_KEY, claim, event, key_of, opens, sealed, subject, vectors};

const ID: [u8; 16] = [0x31; 16];

/// As the documentation of `payload` has it.
fn secrets(group: Group, keys: &[&SecretKey]) -> ([u8; 32], [u8; 32]) {
    let material: Vec<u8> =
        [&LOG_KEY].into_iter().chain(keys.iter().copied()).flat_map(|key| key.0).collect();
    let mut out = [0; 64];
    let info = [&b"graven payload v1"[..], &[group.number()]].concat();
    Hkdf::<Sha256>::new(Some(&ID), &material).expand(&info, &mut out).unwrap();
    (*out.first_chunk().unwrap(), *out.last_chunk().unwrap())
}

/// A payload of one group about nobody, of these packed bytes, that commits to this text.
fn of_origin(packed: &[u8], text: &[u8]) -> (Vec<u8>, PayloadId) {
    let (key, salt) = secrets(Group::Origin, &[]);
    let aad = [&ID[..], &[8]].concat();
    let message = Message { msg: packed, aad: &aad };
    let sealed = ChaCha20Poly1305::new(&Key::from(key)).encrypt(&Nonce::default(), message).unwrap();
    let hash = group_hash(Group::Origin, &salt, text);
    let length = u32::try_from(sealed.len()).unwrap().to_be_bytes();
    let pad = [5; 32];
    let bytes = [&b"GRVNPAY1"[..], &pad, &[0x80, 0], &hash, &length, &sealed].concat();
    let absent = |group: Group| -> [u8; 32] {
        let number = [group.number()];
        Sha256::new()
            .chain_update(b"graven absent v1\n")
            .chain_update(number)
            .chain_update(pad)
            .finalize()
            .into()
    };
    let mut hashes = Group::ALL.map(absent);
    hashes[7] = hash;
    let id = PayloadId { commitment: root(&hashes), digest: Sha256::digest(&bytes).into() };
    (bytes, id)
}

fn open_origin(packed: &[u8], text: &[u8]) -> Result<Vec<u8>, OpenError> {
    let (bytes, id) = of_origin(packed, text);
    let payload = Payload::of(&bytes, &ID, &id).unwrap();
    payload.open(Group::Origin, &LOG_KEY, |_| None).map(|opened| opened.text)
}

fn deflated(bytes: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(vec![1], Compression::fast());
    bytes.for_each(|part| encoder.write_all(&part).unwrap());
    encoder.finish().unwrap()
}

/// As the documentation of `payload` has it: a frame without its first four bytes.
fn by_zstd(text: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(zstd_safe::compress_bound(text.len()));
    CCtx::create().compress(&mut frame, text, 3).unwrap();
    assert_eq!(frame[..4], MAGIC);
    [&[2][..], &frame[4..]].concat()
}

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A block of zstd (RFC 8878 §3.1.1.2): kind 0 is as it is, 1 one byte again and again.
fn block(is_last: bool, kind: u32, length: usize, content: &[u8]) -> Vec<u8> {
    let header = u32::from(is_last) | kind << 1 | u32::try_from(length).unwrap() << 3;
    [&header.to_le_bytes()[..3], content].concat()
}

/// `/proc/self/status`: the most memory that this process ever had, in KiB.
#[cfg(target_os = "linux")]
fn peak_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn what_is_made_by_the_book_opens() {
    let text = b"a text";
    assert_eq!(open_origin(b"\0a text", text), Ok(text.to_vec()));
    assert_eq!(open_origin(&deflated([text.to_vec()].into_iter()), text), Ok(text.to_vec()));
    for length in [1, 255, 256, 65_791, 65_792, 1 << 20] {
        let text: Vec<u8> = (0..length).map(|n: usize| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        assert_eq!(open_origin(&by_zstd(&text), &text), Ok(text), "{length} bytes");
    }
}

/// Two gigabytes in a few megabytes, under the right key and with the right commitment.
#[test]
#[cfg(target_os = "linux")]
fn a_group_that_unpacks_to_gigabytes_is_given_up_early() {
    let bomb = deflated((0..2_048).map(|_| vec![0; 1 << 20]));
    assert!(bomb.len() < 32 << 20);
    let before = peak_kib();
    assert_eq!(open_origin(&bomb, b""), Err(OpenError::Mismatch(Group::Origin)));
    // It says that it is as long as a group may be, and goes on.
    let length = u32::try_from(MAX_GROUP_BYTES).unwrap().to_le_bytes();
    let blocks: Vec<u8> = (0..16_384).flat_map(|_| block(false, 1, 128 << 10, &[0])).collect();
    let bomb = [&[2, 0xa0][..], &length, &blocks, &block(true, 0, 0, &[])].concat();
    assert_eq!(open_origin(&bomb, &vec![0; MAX_GROUP_BYTES]), Err(OpenError::Mismatch(Group::Origin)));
    // It says what it is.
    for length in [u32::try_from(MAX_GROUP_BYTES).unwrap() + 1, u32::MAX] {
        let bomb = [&[2, 0xa0][..], &length.to_le_bytes(), &blocks].concat();
        assert_eq!(open_origin(&bomb, b""), Err(OpenError::Mismatch(Group::Origin)));
    }
    let grown = peak_kib() - before;
    assert!(grown < 48 << 10, "{grown} KiB more");
}

/// A frame has one header, and is alone.
#[test]
fn a_frame_that_zstd_takes_and_the_format_does_not_is_refused() {
    let text = b"a text that is as it is".to_vec();
    let length = u8::try_from(text.len()).unwrap();
    let block = block(true, 0, text.len(), &text);
    let with = |header: &[u8]| [&[2], header, &block[..]].concat();
    assert_eq!(open_origin(&with(&[0x20, length]), &text), Ok(text.clone()));
    let refused = Err(OpenError::Mismatch(Group::Origin));
    for (header, what) in [
        (&[0x20, length - 1][..], "a shorter length"),
        (&[0x20, length + 1], "a longer length"),
        (&[0x00, 0x00], "no length, and a window"),
        (&[0x21, 7, length], "a dictionary's number"),
        (&[0x24, length], "a checksum, which is not there"),
        (&[0x28, length], "a reserved bit"),
        (&[0x30, length], "an unused bit"),
        (&[0x40, 0x00, length, 0], "a window and a length"),
        (&[0xa0, length, 0, 0, 0], "a length in four bytes"),
        (&[0xe0, length, 0, 0, 0, 0, 0, 0, 0], "a length in eight bytes"),
        (&[0x28, 0xb5, 0x2f, 0xfd, 0x20, length], "the number that is left out"),
        (&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], "a frame to skip, and no other"),
    ] {
        assert_eq!(open_origin(&with(header), &text), refused, "{what}");
    }
    let frame = with(&[0x20, length]);
    let nothing = [0x20, 0, 1, 0, 0];
    for (behind, what) in [
        (&nothing[..], "a frame of nothing without its number"),
        (&[&MAGIC[..], &nothing].concat(), "a frame of nothing"),
        (&[&MAGIC[..], &frame[1..]].concat(), "the frame again"),
        (&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], "a frame to skip"),
        (&[0], "a byte"),
    ] {
        assert_eq!(open_origin(&[&frame[..], behind].concat(), &text), refused, "{what} follows");
        assert_eq!(open_origin(&[&frame[..], behind].concat(), &[&text[..], &text].concat()), refused);
    }
}

#[test]
fn the_longest_group_opens_and_one_byte_more_does_not() {
    let most = vec![b'x'; MAX_GROUP_BYTES];
    let packed = deflated([most.clone()].into_iter());
    assert_eq!(open_origin(&packed, &most), Ok(most.clone()));
    assert_eq!(open_origin(&by_zstd(&most), &most), Ok(most.clone()));
    let plain = [&[0][..], &most].concat();
    assert_eq!(open_origin(&plain, &most), Ok(most.clone()));
    let over = vec![b'x'; MAX_GROUP_BYTES + 1];
    let refused = Err(OpenError::Mismatch(Group::Origin));
    assert_eq!(open_origin(&deflated([over.clone()].into_iter()), &over), refused);
    assert_eq!(open_origin(&by_zstd(&over), &over), refused);
    assert_eq!(open_origin(&[&[0][..], &over].concat(), &over), refused);
}

#[test]
fn the_longest_record_is_packed_and_opens() {
    let text: String = (0..20_000).map(|n| format!("record {n}\n")).collect();
    let event = event(&text);
    let whole = sealed(&event, &ID);
    assert!(whole.bytes.len() < text.len() / 2, "{} bytes", whole.bytes.len());
    let payload = Payload::of(&whole.bytes, &ID, &whole.id).unwrap();
    let raw = payload.open(Group::Raw, &LOG_KEY, key_of(&event)).unwrap();
    assert!(raw.text.ends_with(text.as_bytes()));
}

/// What is sealed has one form: nothing behind the end of what is packed, no other way of packing, nothing that is cut.
#[test]
fn what_is_packed_otherwise_is_refused() {
    let (text, refused) = (b"some text".to_vec(), Err(OpenError::Mismatch(Group::Origin)));
    for packed in [deflated([text.clone()].into_iter()), by_zstd(&text)] {
        assert_eq!(open_origin(&[&packed[..], &[0]].concat(), &text), refused, "something follows");
        for cut in 0..packed.len() {
            assert_eq!(open_origin(&packed[..cut], &text), refused, "cut at {cut}");
        }
    }
    for how in 3..=u8::MAX {
        assert_eq!(open_origin(&[&[how][..], &text].concat(), &text), refused, "packed as {how}");
    }
    assert_eq!(open_origin(&[], b""), refused);
}

/// Poly1305 does not commit to its key: these bytes are authentic under both. The leaf commits to one text.
#[test]
fn of_two_keys_that_fit_only_the_committed_one_opens() {
    let (_, file) =
        vectors::json_files("events/frames").into_iter().find(|(name, _)| name == "two-openings-v1").unwrap();
    for case in vectors::cases(&file, "cases") {
        let bytes = vectors::b64(vectors::text(case, "payload_b64"));
        let field = |name: &str| vectors::hex_field(case, name);
        let array = |name: &str| -> [u8; 32] { field(name).try_into().unwrap() };
        let (id, reference): ([u8; 16], [u8; 16]) =
            (field("id").try_into().unwrap(), field("reference").try_into().unwrap());
        let log_key = SecretKey(array("log_key"));
        let keys = [SecretKey(array("key")), SecretKey(array("other_key"))];

        // Both keys open the sealed bytes, to two texts that need no unpacking.
        let aad = [&id[..], &[1], &reference].concat();
        let sealed = &bytes[bytes.len() - 80..];
        for (key, text) in keys.iter().zip(["text_hex", "other_text_hex"]) {
            let mut out = [0; 64];
            let material = [log_key.0, key.0].concat();
            Hkdf::<Sha256>::new(Some(&id), &material).expand(b"graven payload v1\x01", &mut out).unwrap();
            let cipher = ChaCha20Poly1305::new(&Key::from(*out.first_chunk::<32>().unwrap()));
            let opened = cipher.decrypt(&Nonce::default(), Message { msg: sealed, aad: &aad }).unwrap();
            assert_eq!(opened, [&[0][..], &field(text)].concat());
        }

        let claimed = PayloadId { commitment: array("commitment"), digest: array("digest") };
        let payload = Payload::of(&bytes, &id, &claimed).unwrap();
        let open = |key: &SecretKey| {
            payload.open(Group::Actor, &log_key, |of| (of == Ref(reference)).then(|| key.clone()))
        };
        assert_eq!(open(&keys[0]).unwrap().text, field("text_hex"));
        assert_eq!(open(&keys[1]), Err(OpenError::Mismatch(Group::Actor)));
    }
}

/// Where the parts of a payload are: (start of the row, row, sealed bytes) of each group.
fn rows(bytes: &[u8]) -> Vec<(Group, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let (present, count) = (bytes[40], usize::from(bytes[41]));
    let width = count.div_ceil(8);
    let groups: Vec<Group> =
        Group::ALL.into_iter().filter(|group| present >> (group.number() - 1) & 1 == 1).collect();
    let table = 42 + 16 * count;
    let mut at = table + groups.len() * (width + 36);
    let row = |(n, group): (usize, Group)| {
        let row = table + n * (width + 36)..table + (n + 1) * (width + 36);
        let length = usize::try_from(u32::from_be_bytes(*bytes[row.clone()].last_chunk().unwrap())).unwrap();
        at += length;
        (group, row, at - length..at)
    };
    groups.into_iter().enumerate().map(row).collect()
}

#[test]
fn a_group_of_another_event_does_not_open_in_its_place() {
    let event = event("who");
    let (here, there) = (sealed(&event, &ID), sealed(&event, &[0x32; 16]));
    for ((group, _, ours), (_, _, theirs)) in rows(&here.bytes).into_iter().zip(rows(&there.bytes)) {
        assert_eq!(ours, theirs, "the same event is sealed to the same length");
        let mut mixed = here.bytes.clone();
        mixed[ours].copy_from_slice(&there.bytes[theirs]);
        assert!(Payload::of(&mixed, &ID, &here.id).is_err(), "the digest is another");
        let claimed = claim(&mixed, &here.id);
        let payload = Payload::of(&mixed, &ID, &claimed).unwrap();
        let opened = payload.open(group, &LOG_KEY, key_of(&event));
        assert_eq!(opened, Err(OpenError::Mismatch(group)));
    }
    // As a whole, under the other leaf's id.
    assert!(!opens(&there.bytes, &ID, &there.id, &event));
}

#[test]
fn groups_do_not_open_for_other_people_than_they_are_about() {
    let event = event("who");
    let here = sealed(&event, &ID);
    for (group, row, _) in rows(&here.bytes) {
        let mask = row.start;
        for other in (0..8).filter(|other| *other != here.bytes[mask]) {
            let mut changed = here.bytes.clone();
            changed[mask] = other;
            let claimed = claim(&changed, &here.id);
            // It is not built as a payload is, or does not open.
            if let Ok(payload) = Payload::of(&changed, &ID, &claimed) {
                let opened = payload.open(group, &LOG_KEY, key_of(&event));
                assert_eq!(opened, Err(OpenError::Mismatch(group)), "about {other:03b}");
            }
        }
    }
}

#[test]
fn a_person_cannot_be_exchanged_for_another() {
    let event = event("who");
    let here = sealed(&event, &ID);
    let mallory = subject(&Party::new("user", "mallory"));
    for at in 0..usize::from(here.bytes[41]) {
        let mut changed = here.bytes.clone();
        changed[42 + 16 * at..58 + 16 * at].copy_from_slice(&mallory.reference.0);
        let claimed = claim(&changed, &here.id);
        let Ok(payload) = Payload::of(&changed, &ID, &claimed) else { continue };
        let (known, key) = (key_of(&event), mallory.key.clone());
        let keys = |of: Ref| known(of).or_else(|| (of == mallory.reference).then(|| key.clone()));
        assert!(payload.groups().any(|group| payload.open(group, &LOG_KEY, keys).is_err()));
    }
}

#[test]
fn a_group_that_was_cut_or_lengthened_does_not_open() {
    let event = event("who");
    let here = sealed(&event, &ID);
    for (group, row, part) in rows(&here.bytes) {
        for change in [-17_isize, -1, 1, 16] {
            let mut changed = here.bytes.clone();
            let length = part.len().checked_add_signed(change).unwrap();
            let new: Vec<u8> = here.bytes[part.clone()].iter().copied().chain([0; 16]).take(length).collect();
            changed.splice(part.clone(), new);
            changed[row.end - 4..row.end].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
            let claimed = claim(&changed, &here.id);
            let payload = Payload::of(&changed, &ID, &claimed).unwrap();
            let opened = payload.open(group, &LOG_KEY, key_of(&event));
            assert_eq!(opened, Err(OpenError::Mismatch(group)), "{change} bytes");
        }
    }
}

/// More people than a payload names, or more text than a group has, is refused when it is sealed, not when it is opened.
#[test]
fn what_could_not_be_opened_again_is_not_sealed() {
    let about = (0..40).map(|n| Party::new("user", format!("person-{n}"))).collect();
    let crowd = Event { about, ..event("x") };
    let seal = |event: &Event| {
        graven_event::payload::Sealer::default()
            .seal(event, &ID, &[5; 32], &LOG_KEY, |party| Some(subject(party)))
    };
    assert_eq!(seal(&crowd).unwrap_err(), graven_event::payload::SealError::TooLong);
    assert_eq!(
        seal(&event(&"x".repeat(MAX_GROUP_BYTES))).unwrap_err(),
        graven_event::payload::SealError::TooLong
    );
}
