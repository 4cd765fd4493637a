//! The origin's private file system.

use wasm_bindgen_test::wasm_bindgen_test;

use crate::{error::TabError, storage::Store};

#[wasm_bindgen_test]
async fn files_are_written_read_listed_and_removed() {
    let store = Store::open().await.unwrap();
    store.write("a/b/c", b"hello").await.unwrap();
    assert_eq!(store.read("a/b/c").await.unwrap().unwrap(), b"hello");
    assert_eq!(store.size("a/b/c").await.unwrap(), Some(5));
    assert_eq!(store.list("a/b").await.unwrap(), ["c"]);
    store.write("a/b/c", b"bye").await.unwrap();
    assert_eq!(store.read("a/b/c").await.unwrap().unwrap(), b"bye");
    store.remove("a").await.unwrap();
    store.remove("a").await.unwrap();
    assert_eq!(store.read("a/b/c").await.unwrap(), None);
    assert_eq!(store.size("a/b/c").await.unwrap(), None);
    assert!(store.list("a/b").await.unwrap().is_empty());
}

#[wasm_bindgen_test]
async fn a_broken_off_file_is_continued() {
    let store = Store::open().await.unwrap();
    store.write("part/file", b"0123xx").await.unwrap();
    let mut writer = store.writer("part/file", 4).await.unwrap();
    writer.write(b"45").unwrap();
    writer.write(b"67").unwrap();
    writer.finish().unwrap();
    assert_eq!(store.read("part/file").await.unwrap().unwrap(), b"01234567");
    store.remove("part").await.unwrap();
}

#[wasm_bindgen_test]
async fn a_file_in_use_is_named() {
    let store = Store::open().await.unwrap();
    let writer = store.writer("locked/file", 0).await.unwrap();
    let refused = store.write("locked/file", b"x").await;
    assert!(matches!(refused, Err(TabError::StorageLocked(path)) if path == "locked/file"));
    drop(writer);
    store.write("locked/file", b"x").await.unwrap();
    store.remove("locked").await.unwrap();
}
