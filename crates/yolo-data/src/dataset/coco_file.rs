//! A COCO instances file, as it is written.

use serde::Serialize;

/// The whole file. `N` is the type of its coordinates.
#[derive(Serialize)]
pub(crate) struct CocoFile<'a, N> {
    pub(crate) info: Info,
    pub(crate) images: Vec<Image>,
    pub(crate) annotations: Vec<Annotation<N>>,
    pub(crate) categories: Vec<Category<'a>>,
}

#[derive(Serialize)]
pub(crate) struct Info {
    pub(crate) description: String,
}

#[derive(Serialize)]
pub(crate) struct Image {
    pub(crate) id: i64,
    pub(crate) file_name: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// An object that is not a crowd.
#[derive(Serialize)]
pub(crate) struct Annotation<N> {
    pub(crate) id: usize,
    pub(crate) image_id: i64,
    pub(crate) category_id: usize,
    /// Left, top, width and height in pixels.
    pub(crate) bbox: [N; 4],
    /// In square pixels.
    pub(crate) area: N,
    /// 0, because it is not a crowd.
    pub(crate) iscrowd: u8,
    /// Outlines in pixels, x and y alternating; without the key if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) segmentation: Option<Vec<Vec<N>>>,
}

#[derive(Serialize)]
pub(crate) struct Category<'a> {
    pub(crate) id: usize,
    pub(crate) name: &'a str,
    /// Without the key if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) supercategory: Option<&'static str>,
}
