//! Any bytes into every direction of the border: no panic, no message above its bound, and what is
//! decoded encodes to what it was.
#![no_main]
use gwg::wire::frame::{self, Decoder, Message};
use gwg::wire::{hook, job, listener, order, worker};
use libfuzzer_sys::fuzz_target;

fn feed<M: Message>(bytes: &[u8]) {
    let mut decoder = Decoder::<M>::default();
    for piece in bytes.chunks(7) {
        decoder.push(piece);
        loop {
            match decoder.take() {
                Ok(Some(message)) => {
                    let mut out = Vec::new();
                    frame::encode(&message, &mut out).expect("a decoded message is within its bound");
                    assert!(out.len() <= M::MAX + 4);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((direction, rest)) = bytes.split_first() else { return };
    match direction % 9 {
        0 => feed::<job::Job>(rest),
        1 => feed::<job::JobAnswer>(rest),
        2 => feed::<listener::FromListener>(rest),
        3 => feed::<listener::ToListener>(rest),
        4 => feed::<worker::FromWorker>(rest),
        5 => feed::<worker::ToWorker>(rest),
        6 => feed::<order::FromUpdater>(rest),
        7 => feed::<hook::FromHook>(rest),
        _ => feed::<order::Order>(rest),
    }
});
