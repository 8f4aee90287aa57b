#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::Write as _;

use super::*;

#[test]
fn the_first_publisher_wins_and_leaves_nothing_else() {
    let dir = private_dir(Path::new("/tmp")).unwrap();
    let path = dir.path().join("file");
    assert!(publish_noclobber(&path, b"first", 0o600, Durability::Synced).unwrap());
    assert!(!publish_noclobber(&path, b"second", 0o600, Durability::Synced).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"first");
    replace_atomic(&path, b"third", 0o700, Durability::Synced).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"third");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn many_publishers_agree_on_one_content() {
    let dir = private_dir(Path::new("/tmp")).unwrap();
    let path = dir.path().join("file");
    let wins: usize = std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..8_u8)
            .map(|id| {
                scope.spawn({
                    let path = &path;
                    move || {
                        usize::from(publish_noclobber(path, &[id; 4096], 0o600, Durability::Synced).unwrap())
                    }
                })
            })
            .collect();
        publishers.into_iter().map(|publisher| publisher.join().unwrap()).sum()
    });
    let data = fs::read(&path).unwrap();
    assert_eq!((wins, data.len()), (1, 4096));
    assert!(data.iter().all(|byte| *byte == data[0]));
}

/// Defect C18 of the original: a file in the place of a directory was accepted.
#[test]
fn c18_a_file_is_not_a_directory() {
    let dir = private_dir(Path::new("/tmp")).unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    assert!(create_dirs(&path).is_err());
    create_dirs(&dir.path().join("a/b")).unwrap();
    create_dirs(&dir.path().join("a/b")).unwrap();
}

/// Defect C2 of the original: when a rename failed, a mistake in the handler hid why.
#[test]
fn c2_a_rename_that_fails_says_why() {
    let dir = private_dir(Path::new("/tmp")).unwrap();
    let (file, taken) = (dir.path().join("file"), dir.path().join("taken"));
    fs::create_dir(&taken).unwrap();
    fs::write(&file, "").unwrap();
    let errno = |error: io::Error| error.raw_os_error();
    let (folder, name) = (Folder::open(dir.path()).unwrap().unwrap(), OsStr::new);
    let to_taken = folder.rename(name("file"), &folder, name("taken"));
    assert_eq!(to_taken.map_err(errno), Err(Some(libc::EISDIR)));
    assert_eq!(
        replace_atomic(&taken, b"", 0o600, Durability::Synced).map_err(errno),
        Err(Some(libc::EISDIR))
    );
    assert_eq!(
        replace_atomic(&file.join("x"), b"", 0o600, Durability::Synced).map_err(errno),
        Err(Some(libc::ENOTDIR))
    );
    let nowhere = dir.path().join("nowhere/x");
    let error = publish_noclobber(&nowhere, b"", 0o600, Durability::Synced).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "what was staged is gone");
}

#[test]
fn gzip_is_reproducible() {
    let packed = gzip(b"int main;");
    assert_eq!(packed, gzip(b"int main;"));
    assert_eq!(gunzip(&packed, 9).unwrap(), b"int main;");
    assert!(gunzip(&packed[..packed.len() - 1], 9).is_err(), "cut short");
    assert!(gunzip(b"int main;", 9).is_err());
}

#[test]
fn only_plain_files_are_read_and_none_is_waited_for() {
    let dir = private_dir(Path::new("/tmp")).unwrap();
    let at = |name: &str| dir.path().join(name);
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
    fs::write(at("plain"), "12345").unwrap();
    std::os::unix::fs::symlink("plain", at("link")).unwrap();
    for (name, reason) in [("fifo", "a FIFO"), ("zero", "a device"), (".", "a directory")] {
        let error = read_plain(&at(name), 100).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert_eq!(read_plain(&at("link"), 5).unwrap(), b"12345");
    assert_eq!(read_plain(&at("plain"), 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    assert!(matches!(read_trusted_up_to(&at("plain"), 4), Err(ReadError::Failed(_))));
}

#[test]
fn no_more_is_unpacked_than_is_allowed() {
    let packed = gzip(&[0; 1000]);
    assert_eq!(gunzip(&packed, 1000).unwrap(), [0; 1000]);
    assert_eq!(gunzip(&packed, 999).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    let twice = [packed.clone(), packed].concat();
    assert_eq!(gunzip(&twice, 2000).unwrap().len(), 2000);
    assert!(gunzip(&twice, 1999).is_err());
}

#[test]
fn an_output_that_is_not_finished_leaves_what_was_there() {
    let dir = private_dir(Path::new("/tmp")).unwrap();
    let path = dir.path().join("file");
    drop(OutputFile::create(&path, 0o644).unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    for text in ["first", "second"] {
        let mut file = OutputFile::create(&path, 0o644).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
    // Something else has come there meanwhile.
    let file = OutputFile::create(&path, 0o644).unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(file.finish().is_err() && path.is_dir());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// No link is followed into a directory, and removal acts on the open directory.
#[test]
fn a_tree_is_entered_without_links_and_emptied_by_its_descriptors() {
    use std::os::unix::fs::symlink;
    let dir = private_dir(Path::new("/tmp")).unwrap();
    let (cache, other) = (dir.path().join("cache"), dir.path().join("other"));
    create_dirs(&cache).unwrap();
    create_dirs(&other.join("deep/deeper")).unwrap();
    fs::write(other.join("deep/file"), "mine").unwrap();
    symlink(&other, cache.join("link")).unwrap();
    symlink(other.join("deep/file"), cache.join("file")).unwrap();
    let tree = Tree::open(&cache).unwrap().unwrap();
    let refused = |error: io::Error| assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    let below = cache.join("link/deep");
    refused(tree.list(&below).unwrap_err());
    refused(tree.remove(&below.join("file")).unwrap_err());
    refused(tree.remove_all(&below).unwrap_err());
    refused(tree.replace_atomic(&cache.join("link/x"), b"", 0o600, Durability::Volatile).unwrap_err());
    refused(tree.touch(&cache.join("link/x"), 0o600).unwrap_err());
    refused(tree.read(&cache.join("file"), 10).unwrap_err());
    assert!(tree.append(&cache.join("file"), b"x", 0o600).is_err());
    // A link is removed, and not what it leads to.
    create_dirs(&cache.join("full/of/things")).unwrap();
    symlink(&other, cache.join("full/of/link")).unwrap();
    assert!(tree.remove_all(&cache.join("full")).unwrap() && !cache.join("full").exists());
    assert!(tree.remove_all(&cache.join("link")).unwrap());
    assert_eq!(fs::read(other.join("deep/file")).unwrap(), b"mine");
    assert!(!other.join("x").exists() && other.join("deep/deeper").is_dir());
    // The directory has moved, and another has taken its place.
    fs::rename(&cache, dir.path().join("moved")).unwrap();
    symlink(&other, &cache).unwrap();
    tree.touch(&cache.join("new"), 0o600).unwrap();
    assert!(dir.path().join("moved/new").exists() && !other.join("new").exists());
}
