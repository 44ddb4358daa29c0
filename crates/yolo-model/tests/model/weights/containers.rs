//! Files that are no `.pt` archive, or a damaged one.

use zip::CompressionMethod;

use yolo_model::weights::{read_torch, unpacked_bytes};

use super::assembler::{View, archive, counting, message, pt, refusal, state_dict_pickle};

#[test]
fn foreign_files_are_called_what_they_are() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let cases: [(&[u8], &str); 11] = [
        (b"", "is 0 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "HTML page"),
        (b"\n <html>", "HTML page"),
        (b"\x40\0\0\0\0\0\0\0{\"a\":{}}", "safetensors"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "it ends early"),
        (b"\x80\x04N.", "bare pickle"),
        (&tar, "tar archive"),
        (b"Not Found\n", "text file"),
        (&[0; 4096], "zeros"),
        (&[0xff, 0xd8, 0xff], "not a ZIP archive"),
    ];
    for (bytes, expected) in cases {
        let text = refusal(bytes);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn archives_of_others_are_turned_away() {
    let other = archive(&[("readme.txt", b"hello")], CompressionMethod::Stored);
    assert!(refusal(&other).contains("without a data.pkl"));
    let script = archive(&[("m/data.pkl", b"N."), ("m/code/__torch__.py", b"")], CompressionMethod::Stored);
    assert!(refusal(&script).contains("TorchScript"));
    let pickle = state_dict_pickle(&View::default());
    let entries: [(&str, &[u8]); 3] =
        [("m/data.pkl", &pickle), ("m/byteorder", b"big"), ("m/data/0", &counting(6))];
    assert!(refusal(&archive(&entries, CompressionMethod::Stored)).contains("saved in big byte order"));
    let missing = archive(&[("m/data.pkl", &pickle)], CompressionMethod::Stored);
    assert!(refusal(&missing).contains("`m/data/0`: the archive has no such entry"));
}

#[test]
fn a_repacked_archive_is_recognised() {
    let mut bytes = pt(&state_dict_pickle(&View::default()));
    // Method 8 (deflate) in the local header and in the central directory of data.pkl.
    bytes[8] = 8;
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[central + 10] = 8;
    let text = refusal(&bytes);
    assert!(text.contains("compressed") && text.contains("best/data.pkl"), "{text}");
}

#[test]
fn a_flipped_bit_in_a_storage_is_noticed() {
    let mut bytes = pt(&state_dict_pickle(&View::default()));
    let at = bytes.windows(24).position(|window| window == counting(6)).unwrap();
    bytes[at + 5] ^= 1;
    let text = refusal(&bytes);
    assert!(text.contains("best/data/0") && text.to_lowercase().contains("checksum"), "{text}");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = pt(&state_dict_pickle(&View::default()));
    for length in (0..bytes.len()).step_by(97).chain([1, 3, 4, 30, bytes.len() - 1]) {
        refusal(&bytes[..length]);
    }
}

/// Writes what `unzip` leaves of the archive of [`pt`].
fn unpack(folder: &std::path::Path, pickle: &[u8]) {
    std::fs::create_dir_all(folder.join("data")).unwrap();
    std::fs::write(folder.join("data.pkl"), pickle).unwrap();
    std::fs::write(folder.join("data/0"), counting(6)).unwrap();
    std::fs::write(folder.join("version"), b"3\n").unwrap();
}

#[test]
fn an_unpacked_archive_is_read_as_the_file() {
    let pickle = state_dict_pickle(&View::default());
    let packed = super::assembler::file("best.pt", &pt(&pickle));
    let expected = read_torch(&packed.path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let best = folder.path().join("best");
    unpack(&best, &pickle);
    // The folder, its pickle, and the folder around it.
    for path in [best.clone(), best.join("data.pkl"), folder.path().to_owned()] {
        assert_eq!(read_torch(&path).unwrap().state, expected.state, "{}", path.display());
        assert_eq!(unpacked_bytes(&best), Some(pickle.len() as u64 + 24));
    }
    std::fs::write(best.join("data/0"), &counting(6)[..23]).unwrap();
    let text = message(&read_torch(&best).unwrap_err(), &best);
    assert!(text.contains("data/0") && text.contains("23 bytes"), "{text}");
    std::fs::remove_file(best.join("data/0")).unwrap();
    let text = message(&read_torch(&best).unwrap_err(), &best);
    assert!(text.contains("`data/0`: the unpacked archive has no such file"), "{text}");
    std::fs::write(best.join("byteorder"), b"big").unwrap();
    assert!(read_torch(&best).unwrap_err().to_string().contains("big byte order"));
    std::fs::create_dir(best.join("code")).unwrap();
    assert!(read_torch(&best).unwrap_err().to_string().contains("TorchScript"));
}

#[test]
fn an_unpacked_archive_does_not_lead_out_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), counting(6)).unwrap();
    let best = folder.path().join("best");
    unpack(&best, &state_dict_pickle(&View { key: "../../secret", ..View::default() }));
    let text = message(&read_torch(&best).unwrap_err(), &best);
    assert!(text.contains("outside its folder"), "{text}");
}

#[test]
fn a_path_that_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = read_torch(folder.path()).unwrap_err();
    assert!(error.to_string().contains("is a folder"));
    let error = read_torch(folder.path().join("no.pt")).unwrap_err();
    assert!(error.to_string().contains("cannot be opened"));
}
