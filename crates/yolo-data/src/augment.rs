//! Stand-in.
/// Augmentation.
#[allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct Augmentation {
    pub hsv_h: f32,
    pub hsv_s: f32,
    pub hsv_v: f32,
    pub degrees: f32,
    pub translate: f32,
    pub scale: f32,
    pub shear: f32,
    pub perspective: f32,
    pub flipud: f32,
    pub fliplr: f32,
    pub mosaic: f32,
    pub mosaic9: f32,
    pub mixup: f32,
    pub copy_paste: f32,
}
