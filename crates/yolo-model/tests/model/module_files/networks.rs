//! Names of the networks of the reference whose file and figures are in `../shared`; other crates' tests include this file.
#![allow(dead_code, reason = "not all use all of it")]

/// Networks that the newest release built from a yaml.
pub(crate) const BUILT: [&str; 28] = [
    "act-elu",
    "act-gelu",
    "act-hardswish",
    "act-identity",
    "act-leakyrelu",
    "act-mish",
    "act-relu",
    "act-relu6",
    "ch4-mul4",
    "focus-c3",
    "yolov3",
    "yolov3-spp",
    "yolov3-tiny",
    "yolov5-bifpn",
    "yolov5-fpn",
    "yolov5-p2",
    "yolov5-p34",
    "yolov5-p6",
    "yolov5-p7",
    "yolov5-panet",
    "yolov5m6",
    "yolov5n6",
    "yolov5s-LeakyReLU",
    "yolov5s-ghost",
    "yolov5s-transformer",
    "zoo",
    "focus-csp-hardswish",
    "prune-masks",
];

/// Networks of older releases.
pub(crate) const OLD: [&str; 6] = [
    "old-v1.0-yolov5s",
    "old-v2.0-yolov5s",
    "old-v3.1-yolov5s",
    "old-v4.0-yolov5s",
    "old-v5.0-yolov5s",
    "old-v6.0-yolov5s",
];

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    BUILT.into_iter().chain(OLD)
}
